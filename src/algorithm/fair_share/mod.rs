//! Turns in a queue that keys share fairly: start-time fair queueing.
//!
//! A queue that serves calls in the order of their arrival gives each caller as much as it asks for: one that sends ten times as many
//! calls as the others gets ten times as many permits, and the others wait behind its calls. Here each key has a share of its own. A
//! call *starts*, on a virtual clock, where the last call of its key ended, or now if that is past, and ends when its cost is paid; calls
//! are served in the order of their starts. So while calls of several keys wait, the permits go to each key in turn, and a key with few
//! calls is served at once. What a key does not use goes to the others: nothing is reserved.
//!
//! The cost of a call is the time for which all permits together have to work for it: how long the calls of its key [hold](KeyTimes) their
//! permits, by the number of these, as a share of the limit. So a key whose calls take ten times as long gets a tenth as many.
//!
//! The virtual clock stands at the start of the call that was served last. New keys start there, so if there were new ones without end,
//! no older call would ever have its turn. So the clock moves by an eighth of what a fluid server would do with each call, too: that
//! reaches every start, and hardly disturbs the shares.
//!
//! Source: Goyal, Vin, Cheng, "Start-time fair queueing", SIGCOMM 1996.

mod key_times;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub(crate) use self::key_times::{KeyTime, KeyTimes};
use crate::ground::scope::ShareKey;

/// Keys without a waiting call are forgotten when there are more than so many of them, and more than of the others.
const MAX_IDLE: usize = 64;

/// The clock moves by at least one of so many parts of a call's share.
const FLUID: u64 = 8;

/// The turns of one queue. Bounded by the number of waiting calls, and [`MAX_IDLE`].
#[derive(Debug, Default)]
pub(crate) struct FairTurns {
    /// The virtual clock.
    now: u64,
    /// Calls without a key share one turn.
    keys: HashMap<Option<ShareKey>, KeyTurn>,
    /// How many keys have a waiting call, and how many such calls there are.
    waiting_keys: u32,
    waiting: u32,
}

/// See [`FairTurns`].
#[derive(Clone, Copy, Debug, Default)]
struct KeyTurn {
    /// Where the last call of the key starts, and where it ends.
    start: u64,
    end: u64,
    waiting: u32,
}

impl FairTurns {
    /// Whether calls with a key have come, so that not all start together.
    #[inline]
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Where a call of this key would start.
    pub(crate) fn start_of(&self, key: Option<ShareKey>) -> u64 {
        self.keys.get(&key).map_or(self.now, |turn| turn.end.max(self.now))
    }

    /// The waiting calls that have a turn.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// How many keys have a waiting call.
    pub(crate) fn waiting_keys(&self) -> u32 {
        self.waiting_keys
    }

    /// The cost that is paid before a call of this key starts, by all keys that wait.
    pub(crate) fn paid_before(&self, key: Option<ShareKey>) -> u64 {
        let is_waiting = self.keys.get(&key).is_some_and(|turn| turn.waiting > 0);
        let keys = self.waiting_keys + u32::from(!is_waiting);
        (self.start_of(key) - self.now).saturating_mul(keys.into())
    }

    /// A call of this key waits, which [starts](Self::start_of) there. Returns whether it has a turn: without keys no call has.
    pub(crate) fn enter(&mut self, key: Option<ShareKey>, start: u64, cost: u64) -> bool {
        let has_turn = key.is_some() || self.has_keys();
        if has_turn {
            let turn = self.keys.entry(key).or_default();
            self.waiting_keys += u32::from(turn.waiting == 0);
            self.waiting += 1;
            *turn = KeyTurn { start, end: start.saturating_add(cost), waiting: turn.waiting + 1 };
        }
        has_turn
    }

    /// A call with a turn is served, which starts there.
    pub(crate) fn serve(&mut self, key: Option<ShareKey>, start: u64, cost: u64) {
        let share = cost / u64::from(self.waiting_keys.max(1)) / FLUID;
        self.now = self.now.saturating_add(share).max(start);
        self.remove(key, 0);
    }

    /// A call with a turn leaves without having been served. Its key pays nothing for it.
    pub(crate) fn leave(&mut self, key: Option<ShareKey>, cost: u64) {
        self.remove(key, cost);
    }

    /// No call waits any more, so no key can be served at the expense of another one.
    pub(crate) fn end(&mut self) {
        self.keys.clear();
        (self.now, self.waiting_keys, self.waiting) = (0, 0, 0);
    }

    fn remove(&mut self, key: Option<ShareKey>, refund: u64) {
        let Some(turn) = self.keys.get_mut(&key).filter(|turn| turn.waiting > 0) else { return };
        // The next call of the key does not start before those that wait.
        turn.end = turn.end.saturating_sub(refund).max(turn.start);
        turn.waiting -= 1;
        self.waiting -= 1;
        if turn.waiting > 0 {
            return;
        }
        self.waiting_keys -= 1;
        let now = self.now;
        if turn.end <= now {
            self.keys.remove(&key);
        }
        let waiting = self.waiting_keys as usize;
        if self.keys.len() - waiting > MAX_IDLE.max(waiting) {
            self.keys.retain(|_, turn| turn.waiting > 0 || turn.end > now);
            if self.keys.len() - waiting > MAX_IDLE.max(waiting) / 2 {
                // Each of them may start one call early.
                self.keys.retain(|_, turn| turn.waiting > 0);
            }
        }
    }
}
