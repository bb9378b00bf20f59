//! Plain fields under a mutex, as the library has them.

use std::sync::{Mutex, PoisonError};

use super::Breaker;

const COHORTS: usize = 16;
const BUCKETS: usize = 10;
/// The width of a cohort and of a bucket, in nanoseconds.
const COHORT: u64 = 62_500_000;
const BUCKET: u64 = 1_000_000_000;
/// No call that took less is slow.
const FLOOR: u64 = 500_000_000;

#[derive(Default)]
pub(super) struct Plain(Mutex<State>);

#[derive(Default)]
struct State {
    open: bool,
    generation: u64,
    /// The ends of cohorts, and their calls in flight.
    cohorts: [(u64, u64); COHORTS],
    current: u64,
    overdue: u64,
    buckets: [Bucket; BUCKETS],
    last_bad: u64,
    last_good: u64,
    median: u64,
    samples: u64,
    failures_in_a_row: u32,
    unanswered_in_a_row: u32,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    epoch: u64,
    calls: u64,
    failures: u64,
    slow: u64,
}

pub(super) struct Call {
    generation: u64,
    cohort: u64,
}

impl Plain {
    fn locked<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Breaker for Plain {
    type Call = Call;

    fn admit(&self, now: u64) -> Call {
        self.locked(|state| {
            assert!(!state.open, "nothing fails");
            if now >= state.cohorts[state.current as usize % COHORTS].0 {
                state.current += 1;
                let evicted = &mut state.cohorts[state.current as usize % COHORTS];
                state.overdue += evicted.1;
                *evicted = (now + COHORT, 0);
            }
            state.cohorts[state.current as usize % COHORTS].1 += 1;
            Call { generation: state.generation, cohort: state.current }
        })
    }

    fn answered(&self, call: &Call) {
        self.locked(|state| {
            if call.cohort + COHORTS as u64 > state.current {
                state.cohorts[call.cohort as usize % COHORTS].1 -= 1;
            } else {
                state.overdue -= 1;
            }
        });
    }

    fn record(&self, call: Call, took: u64, now: u64) {
        let tripped = self.locked(|state| {
            if state.generation != call.generation {
                return false;
            }
            let step = state.median >> 3;
            state.median = if took > state.median { took.min(state.median + step + 1) } else { state.median - step };
            state.samples = (state.samples + 1).min(255);
            let slow = took >= FLOOR && took >= state.median * 10;
            (state.last_good, state.failures_in_a_row, state.unanswered_in_a_row) = (now, 0, 0);
            let epoch = now / BUCKET;
            let bucket = &mut state.buckets[epoch as usize % BUCKETS];
            if bucket.epoch != epoch {
                *bucket = Bucket { epoch, ..Bucket::default() };
            }
            bucket.calls += 1;
            bucket.slow += u64::from(slow);
            // A window without bad outcomes is never summed.
            let anything_bad = state.last_bad + BUCKET * BUCKETS as u64 > now;
            anything_bad && state.buckets.iter().any(|bucket| bucket.failures * 2 > bucket.calls)
        });
        assert!(!tripped, "nothing fails");
    }
}
