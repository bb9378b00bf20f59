//! How long the calls of each key hold their permits.

use std::collections::HashMap;
use std::time::Duration;

use crate::algorithm::estimate::Took;
use crate::ground::scope::ShareKey;
use crate::ground::time::nanos;

/// A change of the mean is followed by a sixteenth of it with each call, once there were as many calls.
const GAIN: f64 = 1.0 / 16.0;

/// The last step of the median, as a power of two.
const STEP: f64 = 0.125;

/// One call counts for no more than so many usual ones, so that a single slow call does not decide what the others of its key cost.
const MOST: f64 = 64.0;

/// A call costs at least an eighth of a usual one.
const LEAST: f64 = 0.125;

/// So many keys are remembered at least, and twice as many at most.
const MAX_KEYS: usize = 1024;

/// The times of the calls of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyTime {
    /// The mean time for which they hold their permits: their cost.
    pub(crate) held: Duration,
    /// The middle of the times that successful calls need until their deadline; zero if there were none.
    pub(crate) median: Duration,
}

/// In nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    held: f64,
    /// The calls that the mean has followed, and those that the median has.
    calls: f64,
    median: f64,
    samples: f64,
}

impl Times {
    fn record(self, held: f64, needed: Option<f64>) -> Self {
        let calls = self.calls + 1.0;
        let held = self.held + (1.0 / calls).max(GAIN) * (held - self.held);
        let Some(needed) = needed else { return Self { held, calls, ..self } };
        let samples = self.samples + 1.0;
        // Steps on a logarithmic scale, large ones at first: one slow call does not move a median.
        let step = (1.0 / self.samples).max(STEP).exp2();
        let median = match self.samples {
            0.0 => needed,
            _ if needed > self.median => (self.median * step).min(needed),
            _ => (self.median / step).max(needed),
        };
        Self { held, calls, median, samples }
    }
}

/// The times of all keys. Bounded: when there are too many keys, those that had no call for the longest are forgotten.
#[derive(Debug, Default)]
pub(crate) struct KeyTimes {
    recent: HashMap<ShareKey, Times>,
    /// The keys that had no call since `recent` was begun.
    older: HashMap<ShareKey, Times>,
}

impl KeyTimes {
    /// The times of the calls of this key, if there were any. `usual` is the time of all calls.
    pub(crate) fn get(&self, key: ShareKey, usual: Duration) -> Option<KeyTime> {
        let times = self.recent.get(&key).or_else(|| self.older.get(&key))?;
        // A key of calls that are refused further in costs little, but a backlog of it must not go before all others once they are not.
        let held = times.held.max(LEAST * nanos(usual) as f64);
        Some(KeyTime { held: Duration::from_nanos(held as u64), median: Duration::from_nanos(times.median as u64) })
    }

    /// A call of this key has ended. Only one that succeeded shows how much time a call `needs`.
    pub(crate) fn record(&mut self, key: ShareKey, took: Took, has_succeeded: bool, usual: Duration) {
        let needed = has_succeeded.then(|| nanos(took.needed) as f64);
        if !self.recent.contains_key(&key) {
            if self.recent.len() >= MAX_KEYS {
                self.older = std::mem::take(&mut self.recent);
            }
            let known = self.older.remove(&key).unwrap_or_default();
            self.recent.insert(key, known);
        }
        if let Some(times) = self.recent.get_mut(&key) {
            let most = MOST * times.held.max(nanos(usual) as f64);
            let held = nanos(took.held) as f64;
            *times = times.record(if most > 0.0 { held.min(most) } else { held }, needed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn key(key: u32) -> ShareKey {
        ShareKey::of_hash(u64::from(key + 1) << 32)
    }

    /// Where the usual call takes 10 ms.
    fn times(calls: impl IntoIterator<Item = Duration>) -> KeyTime {
        let mut times = KeyTimes::default();
        for took in calls {
            times.record(key(0), took.into(), true, 10 * MS);
        }
        times.get(key(0), 10 * MS).unwrap()
    }

    fn is_near(time: Duration, expected: Duration) -> bool {
        (0.8..1.25).contains(&time.div_duration_f64(expected))
    }

    #[test]
    fn times_follow_the_calls_of_the_key() {
        assert_eq!(KeyTimes::default().get(key(0), MS), None);
        let slow = times([1000 * MS; 50]);
        assert!(is_near(slow.held, 1000 * MS) && is_near(slow.median, 1000 * MS), "{slow:?}");
        let again = times([[1000 * MS; 100], [10 * MS; 100]].concat());
        assert!(is_near(again.held, 10 * MS) && is_near(again.median, 10 * MS), "{again:?}");
    }

    #[test]
    fn one_slow_call_does_not_decide_for_its_key() {
        for calls in [[vec![MS; 15], vec![60_000 * MS]].concat(), [vec![MS; 100], vec![60_000 * MS]].concat()] {
            let after = times(calls);
            assert!(after.held <= 50 * MS && after.median <= 2 * MS, "{after:?}");
        }
        let first = times([vec![60_000 * MS], vec![MS; 15]].concat());
        assert!(first.held < 50 * MS, "{first:?}");
    }

    #[test]
    fn mixture_has_the_median_of_most_calls_and_the_mean_of_all() {
        let mixture: Vec<_> = (0..400).map(|n| if n % 10 == 0 { 400 * MS } else { 10 * MS }).collect();
        let mixture = times(mixture);
        assert!((25 * MS..90 * MS).contains(&mixture.held), "{mixture:?}");
        assert!((8 * MS..16 * MS).contains(&mixture.median), "{mixture:?}");
    }

    #[test]
    fn call_without_success_costs_its_time_and_shows_no_need() {
        let mut times = KeyTimes::default();
        let cut = |times: &mut KeyTimes, took: Duration| times.record(key(0), took.into(), false, 10 * MS);
        cut(&mut times, 50 * MS);
        let expected = KeyTime { held: 50 * MS, median: Duration::ZERO };
        assert_eq!(times.get(key(0), 10 * MS), Some(expected));
        (0..100).for_each(|_| cut(&mut times, Duration::ZERO));
        let refused = times.get(key(0), 16 * MS).unwrap();
        assert_eq!(refused.held, 2 * MS, "an eighth of the usual time");
    }

    #[test]
    fn keys_with_calls_stay_known_among_many_others() {
        let mut times = KeyTimes::default();
        for stranger in 1..100_000 {
            times.record(key(0), (50 * MS).into(), true, 10 * MS);
            times.record(key(stranger), MS.into(), true, 10 * MS);
            assert!(times.recent.len() + times.older.len() <= 2 * MAX_KEYS);
        }
        assert!(is_near(times.get(key(0), 10 * MS).unwrap().held, 50 * MS));
    }

    #[test]
    fn extreme_times_do_not_panic() {
        let extreme = [Duration::MAX, Duration::ZERO, Duration::MAX, Duration::ZERO];
        let mut times = KeyTimes::default();
        for usual in [Duration::ZERO, Duration::MAX] {
            for took in extreme {
                times.record(key(0), took.into(), true, usual);
                assert!(times.get(key(0), usual).is_some());
            }
        }
    }
}
