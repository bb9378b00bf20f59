//! The latest losses, which may explain others.

use std::collections::VecDeque;

use super::loss::Loss;

/// How many losses are kept as explanations of others.
pub(super) const RECENT: usize = 128;

/// A loss, and whether its fingerprint was suspected when the call was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenLoss {
    pub(super) loss: Loss,
    pub(super) was_suspect: bool,
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &SeenLoss> {
        self.0.iter()
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
