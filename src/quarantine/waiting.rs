//! The calls of suspects that wait for their turn. A plain structure, which the state keeps under a lock. Wakers are only moved in and
//! out; they are cloned, woken and dropped without the lock.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

/// A waiting call: its fingerprint, and a number in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitingPosition {
    fingerprint: u64,
    number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TurnQueue {
    /// By fingerprint, and then in the order of arrival.
    calls: BTreeMap<u64, BTreeMap<u64, TurnWaiter>>,
    len: usize,
    last_number: u64,
}

#[derive(Debug, Default)]
struct TurnWaiter {
    waker: Option<Waker>,
    /// A call that was never polled may never be, and holds up no other.
    is_polled: bool,
}

impl TurnQueue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a call. Of the places that other fingerprints leave, the calls of one fingerprint take at most half, so that one of them
    /// does not use up all `max`.
    pub(super) fn enter(&mut self, fingerprint: u64, max: u32) -> Option<WaitingPosition> {
        let free = (max as usize).checked_sub(self.len)?;
        if self.calls.get(&fingerprint).map_or(0, BTreeMap::len) >= free {
            return None;
        }
        self.last_number += 1;
        let position = WaitingPosition { fingerprint, number: self.last_number };
        self.calls.entry(fingerprint).or_default().insert(position.number, TurnWaiter::default());
        self.len += 1;
        Some(position)
    }

    /// Whether a call of the fingerprint waits, other than one that was never polled.
    pub(super) fn is_any(&self, fingerprint: u64) -> bool {
        self.calls.get(&fingerprint).is_some_and(|calls| calls.values().any(|call| call.is_polled))
    }

    /// Whether none has waited longer.
    pub(super) fn is_next(&self, position: WaitingPosition) -> bool {
        let calls = self.calls.get(&position.fingerprint);
        calls.is_none_or(|calls| !calls.range(..position.number).any(|(_, call)| call.is_polled))
    }

    /// Registers the waker of a call, and hands out its previous one through `waker`.
    pub(super) fn register(&mut self, position: WaitingPosition, waker: &mut Option<Waker>) {
        let calls = self.calls.get_mut(&position.fingerprint);
        if let Some(call) = calls.and_then(|calls| calls.get_mut(&position.number)) {
            call.is_polled = true;
            mem::swap(&mut call.waker, waker);
        }
    }

    /// Removes a call, and returns its waker.
    #[must_use]
    pub(super) fn leave(&mut self, position: WaitingPosition) -> Option<Waker> {
        let calls = self.calls.get_mut(&position.fingerprint)?;
        let left = calls.remove(&position.number)?;
        if calls.is_empty() {
            self.calls.remove(&position.fingerprint);
        }
        self.len -= 1;
        left.waker
    }

    /// Takes the waker of the call that has waited the longest, to be woken. The call registers again when it is polled.
    #[must_use]
    pub(super) fn first(&mut self, fingerprint: u64) -> Option<Waker> {
        self.calls.get_mut(&fingerprint)?.values_mut().find_map(|call| call.waker.take())
    }

    /// Takes the wakers of all calls of a fingerprint, to be woken.
    #[must_use]
    pub(super) fn all_of(&mut self, fingerprint: u64) -> Vec<Waker> {
        let calls = self.calls.get_mut(&fingerprint);
        calls.into_iter().flat_map(BTreeMap::values_mut).filter_map(|call| call.waker.take()).collect()
    }

    /// The same for several fingerprints.
    #[must_use]
    pub(super) fn all_of_each(&mut self, fingerprints: impl IntoIterator<Item = u64>) -> Vec<Waker> {
        fingerprints.into_iter().flat_map(|fingerprint| self.all_of(fingerprint)).collect()
    }

    /// Takes the wakers of all calls, to be woken.
    #[must_use]
    pub(super) fn all(&mut self) -> Vec<Waker> {
        self.calls.values_mut().flat_map(BTreeMap::values_mut).filter_map(|call| call.waker.take()).collect()
    }
}
