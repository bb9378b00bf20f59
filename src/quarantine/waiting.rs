//! The calls of suspects that wait for their turn. A plain structure, which the state keeps under a lock. Wakers are only moved in and
//! out; they are cloned, woken and dropped without the lock.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

/// A waiting call: its fingerprint, and a number in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaitingPosition {
    fingerprint: u64,
    number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls {
    calls: BTreeMap<WaitingPosition, Option<Waker>>,
    last_number: u64,
}

impl WaitingCalls {
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Adds a call, if fewer than `max` wait.
    pub(super) fn enter(&mut self, fingerprint: u64, max: u32) -> Option<WaitingPosition> {
        if self.calls.len() >= max as usize {
            return None;
        }
        self.last_number += 1;
        let position = WaitingPosition { fingerprint, number: self.last_number };
        self.calls.insert(position, None);
        Some(position)
    }

    /// Registers the waker of a call, and hands out its previous one through `waker`.
    pub(super) fn register(&mut self, position: WaitingPosition, waker: &mut Option<Waker>) {
        if let Some(registered) = self.calls.get_mut(&position) {
            mem::swap(registered, waker);
        }
    }

    /// Removes a call, and returns its waker.
    #[must_use]
    pub(super) fn leave(&mut self, position: WaitingPosition) -> Option<Waker> {
        self.calls.remove(&position).flatten()
    }

    /// Takes the waker of the call that has waited the longest, to be woken. The call registers again when it is polled.
    #[must_use]
    pub(super) fn first(&mut self, fingerprint: u64) -> Option<Waker> {
        self.of(fingerprint).find_map(|(_, waker)| waker.take())
    }

    /// Takes the wakers of all calls of a fingerprint, to be woken.
    #[must_use]
    pub(super) fn all_of(&mut self, fingerprint: u64) -> Vec<Waker> {
        self.of(fingerprint).filter_map(|(_, waker)| waker.take()).collect()
    }

    /// Takes the wakers of all calls, to be woken.
    #[must_use]
    pub(super) fn all(&mut self) -> Vec<Waker> {
        self.calls.values_mut().filter_map(Option::take).collect()
    }

    fn of(&mut self, fingerprint: u64) -> impl Iterator<Item = (&WaitingPosition, &mut Option<Waker>)> {
        let number = |number| WaitingPosition { fingerprint, number };
        self.calls.range_mut(number(0)..=number(u64::MAX))
    }
}
