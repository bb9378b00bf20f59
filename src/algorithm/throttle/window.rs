//! Counts of the calls of a sliding window, in slices of a tenth.

use std::mem;
use std::time::Duration;

use crate::ground::scope::Priority;
use crate::ground::time::{self, Instant};

const SLICES: usize = 10;
const PRIORITIES: usize = 4;

/// The calls of one slice, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct CallCounts {
    /// By priority, those that were refused locally included.
    requests: [u32; PRIORITIES],
    accepts: u32,
}

/// See the module. The current slice is incomplete: a call counts for nine to ten tenths of the window.
#[derive(Clone, Debug)]
pub(super) struct CallWindow {
    /// The length of a slice in nanoseconds, at least one.
    width: u64,
    /// The number of the current slice.
    epoch: u64,
    slices: [CallCounts; SLICES],
    /// The sum of the slices.
    all: CallCounts,
}

impl CallWindow {
    pub(super) fn new(window: Duration) -> Self {
        Self { width: width(window), epoch: 0, slices: Default::default(), all: CallCounts::default() }
    }

    pub(super) fn is_of(&self, window: Duration) -> bool {
        self.width == width(window)
    }

    /// The length of a slice.
    pub(super) fn slice(&self) -> Duration {
        Duration::from_nanos(self.width)
    }

    /// Forgets what is older than the window at `now`. An instant that is older than the current slice counts as of it.
    pub(super) fn advance(&mut self, now: Instant) {
        let epoch = now.as_nanos() / self.width;
        if epoch >= self.epoch.saturating_add(SLICES as u64) {
            *self = Self { width: self.width, epoch, slices: Default::default(), all: CallCounts::default() };
        }
        while self.epoch < epoch {
            self.epoch += 1;
            let expired = mem::take(&mut self.slices[index(self.epoch)]);
            self.all.subtract(&expired);
        }
    }

    /// Counts a call that is sent, as accepted. Returns the number of its slice.
    pub(super) fn count_sent(&mut self, priority: Priority) -> u64 {
        for counts in self.current() {
            counts.requests[priority as usize] = counts.requests[priority as usize].saturating_add(1);
            counts.accepts = counts.accepts.saturating_add(1);
        }
        self.epoch
    }

    /// Counts a call that is refused locally.
    pub(super) fn count_refused_here(&mut self, priority: Priority) {
        for counts in self.current() {
            counts.requests[priority as usize] = counts.requests[priority as usize].saturating_add(1);
        }
    }

    /// A call of this slice, which was sent, was refused by the dependency.
    pub(super) fn count_refused_there(&mut self, epoch: u64) {
        for counts in self.slice_of(epoch) {
            counts.accepts = counts.accepts.saturating_sub(1);
        }
    }

    /// A call of this slice was not sent after all.
    pub(super) fn withdraw(&mut self, epoch: u64, priority: Priority) {
        for counts in self.slice_of(epoch) {
            counts.requests[priority as usize] = counts.requests[priority as usize].saturating_sub(1);
            counts.accepts = counts.accepts.saturating_sub(1);
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.all.requests.iter().copied().map(u64::from).sum()
    }

    pub(super) fn accepts(&self) -> u64 {
        self.all.accepts.into()
    }

    /// The calls of lower priorities, and of this one.
    pub(super) fn requests_below_and_at(&self, priority: Priority) -> (u64, u64) {
        let below = self.all.requests.iter().take(priority as usize).copied().map(u64::from).sum();
        (below, self.all.requests[priority as usize].into())
    }

    fn current(&mut self) -> [&mut CallCounts; 2] {
        [&mut self.slices[index(self.epoch)], &mut self.all]
    }

    /// The counts that have the calls of this slice: none, if it is older than the window.
    fn slice_of(&mut self, epoch: u64) -> impl Iterator<Item = &mut CallCounts> {
        let is_counted = epoch.saturating_add(SLICES as u64) > self.epoch;
        let counts = [&mut self.slices[index(epoch)], &mut self.all];
        counts.into_iter().filter(move |_| is_counted)
    }
}

impl CallCounts {
    fn subtract(&mut self, expired: &Self) {
        for (requests, expired) in self.requests.iter_mut().zip(expired.requests) {
            *requests = requests.saturating_sub(expired);
        }
        self.accepts = self.accepts.saturating_sub(expired.accepts);
    }
}

fn width(window: Duration) -> u64 {
    (time::nanos(window) / SLICES as u64).max(1)
}

fn index(epoch: u64) -> usize {
    (epoch % SLICES as u64) as usize
}
