//! Which requests are suspected of killing the instances that they are sent to, and which are refused for it.
//!
//! A request is known by its fingerprint, an instance by the number of its endpoint. A fingerprint goes through these states:
//!
//! ```text
//!   free --loss--> suspect --losses on `endpoints` different endpoints--> quarantined --`duration`--> half-open
//!    ^                |                                                        ^                         |
//!    +----success-----+                                                        +----------loss-----------+
//!    +----success, or `window` without a loss----------------------------------------------------------- +
//! ```
//!
//! - **A suspect is sent one call at a time**: the call that has the turn. A turn that lasts longer than `turn` is passed on.
//! - **A loss counts if its call was sent after the loss before it**, and went to an endpoint that is not counted yet. Losses of calls
//!   that were in flight together may have one cause (a network that breaks, a machine with several instances), and count as one.
//! - **A loss that is [explained](Suspects::explains) counts for nothing**: the endpoint crashes without this fingerprint, too.
//!
//! At most [`RECENT`] losses are kept as explanations, and at most `max_fingerprints` fingerprints. A fingerprint that is suspected is
//! not forgotten to make room for another, since then a flood would end quarantines: a loss beyond the bound starts no suspicion.

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use crate::ground::instant::Instant;

/// A loss within this time around another one at the same endpoint can explain it.
pub(crate) const AROUND: Duration = Duration::from_secs(10);

/// A call that is sent so soon after a crash may be lost to it: its connection is dead, and the client does not know it yet.
const AFTERMATH: Duration = Duration::from_millis(10);

/// How many losses are kept as explanations of others.
const RECENT: usize = 128;

/// The endpoint of a call; `None` if it is unknown. All unknown endpoints count as one.
pub(crate) type At = Option<NonZeroU64>;

/// The settings. See [`QuarantineConfig`](crate::quarantine::QuarantineConfig).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) endpoints: u32,
    pub(crate) window: Duration,
    pub(crate) duration: Duration,
    pub(crate) turn: Duration,
    pub(crate) max_fingerprints: usize,
}

/// A call that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) fingerprint: u64,
    pub(crate) endpoint: At,
    pub(crate) sent: Instant,
    pub(crate) at: Instant,
}

impl Loss {
    /// Whether the crash in which this call was lost may be that of `other`, too: `other` was in flight when this one was lost, or
    /// was sent in the aftermath.
    fn includes(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.sent <= other.at && other.sent <= self.at + AFTERMATH
    }
}

/// The right to send a call of a suspect. It is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(u64);

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nothing is held against the fingerprint.
    Free,
    /// It is a suspect, and this call has the turn.
    Turn(Turn),
    /// It is a suspect, and another call has the turn until then.
    Wait(Instant),
    /// It is quarantined for so much longer.
    Refused(Duration),
}

/// What a loss has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The fingerprint of the loss is quarantined now.
    pub(crate) is_quarantined: bool,
    /// Fingerprints against which less is held than before.
    pub(crate) relieved: Vec<u64>,
}

/// The fingerprints that are suspected or quarantined.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    suspects: BTreeMap<u64, Suspect>,
    recent: VecDeque<RecentLoss>,
    last_turn: u64,
    /// See [`bits`](Self::bits).
    bits: u64,
    /// When to look for suspects that are to be forgotten. `None` without suspects.
    purge_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Suspect {
    /// The losses that count, in their order.
    counted: Vec<Loss>,
    turn: Option<(Turn, Instant)>,
    /// The end of the quarantine. Once it has passed, the fingerprint is half-open.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct RecentLoss {
    loss: Loss,
    /// It was suspected when its call was sent.
    was_suspect: bool,
}

impl Suspects {
    /// Decides about a call at `now`. A call with the turn reports its end by [`lost`](Self::lost), [`cleared`](Self::cleared) or
    /// neither, and then by [`pass_on`](Self::pass_on).
    pub(crate) fn admit(&mut self, fingerprint: u64, limits: &Limits, now: Instant) -> Admission {
        self.purge(limits, now);
        let suspect = self.suspects.get_mut(&fingerprint).filter(|suspect| now < suspect.forget_at(limits));
        let Some(suspect) = suspect else { return Admission::Free };
        if let Some(until) = suspect.until.filter(|until| now < *until) {
            return Admission::Refused(until.since(now));
        }
        if let Some((_, until)) = suspect.turn.filter(|(_, until)| now < *until) {
            return Admission::Wait(until);
        }
        self.last_turn += 1;
        let turn = Turn(self.last_turn);
        suspect.turn = Some((turn, now + limits.turn));
        Admission::Turn(turn)
    }

    /// A call was lost.
    pub(crate) fn lost(&mut self, loss: Loss, limits: &Limits) -> Changes {
        self.purge(limits, loss.at);
        let was_suspect = self.suspects.get(&loss.fingerprint).is_some_and(|suspect| suspect.is_after(&loss, limits));
        let new = RecentLoss { loss, was_suspect };
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(new);
        let is_explained = self.recent.iter().any(|other| self.explains(other, &new));
        let is_quarantined = !is_explained && self.count(loss, limits);
        Changes { is_quarantined, relieved: self.relieve(&new, limits) }
    }

    /// Counts a loss. Returns whether the fingerprint is quarantined for it.
    fn count(&mut self, loss: Loss, limits: &Limits) -> bool {
        let is_full = self.suspects.len() >= limits.max_fingerprints;
        let suspect = match self.suspects.get_mut(&loss.fingerprint) {
            None if is_full => return false,
            None => self.suspects.entry(loss.fingerprint).or_default(),
            Some(suspect) => suspect,
        };
        if suspect.until.is_none() {
            suspect.counted.retain(|counted| loss.at < counted.at + limits.window);
        }
        if !suspect.counted.is_empty() && !suspect.is_after(&loss, limits) {
            return false;
        }
        // Of one endpoint the last loss counts, so that the suspicion lasts.
        suspect.counted.retain(|counted| counted.endpoint != loss.endpoint);
        suspect.counted.push(loss);
        let (counted, enough) = (suspect.counted.len(), limits.endpoints as usize);
        suspect.counted.drain(..counted.saturating_sub(enough));
        let is_quarantined = suspect.until.is_some() || counted >= enough;
        if is_quarantined {
            suspect.until = Some(loss.at + limits.duration);
        }
        self.bits |= bit(loss.fingerprint);
        let purge_at = suspect.forget_at(limits);
        self.purge_at = Some(self.purge_at.map_or(purge_at, |at| at.min(purge_at)));
        is_quarantined
    }

    /// Whether the loss of `other` explains another one, which then says nothing about its fingerprint. Either the endpoint was lost to
    /// `other` within [`AROUND`] in a crash that does not include this fingerprint: so the endpoint crashes without it. Or both were
    /// suspects and lost in the same crash: one of the two may be innocent, and each will be sent again.
    ///
    /// Other calls that are lost in the same crash explain nothing, since a request that kills an instance kills all calls there. Nor
    /// does another crash for which a quarantined fingerprint is blamed: two that kill instances would excuse each other.
    fn explains(&self, other: &RecentLoss, explained: &RecentLoss) -> bool {
        let (loss, other_loss) = (&explained.loss, &other.loss);
        if other_loss.fingerprint == loss.fingerprint || other_loss.endpoint != loss.endpoint {
            return false;
        }
        if loss.includes(other_loss) {
            return explained.was_suspect && other.was_suspect;
        }
        if other_loss.at.max(loss.at).since(other_loss.at.min(loss.at)) > AROUND {
            return false;
        }
        let is_blamed = self.suspects.get(&other_loss.fingerprint).is_some_and(|suspect| suspect.until.is_some());
        let mut own = self.recent.iter().map(|own| &own.loss).filter(|own| own.fingerprint == loss.fingerprint);
        !is_blamed && !own.any(|own| own.includes(other_loss))
    }

    /// Withdraws what a new loss explains of others. Returns their fingerprints.
    fn relieve(&mut self, new: &RecentLoss, limits: &Limits) -> Vec<u64> {
        let explained = |other: &&RecentLoss| {
            let suspect = self.suspects.get(&other.loss.fingerprint);
            suspect.is_some_and(|suspect| suspect.counted.contains(&other.loss)) && self.explains(new, other)
        };
        let relieved: Vec<_> = self.recent.iter().filter(explained).map(|other| other.loss).collect();
        for loss in &relieved {
            let Some(suspect) = self.suspects.get_mut(&loss.fingerprint) else { continue };
            suspect.counted.retain(|counted| counted != loss);
            if suspect.counted.len() < limits.endpoints as usize {
                suspect.until = None;
            }
            if suspect.counted.is_empty() {
                self.remove(loss.fingerprint);
            }
        }
        relieved.into_iter().map(|loss| loss.fingerprint).collect()
    }

    /// A call has succeeded. Returns whether something was held against its fingerprint.
    pub(crate) fn cleared(&mut self, fingerprint: u64) -> bool {
        self.remove(fingerprint)
    }

    fn remove(&mut self, fingerprint: u64) -> bool {
        let is_removed = self.suspects.remove(&fingerprint).is_some();
        if is_removed {
            self.count_bits();
        }
        is_removed
    }

    fn count_bits(&mut self) {
        self.bits = self.suspects.keys().fold(0, |bits, fingerprint| bits | bit(*fingerprint));
    }

    /// The call that had the turn is over. Does nothing if the turn was passed on already.
    pub(crate) fn pass_on(&mut self, fingerprint: u64, turn: Turn) {
        if let Some(suspect) = self.suspects.get_mut(&fingerprint) {
            suspect.turn = suspect.turn.filter(|(current, _)| *current != turn);
        }
    }

    /// Holds nothing against any fingerprint any more.
    pub(crate) fn clear(&mut self) {
        *self = Self { last_turn: self.last_turn, ..Self::default() };
    }

    /// One bit for each fingerprint against which something is held: that of its [`bit`].
    pub(crate) fn bits(&self) -> u64 {
        self.bits
    }

    /// How many fingerprints are suspects or half-open, and how many are quarantined.
    pub(crate) fn counts(&self, limits: &Limits, now: Instant) -> (usize, usize) {
        let live = self.suspects.values().filter(|suspect| now < suspect.forget_at(limits));
        live.fold((0, 0), |(suspected, quarantined), suspect| match suspect.until {
            Some(until) if now < until => (suspected, quarantined + 1),
            _ => (suspected + 1, quarantined),
        })
    }

    /// Forgets the fingerprints that were not lost for the window.
    fn purge(&mut self, limits: &Limits, now: Instant) {
        if self.purge_at.is_some_and(|at| at <= now) {
            self.suspects.retain(|_, suspect| now < suspect.forget_at(limits));
            self.purge_at = self.suspects.values().map(|suspect| suspect.forget_at(limits)).min();
            self.count_bits();
        }
    }
}

impl Suspect {
    /// Whether a call that is lost now was sent as that of a suspect: after the last loss that counts, and after the quarantine.
    fn is_after(&self, loss: &Loss, limits: &Limits) -> bool {
        let last = self.counted.last().filter(|last| self.until.is_some() || loss.at < last.at + limits.window);
        last.is_some_and(|last| last.at <= loss.sent) && self.until.is_none_or(|until| until <= loss.sent)
    }

    /// When the suspicion lapses.
    fn forget_at(&self, limits: &Limits) -> Instant {
        let last = self.counted.iter().map(|loss| loss.at).chain(self.until).max();
        last.map_or(Instant::MAX, |last| last + limits.window)
    }
}

/// The bit of a fingerprint in [`Suspects::bits`].
pub(crate) const fn bit(fingerprint: u64) -> u64 {
    1 << (fingerprint % u64::BITS as u64)
}
