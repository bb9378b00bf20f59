//! The latest losses, which may explain others.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use super::loss::{ALIVE, At, Loss};
use crate::ground::instant::Instant;

/// How many losses are kept as explanations of others.
pub(super) const RECENT: usize = 128;

/// So many calls that were sent after a loss and lost as well show that the endpoint does not answer.
const ENOUGH: usize = 3;

/// A loss, and whether its fingerprint was suspected when the call was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenLoss {
    pub(super) loss: Loss,
    pub(super) was_suspect: bool,
    /// Whether its fingerprint was quarantined when it was lost, or for this loss.
    pub(super) was_quarantined: bool,
    /// The endpoint has had its time to answer after this loss, and the losses that this one explains are withdrawn.
    pub(super) is_settled: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RecentLosses {
    losses: VecDeque<SeenLoss>,
    /// From when on [`settle`](Self::settle) may find something. `None`: not before the next loss.
    settle_from: Option<Instant>,
}

impl RecentLosses {
    /// Adds a loss, in place of the oldest one if there are too many. Calls with one fingerprint that one crash takes along are one
    /// entry, or an instance with many calls would evict all other losses.
    pub(super) fn push(&mut self, new: SeenLoss) {
        // It may be the last one that shows of others that the endpoint does not answer.
        self.settle_from = Some(self.settle_from.map_or(new.loss.at, |from| from.min(new.loss.at)));
        let is_same = |seen: &&mut SeenLoss| seen.loss.is_of_crash_of(&new.loss);
        if let Some(same) = self.losses.iter_mut().rev().find(is_same) {
            same.loss.sent = same.loss.sent.min(new.loss.sent);
            same.was_suspect |= new.was_suspect;
            return;
        }
        if self.losses.len() >= RECENT {
            self.losses.pop_front();
        }
        self.losses.push_back(new);
    }

    /// The fingerprint of this loss, which was just added, is quarantined.
    pub(super) fn mark_quarantined(&mut self, loss: &Loss) {
        let is_same = |seen: &&mut SeenLoss| seen.loss.is_of_crash_of(loss);
        if let Some(seen) = self.losses.iter_mut().rev().find(is_same) {
            seen.was_quarantined = true;
        }
    }

    /// The endpoint has answered, at `now`, a call that was sent then: it did not crash in the losses just before, and they explain
    /// nothing.
    pub(super) fn survived(&mut self, endpoint: At, sent: Instant, now: Instant) {
        self.losses.retain(|seen| !seen.loss.is_survived(endpoint, sent, now));
    }

    /// The losses after which the endpoint has not answered, each once: for [`ALIVE`], or although it got [`ENOUGH`] calls. Takes constant
    /// time unless one was added, or one becomes old enough.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<SeenLoss> {
        if self.settle_from.is_none_or(|from| now < from) {
            return Vec::new();
        }
        let last_sent = self.last_sent();
        let is_unanswered = |loss: &Loss| {
            let sent = last_sent.get(&loss.endpoint).and_then(|sent| *sent.last()?);
            sent.is_some_and(|sent| loss.at <= sent)
        };
        let mut settled = Vec::new();
        for seen in self.losses.iter_mut().filter(|seen| !seen.is_settled) {
            if seen.loss.at + ALIVE <= now || is_unanswered(&seen.loss) {
                seen.is_settled = true;
                settled.push(*seen);
            }
        }
        let unsettled = self.losses.iter().filter(|seen| !seen.is_settled);
        self.settle_from = unsettled.map(|seen| seen.loss.at + ALIVE).min();
        settled
    }

    /// When the last [`ENOUGH`] calls that were lost at each endpoint were sent, the latest first.
    fn last_sent(&self) -> BTreeMap<At, [Option<Instant>; ENOUGH]> {
        let mut last_sent = BTreeMap::<At, [Option<Instant>; ENOUGH]>::new();
        for seen in &self.losses {
            let mut sent = Some(seen.loss.sent);
            for later in last_sent.entry(seen.loss.endpoint).or_default() {
                if *later < sent {
                    mem::swap(later, &mut sent);
                }
            }
        }
        last_sent
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SeenLoss> {
        self.losses.iter()
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(super) fn len(&self) -> usize {
        self.losses.len()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::num::NonZeroU64;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 62) + Duration::from_millis(millis)
    }

    proptest! {
        /// The naive model looks at all pairs, each time.
        #[test]
        fn settled_losses_are_those_of_the_model(
            steps in prop::collection::vec((1..4u64, 0..3u64, 0..400u64, 0..400u64, any::<bool>()), 1..200),
        ) {
            let (mut recent, mut now) = (RecentLosses::default(), 0);
            for (n, (fingerprint, endpoint, took, passed, is_lost)) in steps.into_iter().enumerate() {
                now += passed;
                let (sent, lost) = (at(now), at(now + took));
                if is_lost {
                    now += took;
                    let loss = Loss { fingerprint, endpoint: NonZeroU64::new(endpoint), sent, at: lost };
                    recent.push(SeenLoss { loss, was_suspect: false, was_quarantined: false, is_settled: false });
                } else if n % 3 == 0 {
                    recent.survived(NonZeroU64::new(endpoint), sent, at(now));
                }
                let later = |seen: &SeenLoss| {
                    let is_later = |next: &&SeenLoss| next.loss.endpoint == seen.loss.endpoint && seen.loss.at <= next.loss.sent;
                    recent.iter().filter(is_later).count()
                };
                let is_due = |seen: &&SeenLoss| seen.loss.at + ALIVE <= at(now) || later(seen) >= ENOUGH;
                let expected: Vec<_> = recent.iter().filter(|seen| !seen.is_settled).filter(is_due).map(|seen| seen.loss).collect();
                let settled: Vec<_> = recent.settle(at(now)).into_iter().map(|seen| seen.loss).collect();
                prop_assert_eq!(settled, expected);
            }
        }
    }
}
