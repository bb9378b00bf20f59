//! Packed atomic words without a lock: the happy path of the design that the library had before.
//!
//! ```text
//! state    | generation 53          | era 8 | kind 3  |
//! cohort   | era 8 | end 28         | calls 28        |   16 of them
//! filling  | number 20              | end 44          |
//! bucket   | era 8 | epoch 28       | count 28        |   10 times calls, failures, slow
//! median   | nanoseconds 56         | samples 8       |
//! streak   | unanswered 28 | bad 28 | era 8           |
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use super::Breaker;

const COHORTS: u64 = 16;
const BUCKETS: u64 = 10;
const UNIT_SHIFT: u32 = 20;
const END_BITS: u32 = 44;
const COUNT_BITS: u32 = 28;
const EPOCH_MASK: u64 = (1 << 28) - 1;
/// The width of a cohort, in units, and of a bucket, in nanoseconds.
const COHORT: u64 = 60;
const BUCKET: u64 = 1_000_000_000;
/// No call that took less is slow.
const FLOOR: u64 = 500_000_000;

pub(super) struct Words {
    state: AtomicU64,
    cohorts: [AtomicU64; COHORTS as usize],
    filling: AtomicU64,
    overdue: AtomicU64,
    buckets: [[AtomicU64; 3]; BUCKETS as usize],
    last_bad: AtomicU64,
    last_good: AtomicU64,
    median: AtomicU64,
    floor: AtomicU64,
    streak: AtomicU64,
}

pub(super) struct Call {
    state: u64,
    number: u64,
    stamp: u64,
}

impl Default for Words {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            state: zero(),
            cohorts: std::array::from_fn(|_| zero()),
            filling: zero(),
            overdue: zero(),
            buckets: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
            last_bad: zero(),
            last_good: zero(),
            median: zero(),
            floor: AtomicU64::new(FLOOR),
            streak: zero(),
        }
    }
}

/// Adds to the count of a slot, which an older stamp loses. Returns what it has lost.
fn add(slot: &AtomicU64, stamp: u64) -> u64 {
    let mut word = slot.load(Ordering::Acquire);
    loop {
        let (current, count) = (word >> COUNT_BITS, word & ((1 << COUNT_BITS) - 1));
        let (next, lost) = if current == stamp { (count + 1, 0) } else { (1, count) };
        let next = stamp << COUNT_BITS | next;
        match slot.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return lost,
            Err(actual) => word = actual,
        }
    }
}

/// Takes one from the count of a slot that still has this stamp.
fn take(slot: &AtomicU64, stamp: u64) -> bool {
    let mut word = slot.load(Ordering::Acquire);
    while word >> COUNT_BITS == stamp && word & ((1 << COUNT_BITS) - 1) > 0 {
        match slot.compare_exchange_weak(word, word - 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return true,
            Err(actual) => word = actual,
        }
    }
    false
}

impl Breaker for Words {
    type Call = Call;

    fn admit(&self, now: u64) -> Call {
        let state = self.state.load(Ordering::Acquire);
        assert!(state & 7 == 0, "nothing fails");
        let _threshold = self.median.load(Ordering::Relaxed);
        let now = now >> UNIT_SHIFT;
        let mut word = self.filling.load(Ordering::Acquire);
        let (number, end) = loop {
            let (number, end) = (word >> END_BITS, word & ((1 << END_BITS) - 1));
            if now < end && end <= now + 2 * COHORT {
                break (number, end);
            }
            let next = (number + 1, now + COHORT);
            let opened = next.0 << END_BITS | next.1;
            match self.filling.compare_exchange_weak(word, opened, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break next,
                Err(actual) => word = actual,
            }
        };
        let stamp = end & EPOCH_MASK;
        let evicted = add(&self.cohorts[(number % COHORTS) as usize], stamp);
        if evicted > 0 {
            self.overdue.fetch_add(evicted, Ordering::AcqRel);
        }
        Call { state, number, stamp }
    }

    fn answered(&self, call: &Call) {
        let generation = self.state.load(Ordering::Acquire) >> 11;
        if generation - (call.state >> 11) <= 255 && !take(&self.cohorts[(call.number % COHORTS) as usize], call.stamp)
        {
            self.overdue.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn record(&self, call: Call, took: u64, now: u64) {
        if self.state.load(Ordering::Acquire) != call.state {
            return;
        }
        let word = self.median.load(Ordering::Relaxed);
        let (median, samples) = (word >> 8, word & 255);
        let step = median >> 3;
        let median = if took > median { took.min(median + step + 1) } else { median - step };
        let next = median << 8 | (samples + 1).min(255);
        if next != word {
            self.median.store(next, Ordering::Relaxed);
        }
        let slow = took >= self.floor.load(Ordering::Acquire) && took >= median * 10;
        if now >> UNIT_SHIFT > self.last_good.load(Ordering::Relaxed) >> UNIT_SHIFT {
            self.last_good.store(now, Ordering::Relaxed);
        }
        if self.streak.load(Ordering::Acquire) != 0 {
            self.streak.store(0, Ordering::Release);
        }
        let epoch = now / BUCKET;
        let [calls, _, slow_calls] = &self.buckets[(epoch % BUCKETS) as usize];
        add(calls, epoch & EPOCH_MASK);
        if slow {
            add(slow_calls, epoch & EPOCH_MASK);
        }
        let last_bad = self.last_bad.load(Ordering::Acquire);
        assert!(last_bad == 0 || slow, "nothing fails");
    }
}
