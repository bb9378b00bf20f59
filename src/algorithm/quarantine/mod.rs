//! Which requests are suspected of killing the instances that they are sent to, and which are refused for it.
//!
//! A request is known by its fingerprint, an instance by the number of its endpoint. A fingerprint goes through these states:
//!
//! ```text
//!   free --loss--> suspect --losses on `endpoints` different endpoints--> quarantined --`duration`--> half-open
//!    ^                |                                                        ^                         |
//!    +----success-----+                                                        +----------loss-----------+
//!    +----success, or `window` without a loss------------------------------------------------------------+
//! ```
//!
//! - **A suspect is sent one call at a time**: the call that has the turn. A turn that lasts longer than `turn` is passed on.
//!   While calls wait, the one that has waited the longest is next; if its task does not take the turn within `turn`, any other may.
//! - **A loss counts if its call was sent after the loss before it**, and went to an endpoint that is not counted yet. Losses of calls
//!   that were in flight together may have one cause (a network that breaks, a machine with several instances), and count as one.
//! - **A loss that is [explained](Suspects::explains) does not count**: the endpoint crashes without this fingerprint, too.
//! - **A loss is [withdrawn](Suspects::answered) if the endpoint answers** a call that was sent within [`ALIVE`] after it: the endpoint
//!   is alive, and only a connection was lost.
//! - **The head of a successful response clears the suspicion.** If the call is lost in its body soon after, what its head
//!   [cleared](Cleared) is restored, and that loss counts as well.
//! - **A quarantine is short at first**, and doubles, up to `duration`, each time the half-open call is lost.
//!
//! At most [`recent::RECENT`] losses are kept as explanations, and at most `max_fingerprints` fingerprints. A fingerprint that is
//! suspected is not forgotten to make room for another, since then a flood would end quarantines: a loss beyond the bound starts no
//! suspicion.

mod admission;
mod loss;
mod recent;
mod suspect;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::admission::{Limits, QuarantineAdmission, Turn};
pub(crate) use self::loss::{ALIVE, At, Loss};
use self::recent::{RecentLosses, SeenLoss};
pub(crate) use self::suspect::Cleared;
use self::suspect::Suspect;
use crate::ground::instant::Instant;

/// A loss within this time around another one at the same endpoint can explain it.
pub(crate) const AROUND: Duration = Duration::from_secs(10);

/// What a loss has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LossChanges {
    /// The fingerprint of the loss is quarantined from now on, for so long.
    pub(crate) quarantined: Option<Duration>,
    /// Fingerprints of which fewer losses count than before.
    pub(crate) withdrawn: Vec<u64>,
}

/// The fingerprints that are suspected or quarantined.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    suspects: BTreeMap<u64, Suspect>,
    recent: RecentLosses,
    last_turn: u64,
    /// See [`bits`](Self::bits).
    bits: u64,
    /// When to look for suspects that are to be forgotten. `None` without suspects.
    purge_at: Option<Instant>,
    /// See [`answers_until`](Self::answers_until).
    answers_until: Option<Instant>,
}

impl Suspects {
    /// Decides about a call at `now`; `is_next` says that no other call of the fingerprint has waited longer. A call with the turn
    /// reports its end by [`lost`](Self::lost), [`cleared`](Self::cleared) or neither, and then by [`pass_on`](Self::pass_on). [Settle](Self::settle)
    /// before.
    pub(crate) fn admit(
        &mut self,
        fingerprint: u64,
        is_next: bool,
        limits: &Limits,
        now: Instant,
    ) -> QuarantineAdmission {
        self.purge(limits, now);
        let suspect = self.suspects.get_mut(&fingerprint).filter(|suspect| now < suspect.forget_at(limits));
        let Some(suspect) = suspect else { return QuarantineAdmission::Free };
        self.last_turn += 1;
        suspect.admit(Turn(self.last_turn), is_next, limits, now)
    }

    /// A call was lost. `cleared` is what the head of its own response has cleared a moment before.
    pub(crate) fn lost(&mut self, loss: Loss, cleared: Option<Cleared>, limits: &Limits) -> LossChanges {
        self.purge(limits, loss.at);
        if let Some(cleared) = cleared {
            self.restore(loss.fingerprint, cleared, limits);
        }
        let was_suspect = self.suspects.get(&loss.fingerprint).is_some_and(|suspect| suspect.is_after(&loss, limits));
        let new = SeenLoss { loss, was_suspect, was_quarantined: false, is_settled: false };
        self.recent.push(new);
        self.answers_until = self.answers_until.max(Some(loss.at + ALIVE));
        let is_explained = self.recent.iter().any(|other| self.explains_now(other, &new));
        let quarantined = if is_explained { None } else { self.count(new, limits) };
        if self.is_quarantined(loss.fingerprint) {
            self.recent.mark_quarantined(&loss);
        }
        let shared = self.counted(|counted| is_of_other(&new, counted) && shares_crash(&new, counted));
        let mut withdrawn = self.withdraw(shared, limits);
        withdrawn.extend(self.settle(limits, loss.at));
        LossChanges { quarantined, withdrawn }
    }

    /// Withdraws the losses that are explained by others after which the endpoint has not answered. Before that, it may be that only a
    /// connection was lost. Returns the fingerprints of which fewer losses count than before.
    pub(crate) fn settle(&mut self, limits: &Limits, now: Instant) -> Vec<u64> {
        let settled = self.recent.settle(now);
        if settled.is_empty() {
            return Vec::new();
        }
        // Later ones were compared with it when they were lost.
        let explains = |other: &SeenLoss, counted: &SeenLoss| {
            counted.loss.at <= other.loss.at && self.explains(other, counted, other.was_quarantined)
        };
        let explained = self.counted(|counted| settled.iter().any(|other| explains(other, counted)));
        self.withdraw(explained, limits)
    }

    fn restore(&mut self, fingerprint: u64, mut cleared: Cleared, limits: &Limits) {
        cleared.counted.retain(|counted| !self.recent.iter().any(|other| self.explains_now(other, counted)));
        if cleared.counted.len() < limits.endpoints as usize {
            cleared.quarantine = None;
        }
        if cleared.counted.is_empty() {
            return;
        }
        if let Some(suspect) = self.get_or_add(fingerprint, limits) {
            suspect.restore(cleared);
            self.changed(fingerprint, limits);
        }
    }

    /// Counts a loss. Returns for how long the fingerprint is quarantined for it.
    fn count(&mut self, new: SeenLoss, limits: &Limits) -> Option<Duration> {
        let suspect = self.get_or_add(new.loss.fingerprint, limits)?;
        let quarantined = suspect.count(new, limits);
        self.changed(new.loss.fingerprint, limits);
        quarantined
    }

    fn get_or_add(&mut self, fingerprint: u64, limits: &Limits) -> Option<&mut Suspect> {
        let is_full = self.suspects.len() >= limits.max_fingerprints;
        if is_full && !self.suspects.contains_key(&fingerprint) {
            return None;
        }
        Some(self.suspects.entry(fingerprint).or_default())
    }

    /// Losses of a fingerprint count now.
    fn changed(&mut self, fingerprint: u64, limits: &Limits) {
        self.bits |= bit(fingerprint);
        let purge_at = self.suspects.get(&fingerprint).map(|suspect| suspect.forget_at(limits));
        self.purge_at = self.purge_at.into_iter().chain(purge_at).min();
    }

    /// Whether the loss of `other` explains another one, which then says nothing about its fingerprint. Either the endpoint was lost to
    /// `other` within [`AROUND`] in a crash that does not include this fingerprint: so the endpoint crashes without it. Or both were
    /// suspects and lost in the same crash: only one of the two need have caused it, and each will be sent again.
    ///
    /// Other calls that are lost in the same crash explain nothing, since a request that kills an instance kills all calls there. Nor
    /// does another crash at which a quarantined fingerprint was lost: two that kill instances would explain each other. Nor does a loss
    /// that the endpoint has survived: it is forgotten.
    fn explains(&self, other: &SeenLoss, explained: &SeenLoss, is_quarantined: bool) -> bool {
        let (loss, other_loss) = (&explained.loss, &other.loss);
        if !is_of_other(other, explained) {
            return false;
        }
        if loss.includes(other_loss) {
            return shares_crash(other, explained);
        }
        if other_loss.at.max(loss.at).since(other_loss.at.min(loss.at)) > AROUND {
            return false;
        }
        let mut own = self.recent.iter().map(|own| &own.loss).filter(|own| own.fingerprint == loss.fingerprint);
        !is_quarantined && !own.any(|own| own.includes(other_loss))
    }

    fn explains_now(&self, other: &SeenLoss, explained: &SeenLoss) -> bool {
        self.explains(other, explained, self.is_quarantined(other.loss.fingerprint))
    }

    fn is_quarantined(&self, fingerprint: u64) -> bool {
        self.suspects.get(&fingerprint).is_some_and(|suspect| suspect.quarantine.is_some())
    }

    /// An endpoint has answered a call that was sent then, whatever the answer says. Withdraws the losses just before that call, since
    /// the endpoint did not crash. Returns the fingerprints of which fewer losses count than before.
    pub(crate) fn answered(&mut self, endpoint: At, sent: Instant, limits: &Limits, now: Instant) -> Vec<u64> {
        self.recent.survived(endpoint, sent, now);
        let survived = self.counted(|counted| counted.loss.is_survived(endpoint, sent, now));
        let mut withdrawn = self.withdraw(survived, limits);
        withdrawn.extend(self.settle(limits, now));
        withdrawn
    }

    /// Until when an answer can withdraw a loss. `None` if none can.
    pub(crate) fn answers_until(&self) -> Option<Instant> {
        self.answers_until
    }

    fn counted(&self, is_meant: impl Fn(&SeenLoss) -> bool) -> Vec<Loss> {
        let counted = self.suspects.values().flat_map(|suspect| &suspect.counted);
        counted.filter(|counted| is_meant(counted)).map(|counted| counted.loss).collect()
    }

    fn withdraw(&mut self, losses: Vec<Loss>, limits: &Limits) -> Vec<u64> {
        for loss in &losses {
            let Some(suspect) = self.suspects.get_mut(&loss.fingerprint) else { continue };
            suspect.withdraw(loss, limits);
            if suspect.counted.is_empty() {
                self.suspects.remove(&loss.fingerprint);
            }
        }
        if !losses.is_empty() {
            self.count_bits();
        }
        losses.into_iter().map(|loss| loss.fingerprint).collect()
    }

    /// A call that was sent then has succeeded, or the head of its response says so. Returns what that has cleared.
    pub(crate) fn cleared(&mut self, fingerprint: u64, sent: Instant) -> Option<Cleared> {
        if !self.suspects.get(&fingerprint)?.is_cleared_by(sent) {
            return None;
        }
        self.remove(fingerprint).map(Suspect::into_cleared)
    }

    fn remove(&mut self, fingerprint: u64) -> Option<Suspect> {
        let removed = self.suspects.remove(&fingerprint);
        self.count_bits();
        removed
    }

    fn count_bits(&mut self) {
        self.bits = self.suspects.keys().fold(0, |bits, fingerprint| bits | bit(*fingerprint));
    }

    /// The call that had the turn is over, or its response has begun. Does nothing if the turn was passed on already.
    pub(crate) fn pass_on(&mut self, fingerprint: u64, turn: Turn, now: Instant) {
        if let Some(suspect) = self.suspects.get_mut(&fingerprint) {
            suspect.pass_on(turn, now);
        }
    }

    /// The settings have changed, and with them the end of each suspicion.
    pub(crate) fn reload(&mut self, limits: &Limits) {
        self.purge_at = self.suspects.values().map(|suspect| suspect.forget_at(limits)).min();
    }

    /// Forgets all suspects.
    pub(crate) fn clear(&mut self) {
        *self = Self { last_turn: self.last_turn, ..Self::default() };
    }

    /// One bit for each fingerprint that is suspected or quarantined: its [`bit`].
    pub(crate) fn bits(&self) -> u64 {
        self.bits
    }

    /// How many fingerprints are suspects or half-open, and how many are quarantined.
    pub(crate) fn counts(&self, limits: &Limits, now: Instant) -> (usize, usize) {
        let live = self.suspects.values().filter(|suspect| now < suspect.forget_at(limits));
        live.fold((0, 0), |(suspected, quarantined), suspect| match suspect.quarantine {
            Some(quarantine) if now < quarantine.until => (suspected, quarantined + 1),
            _ => (suspected + 1, quarantined),
        })
    }

    /// Forgets the fingerprints that were not lost for the window.
    fn purge(&mut self, limits: &Limits, now: Instant) {
        if self.purge_at.is_some_and(|at| at <= now) {
            self.suspects.retain(|_, suspect| now < suspect.forget_at(limits));
            self.reload(limits);
            self.count_bits();
        }
    }
}

/// Whether both losses are at one endpoint, and of two fingerprints.
fn is_of_other(other: &SeenLoss, explained: &SeenLoss) -> bool {
    other.loss.fingerprint != explained.loss.fingerprint && other.loss.endpoint == explained.loss.endpoint
}

/// Whether both were suspects, and lost in one crash.
fn shares_crash(other: &SeenLoss, explained: &SeenLoss) -> bool {
    explained.loss.includes(&other.loss) && explained.was_suspect && other.was_suspect
}

/// The bit of a fingerprint in [`Suspects::bits`].
pub(crate) const fn bit(fingerprint: u64) -> u64 {
    1 << (fingerprint % u64::BITS as u64)
}
