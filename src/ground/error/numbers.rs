//! The numbers that decided a refusal.

use std::fmt;
use std::time::Duration;

use crate::ground::time;

/// The numbers that decided a refusal: what the layer saw when it refused. Each is `None` where the layer has no such number.
///
/// They are in [`Rejected::numbers`](super::Rejected::numbers), in the text of the refusal, in the trace event `rejected` and in the
/// [snapshot](crate::registry::LastRefusal) of the layer.
///
/// | reason | numbers |
/// |---|---|
/// | `not_in_time` | `time_left`, `expected`, `waiting`, `limit` |
/// | `queue_full`, `queue_timeout`, `displaced` | `waiting`, `limit`, and `expected` where it is known |
/// | `rate_limited` | `limit` and `per`, `waiting`, `expected`, and `time_left` where there is a deadline |
/// | `circuit_open` | `failures`, `slow`, `calls` |
/// | `not_ready` | `waiting` and `limit`, if too many were waiting |
///
/// ```
/// use std::time::Duration;
/// use seawall::error::rejection;
/// use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let minute = Duration::from_secs(60);
/// let layer = RateLimitLayer::new(RateLimitConfig { permits: 1, per: minute, ..Default::default() })?;
/// let service = layer.layer(service_fn(|()| async { Ok::<_, tower::BoxError>(()) }));
/// service.clone().oneshot(()).await?;
///
/// let error = service.oneshot(()).await.expect_err("one a minute");
/// let numbers = rejection(&error).expect("it was the limit").numbers();
/// assert_eq!((numbers.limit(), numbers.per()), (Some(1), Some(minute)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    time_left: Nanos,
    expected: Nanos,
    per: Nanos,
    waiting: Count,
    limit: Count,
    calls: Count,
    failures: Count,
    slow: Count,
}

/// A time in nanoseconds; the largest number is none. Half as large as an `Option<Duration>`: futures carry refusals.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Nanos(u64);

/// A count; the largest number is none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Count(u32);

impl Nanos {
    const NONE: Self = Self(u64::MAX);

    fn of(time: Duration) -> Self {
        Self(time::nanos(time).min(u64::MAX - 1))
    }

    fn get(self) -> Option<Duration> {
        (self != Self::NONE).then_some(Duration::from_nanos(self.0))
    }
}

impl Count {
    const NONE: Self = Self(u32::MAX);

    fn of(count: u64) -> Self {
        Self(u32::try_from(count).unwrap_or(u32::MAX - 1).min(u32::MAX - 1))
    }

    fn get(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl Numbers {
    /// No number is known.
    pub(crate) const NONE: Self = Self {
        time_left: Nanos::NONE,
        expected: Nanos::NONE,
        per: Nanos::NONE,
        waiting: Count::NONE,
        limit: Count::NONE,
        calls: Count::NONE,
        failures: Count::NONE,
        slow: Count::NONE,
    };

    pub(crate) fn with_time_left(self, time: Duration) -> Self {
        Self { time_left: Nanos::of(time), ..self }
    }

    pub(crate) fn with_expected(self, time: Duration) -> Self {
        // Zero is what an estimate says before its first sample.
        let expected = if time.is_zero() { Nanos::NONE } else { Nanos::of(time) };
        Self { expected, ..self }
    }

    pub(crate) fn with_waiting(self, calls: u32) -> Self {
        Self { waiting: Count::of(calls.into()), ..self }
    }

    pub(crate) fn with_limit(self, permits: u32) -> Self {
        Self { limit: Count::of(permits.into()), ..self }
    }

    pub(crate) fn with_per(self, time: Duration) -> Self {
        Self { per: Nanos::of(time), ..self }
    }

    /// The calls that a breaker looked at, and those of them that failed and that were slow.
    #[allow(dead_code, reason = "for the circuit breaker")]
    pub(crate) fn with_calls(self, calls: u64, failures: u64, slow: u64) -> Self {
        Self { calls: Count::of(calls), failures: Count::of(failures), slow: Count::of(slow), ..self }
    }

    /// As many digits as it takes to see which of the two times is longer.
    fn digits(&self) -> usize {
        let look_alike = |digits: usize| match (self.time_left(), self.expected()) {
            (Some(left), Some(expected)) => format!("{left:.digits$?}") == format!("{expected:.digits$?}"),
            _ => false,
        };
        (1..9).find(|digits| !look_alike(*digits)).unwrap_or(1)
    }

    /// How much time the call had until its deadline.
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left.get()
    }

    /// How long the call was expected to take, the wait for its turn included.
    pub fn expected(&self) -> Option<Duration> {
        self.expected.get()
    }

    /// How many calls were waiting.
    pub fn waiting(&self) -> Option<u32> {
        self.waiting.get()
    }

    /// How many permits there are; of a rate limit, how many calls may start in each [`per`](Self::per).
    pub fn limit(&self) -> Option<u32> {
        self.limit.get()
    }

    /// The time that a rate is about.
    pub fn per(&self) -> Option<Duration> {
        self.per.get()
    }

    /// How many calls the circuit breaker judged when it opened.
    pub fn calls(&self) -> Option<u32> {
        self.calls.get()
    }

    /// How many of [`calls`](Self::calls) had failed.
    pub fn failures(&self) -> Option<u32> {
        self.failures.get()
    }

    /// How many of [`calls`](Self::calls) were slow.
    pub fn slow(&self) -> Option<u32> {
        self.slow.get()
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self::NONE
    }
}

/// Those that are known, in one line: `time left 12.0ms, expected 80.0ms, waiting 3, limit 16`.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut write = |text: fmt::Arguments<'_>| {
            write!(f, "{separator}{text}")?;
            separator = ", ";
            Ok(())
        };
        let digits = self.digits();
        if let Some(time) = self.time_left() {
            write(format_args!("time left {time:.digits$?}"))?;
        }
        if let Some(time) = self.expected() {
            write(format_args!("expected {time:.digits$?}"))?;
        }
        if let Some(calls) = self.waiting() {
            write(format_args!("waiting {calls}"))?;
        }
        match (self.limit(), self.per()) {
            (Some(limit), Some(per)) => write(format_args!("limit {limit} per {per:?}"))?,
            (Some(limit), None) => write(format_args!("limit {limit}"))?,
            (None, _) => {}
        }
        if let Some(calls) = self.calls() {
            let (failures, slow) = (self.failures().unwrap_or_default(), self.slow().unwrap_or_default());
            write(format_args!("{failures} failed and {slow} slow of {calls} calls"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Numbers({self})")
    }
}

/// A map of those that are known; times are in seconds, under names that end in `_s`.
#[cfg(feature = "config")]
impl serde::Serialize for Numbers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;

        let mut map = serializer.serialize_map(None)?;
        let times = [("time_left_s", self.time_left), ("expected_s", self.expected), ("per_s", self.per)];
        for (name, time) in times {
            if let Some(time) = time.get() {
                map.serialize_entry(name, &time.as_secs_f64())?;
            }
        }
        let counts = [
            ("waiting", self.waiting),
            ("limit", self.limit),
            ("calls", self.calls),
            ("failures", self.failures),
            ("slow", self.slow),
        ];
        for (name, count) in counts {
            if let Some(count) = count.get() {
                map.serialize_entry(name, &count)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn numbers_that_are_not_known_are_not_shown() {
        assert_eq!(Numbers::NONE.to_string(), "");
        let numbers = Numbers::NONE.with_waiting(3).with_limit(16);
        assert_eq!(numbers.to_string(), "waiting 3, limit 16");
        assert_eq!((numbers.time_left(), numbers.calls()), (None, None));
        let numbers = numbers.with_time_left(12 * MS).with_expected(80 * MS);
        assert_eq!(numbers.to_string(), "time left 12.0ms, expected 80.0ms, waiting 3, limit 16");
        let numbers = Numbers::NONE.with_limit(5).with_per(60_000 * MS);
        assert_eq!(numbers.to_string(), "limit 5 per 60s");
        assert_eq!(Numbers::NONE.with_calls(10, 6, 1).to_string(), "6 failed and 1 slow of 10 calls");
    }

    #[test]
    fn times_are_shown_with_the_digits_that_tell_them_apart() {
        let left = |expected| Numbers::NONE.with_time_left(1000 * MS).with_expected(expected).to_string();
        assert_eq!(left(1004 * MS), "time left 1.000s, expected 1.004s");
        assert_eq!(left(1000 * MS), "time left 1.0s, expected 1.0s");
        assert_eq!(left(1300 * MS), "time left 1.0s, expected 1.3s");
    }

    #[test]
    fn estimate_without_a_sample_is_no_number() {
        let numbers = Numbers::NONE.with_expected(Duration::ZERO);
        assert_eq!((numbers.expected(), numbers.to_string().as_str()), (None, ""));
    }

    #[test]
    fn numbers_at_their_ends_are_still_numbers() {
        let numbers = Numbers::NONE.with_waiting(u32::MAX).with_time_left(Duration::MAX).with_calls(u64::MAX, 0, 0);
        assert_eq!((numbers.waiting(), numbers.calls()), (Some(u32::MAX - 1), Some(u32::MAX - 1)));
        assert!(numbers.time_left().is_some_and(|time| time > Duration::from_secs(1 << 33)));
        assert_eq!(Numbers::NONE.with_time_left(Duration::ZERO).time_left(), Some(Duration::ZERO));
    }
}
