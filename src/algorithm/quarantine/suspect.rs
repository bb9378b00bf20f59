//! One fingerprint that is suspected or quarantined.

use std::time::Duration;

use super::admission::{Limits, QuarantineAdmission, Turn};
use super::loss::Loss;
use super::recent::SeenLoss;
use crate::ground::instant::Instant;

/// The first quarantine of a fingerprint is this part of `duration`.
const FIRST_PART: u32 = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Suspect {
    /// The losses that count, in their order.
    pub(super) counted: Vec<SeenLoss>,
    pub(super) quarantine: Option<QuarantinePeriod>,
    /// The turn that is taken, and when that was.
    turn: Option<(Turn, Instant)>,
    /// When the last turn ended, if it was given back.
    free_since: Option<Instant>,
}

/// Once it has ended, the fingerprint is half-open.
#[derive(Clone, Copy, Debug)]
pub(super) struct QuarantinePeriod {
    pub(super) until: Instant,
    duration: Duration,
}

/// A suspicion that the head of a response has cleared. If the same call is lost in its body soon after, it is restored.
#[derive(Debug)]
pub(crate) struct Cleared {
    pub(super) counted: Vec<SeenLoss>,
    pub(super) quarantine: Option<QuarantinePeriod>,
}

impl Suspect {
    /// Gives `turn` to a call, or says why not. `is_next` says that no other call has waited longer.
    pub(super) fn admit(&mut self, turn: Turn, is_next: bool, limits: &Limits, now: Instant) -> QuarantineAdmission {
        if let Some(QuarantinePeriod { until, .. }) = self.quarantine.filter(|quarantine| now < quarantine.until) {
            return QuarantineAdmission::Refused(until.since(now));
        }
        let free_since = self.turn.map_or(self.free_since, |(_, start)| Some(start + limits.turn));
        let free_since = free_since.unwrap_or_else(|| self.last_at());
        // The task of the call that is next may not be polled: then it is passed over.
        let from = if is_next { free_since } else { free_since + limits.turn };
        if now < from && (self.turn.is_some() || !is_next) {
            return QuarantineAdmission::Wait(from);
        }
        self.turn = Some((turn, now));
        QuarantineAdmission::Turn(turn)
    }

    pub(super) fn pass_on(&mut self, turn: Turn, now: Instant) {
        if self.turn.is_some_and(|(current, _)| current == turn) {
            (self.turn, self.free_since) = (None, Some(now));
        }
    }

    /// Counts a loss, if its call was sent after the last one. Returns for how long the fingerprint is quarantined for it.
    pub(super) fn count(&mut self, seen: SeenLoss, limits: &Limits) -> Option<Duration> {
        let loss = &seen.loss;
        if self.quarantine.is_none() {
            self.counted.retain(|counted| loss.at < counted.loss.at + limits.window);
        }
        if !self.counted.is_empty() && !self.is_after(loss, limits) {
            return None;
        }
        // Of one endpoint the last loss counts, so that the suspicion lasts.
        self.counted.retain(|counted| counted.loss.endpoint != loss.endpoint);
        self.counted.push(seen);
        let (counted, enough) = (self.counted.len(), limits.endpoints as usize);
        self.counted.drain(..counted.saturating_sub(enough));
        if self.quarantine.is_none() && counted < enough {
            return None;
        }
        // Short at first, since the evidence may mislead. Each lost probe is more of it.
        let longer = |quarantine: QuarantinePeriod| quarantine.duration.saturating_mul(2);
        let duration = self.quarantine.map_or(limits.duration / FIRST_PART, longer).min(limits.duration);
        self.quarantine = Some(QuarantinePeriod { until: loss.at + duration, duration });
        Some(duration)
    }

    /// Whether a call that is lost now was sent as that of a suspect: after the last loss that counts, and after the quarantine.
    pub(super) fn is_after(&self, loss: &Loss, limits: &Limits) -> bool {
        let counts = |last: &&SeenLoss| self.quarantine.is_some() || loss.at < last.loss.at + limits.window;
        let last = self.counted.last().filter(counts);
        let is_after_quarantine = self.quarantine.is_none_or(|quarantine| quarantine.until <= loss.sent);
        last.is_some_and(|last| last.loss.at <= loss.sent) && is_after_quarantine
    }

    /// Withdraws a loss that counted. The fingerprint stays a suspect as long as another one counts.
    pub(super) fn withdraw(&mut self, loss: &Loss, limits: &Limits) {
        self.counted.retain(|counted| counted.loss != *loss);
        if self.counted.len() < limits.endpoints as usize {
            self.quarantine = None;
        }
    }

    /// Whether the success of a call that was sent then clears the suspicion. A quarantine ends only by a call that was sent after its
    /// losses: others say nothing about the requests that were lost.
    pub(super) fn is_cleared_by(&self, sent: Instant) -> bool {
        self.quarantine.is_none() || self.last_at() <= sent
    }

    pub(super) fn into_cleared(self) -> Cleared {
        Cleared { counted: self.counted, quarantine: self.quarantine }
    }

    /// Adds what the head of a response had cleared.
    pub(super) fn restore(&mut self, cleared: Cleared) {
        for seen in cleared.counted {
            if self.counted.iter().all(|counted| counted.loss.endpoint != seen.loss.endpoint) {
                self.counted.push(seen);
            }
        }
        self.counted.sort_by_key(|counted| counted.loss.at);
        self.quarantine = self.quarantine.or(cleared.quarantine);
    }

    fn last_at(&self) -> Instant {
        self.counted.last().map_or(Instant::from_nanos(0), |last| last.loss.at)
    }

    /// When the suspicion lapses.
    pub(super) fn forget_at(&self, limits: &Limits) -> Instant {
        let until = self.quarantine.map(|quarantine| quarantine.until);
        let last = self.counted.iter().map(|counted| counted.loss.at).chain(until).max();
        last.map_or(Instant::MAX, |last| last + limits.window)
    }
}
