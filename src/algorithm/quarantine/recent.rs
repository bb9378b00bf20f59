//! The latest losses, which may explain others.

use std::collections::VecDeque;

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
pub(super) struct RecentLosses(VecDeque<SeenLoss>);

impl RecentLosses {
    /// Adds a loss, in place of the oldest one if there are too many. Calls with one fingerprint that one crash takes along are one
    /// entry, or an instance with many calls would evict all other losses.
    pub(super) fn push(&mut self, new: SeenLoss) {
        let is_same = |seen: &&mut SeenLoss| seen.loss.is_of_crash_of(&new.loss);
        if let Some(same) = self.0.iter_mut().rev().find(is_same) {
            same.loss.sent = same.loss.sent.min(new.loss.sent);
            same.was_suspect |= new.was_suspect;
            return;
        }
        if self.0.len() >= RECENT {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }

    /// The fingerprint of this loss, which was just added, is quarantined.
    pub(super) fn mark_quarantined(&mut self, loss: &Loss) {
        let is_same = |seen: &&mut SeenLoss| seen.loss.is_of_crash_of(loss);
        if let Some(seen) = self.0.iter_mut().rev().find(is_same) {
            seen.was_quarantined = true;
        }
    }

    /// The endpoint has answered, at `now`, a call that was sent then: it did not crash in the losses just before, and they explain
    /// nothing.
    pub(super) fn survived(&mut self, endpoint: At, sent: Instant, now: Instant) {
        self.0.retain(|seen| !seen.loss.is_survived(endpoint, sent, now));
    }

    /// The losses after which the endpoint has not answered, each once: for [`ALIVE`], or although it got [`ENOUGH`] calls.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<SeenLoss> {
        if self.0.iter().all(|seen| seen.is_settled) {
            return Vec::new();
        }
        let is_next = |seen: &SeenLoss, next: &&SeenLoss| {
            next.loss.endpoint == seen.loss.endpoint && seen.loss.at <= next.loss.sent
        };
        let is_due = |seen: &SeenLoss| {
            seen.loss.at + ALIVE <= now
                || self.0.iter().rev().filter(|next| is_next(seen, next)).nth(ENOUGH - 1).is_some()
        };
        let due: Vec<_> = self.0.iter().map(|seen| !seen.is_settled && is_due(seen)).collect();
        let due = self.0.iter_mut().zip(due).filter(|(_, is_due)| *is_due);
        due.map(|(seen, _)| {
            seen.is_settled = true;
            *seen
        })
        .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SeenLoss> {
        self.0.iter()
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
