//! The calls that wait for a rate, in order: by priority, then first come, first served. A plain structure, which its bucket keeps
//! under a lock. Wakers are only moved in and out; they are cloned, woken and dropped without the lock.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::task::Waker;

use crate::ground::context::Priority;

/// A position in the queue; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RateQueuePosition {
    priority: Reverse<Priority>,
    sequence: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RateQueue {
    sequence: u64,
    entries: BTreeMap<RateQueuePosition, Option<Waker>>,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

impl RateQueue {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// How many calls are ahead of a new call of this priority.
    pub(super) fn ahead(&self, priority: Priority) -> u32 {
        let last = RateQueuePosition { priority: Reverse(priority), sequence: u64::MAX };
        u32::try_from(self.entries.range(..=last).count()).unwrap_or(u32::MAX)
    }

    /// Adds a call. If there are `max` already, the last call of a lower priority is displaced, and its waker returned.
    pub(super) fn enter(
        &mut self,
        priority: Priority,
        max: u32,
    ) -> Result<(RateQueuePosition, Option<Waker>), QueueFull> {
        self.sequence += 1;
        let position = RateQueuePosition { priority: Reverse(priority), sequence: self.sequence };
        let mut displaced = None;
        if self.len() >= max {
            match self.entries.last_entry() {
                Some(last) if position < *last.key() => displaced = last.remove(),
                _ => return Err(QueueFull),
            }
        }
        self.entries.insert(position, None);
        Ok((position, displaced))
    }

    /// Registers the waker of a call, and hands out its previous one through `waker`. Returns whether the call is at the head;
    /// `None` if it was displaced, in which case `waker` is left as it is.
    pub(super) fn register(&mut self, position: RateQueuePosition, waker: &mut Option<Waker>) -> Option<bool> {
        std::mem::swap(self.entries.get_mut(&position)?, waker);
        Some(self.is_head(position))
    }

    fn is_head(&self, position: RateQueuePosition) -> bool {
        self.entries.first_key_value().is_some_and(|(first, _)| *first == position)
    }

    /// Removes a call. Returns its waker, and the waker of the next call if that is at the head now.
    pub(super) fn leave(&mut self, position: RateQueuePosition) -> (Option<Waker>, Option<Waker>) {
        let was_head = self.is_head(position);
        let own = self.entries.remove(&position).flatten();
        (own, if was_head { self.wake_head() } else { None })
    }

    /// Takes the waker of the head, to be woken. The head registers again when it is polled.
    #[must_use]
    pub(super) fn wake_head(&mut self) -> Option<Waker> {
        self.entries.first_entry().and_then(|mut head| head.get_mut().take())
    }
}
