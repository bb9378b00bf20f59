//! The numbers behind a refusal.

mod packed;
mod show;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::packed::{Nanos, PackedCount};
use super::{Trip, TripCause};

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
/// | `circuit_open` | `opened_by`, `open_for`, `breaks`, `next_probe`; and `calls`, `failures`, `slow`, `overdue`, `unanswered`, unless it was forced open |
/// | `deadline_exceeded`, `head_timeout`, `idle_timeout`, `attempt_timeout`, `hold_exceeded`, `request_idle` | `given` and `elapsed` |
/// | `throttled` | `requests`, `accepted` and `share` |
/// | `runtime_lag` | `lag`, `max_lag` and `share` |
/// | `no_endpoints` | `endpoints`, `open`, `ejected`, `by_hand`, and `next_probe` if a breaker is open |
/// | `not_ready` | `waiting` and `limit`, if too many were waiting; `given` and `elapsed`, if its time was over |
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
pub struct Numbers(NumbersKind);

/// A refusal has the numbers of one kind only, so they share their space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NumbersKind {
    /// Of permits and rate limits.
    Permits(Permits),
    /// Of a breaker.
    Outage(OutageNumbers),
    /// Of a timeout.
    Timeout { given: Nanos, elapsed: Nanos },
    /// Of a balancer.
    Endpoints(EndpointCounts),
    /// Of a throttle.
    Throttle(ThrottleNumbers),
    /// Of a runtime that polls tasks too late.
    Lag(LagNumbers),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Permits {
    time_left: Nanos,
    expected: Nanos,
    per: Nanos,
    waiting: PackedCount,
    limit: PackedCount,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct EndpointCounts {
    next_probe: Nanos,
    endpoints: u32,
    open: u32,
    ejected: u32,
    by_hand: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct ThrottleNumbers {
    requests: u64,
    accepted: u64,
    /// In millionths.
    share: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct LagNumbers {
    lag: Nanos,
    max_lag: Nanos,
    /// In millionths.
    share: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct OutageNumbers {
    open_for: Nanos,
    next_probe: Nanos,
    trip: Trip,
    breaks: u32,
}

impl Numbers {
    /// Without any number.
    pub(crate) const NONE: Self = Self(NumbersKind::Permits(Permits::NONE));

    pub(crate) fn with_time_left(self, time: Duration) -> Self {
        self.with(|permits| permits.time_left = Nanos::of(time))
    }

    pub(crate) fn with_expected(self, time: Duration) -> Self {
        // Zero is an estimate without samples.
        if time.is_zero() { self } else { self.with(|permits| permits.expected = Nanos::of(time)) }
    }

    pub(crate) fn with_waiting(self, calls: u32) -> Self {
        self.with(|permits| permits.waiting = PackedCount::of(calls))
    }

    pub(crate) fn with_limit(self, number: u32) -> Self {
        self.with(|permits| permits.limit = PackedCount::of(number))
    }

    pub(crate) fn with_per(self, time: Duration) -> Self {
        self.with(|permits| permits.per = Nanos::of(time))
    }

    fn with(self, set: impl FnOnce(&mut Permits)) -> Self {
        let mut permits = self.permits();
        set(&mut permits);
        Self(NumbersKind::Permits(permits))
    }

    /// The numbers of an open breaker. `next_probe` is none if it was forced open.
    pub(crate) fn of_outage(trip: Trip, breaks: u32, open_for: Duration, next_probe: Option<Duration>) -> Self {
        let (open_for, next_probe) = (Nanos::of(open_for), next_probe.map_or(Nanos::NONE, Nanos::of));
        Self(NumbersKind::Outage(OutageNumbers { open_for, next_probe, trip, breaks }))
    }

    /// The numbers of a call that was given a time and ended after another.
    pub(crate) fn of_timeout(given: Duration, elapsed: Duration) -> Self {
        Self(NumbersKind::Timeout { given: Nanos::of(given), elapsed: Nanos::of(elapsed) })
    }

    /// The numbers of a set of endpoints: all of them, those whose breaker is open, those that are ejected, and those that were set
    /// aside by hand. `next_probe` is the time until the first of the breakers lets a call pass.
    pub(crate) fn of_endpoints(numbers: [usize; 4], next_probe: Option<Duration>) -> Self {
        let [endpoints, open, ejected, by_hand] = numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let next_probe = next_probe.map_or(Nanos::NONE, Nanos::of);
        Self(NumbersKind::Endpoints(EndpointCounts { next_probe, endpoints, open, ejected, by_hand }))
    }

    /// The numbers of a throttle: the calls of its window, those that were accepted, and the share of all that it refuses.
    pub(crate) fn of_throttle(requests: u64, accepted: u64, share: f64) -> Self {
        Self(NumbersKind::Throttle(ThrottleNumbers { requests, accepted, share: (share * MILLION).round() as u32 }))
    }

    /// The numbers of a runtime that polls tasks too late: its lag, the bound of it, and the share of all calls that is refused.
    pub(crate) fn of_lag(lag: Duration, max_lag: Option<Duration>, share: f64) -> Self {
        let (lag, max_lag) = (Nanos::of(lag), max_lag.map_or(Nanos::NONE, Nanos::of));
        Self(NumbersKind::Lag(LagNumbers { lag, max_lag, share: (share * MILLION).round() as u32 }))
    }

    fn permits(&self) -> Permits {
        match self.0 {
            NumbersKind::Permits(permits) => permits,
            _ => Permits::NONE,
        }
    }

    fn outage(&self) -> Option<OutageNumbers> {
        match self.0 {
            NumbersKind::Outage(outage) => Some(outage),
            _ => None,
        }
    }

    fn set(&self) -> Option<EndpointCounts> {
        match self.0 {
            NumbersKind::Endpoints(set) => Some(set),
            _ => None,
        }
    }

    fn throttle(&self) -> Option<ThrottleNumbers> {
        match self.0 {
            NumbersKind::Throttle(throttle) => Some(throttle),
            _ => None,
        }
    }

    fn of_runtime(&self) -> Option<LagNumbers> {
        match self.0 {
            NumbersKind::Lag(lag) => Some(lag),
            _ => None,
        }
    }

    /// The trip of a breaker, unless it was forced open.
    fn trip(&self) -> Option<Trip> {
        self.outage().map(|outage| outage.trip).filter(|trip| trip.calls > 0)
    }

    /// The time that the call had until its deadline.
    pub fn time_left(&self) -> Option<Duration> {
        self.permits().time_left.get()
    }

    /// The expected duration of the call, including its wait.
    pub fn expected(&self) -> Option<Duration> {
        self.permits().expected.get()
    }

    /// The number of waiting calls.
    pub fn waiting(&self) -> Option<u32> {
        self.permits().waiting.get()
    }

    /// The number of permits; of a rate limit, the calls that may start in each [`per`](Self::per).
    pub fn limit(&self) -> Option<u32> {
        self.permits().limit.get()
    }

    /// The period of a rate limit.
    pub fn per(&self) -> Option<Duration> {
        self.permits().per.get()
    }

    /// The cause that opened the circuit breaker. Failed probes extend an outage, and its first cause stays.
    pub fn opened_by(&self) -> Option<TripCause> {
        self.outage().map(|outage| outage.trip.cause)
    }

    /// The time since the circuit breaker opened, including all breaks and probes.
    pub fn open_for(&self) -> Option<Duration> {
        self.outage().and_then(|outage| outage.open_for.get())
    }

    /// The breaks since the circuit breaker opened: from the second on, probes have failed before. Zero if it was forced open.
    pub fn breaks(&self) -> Option<u32> {
        self.outage().map(|outage| outage.breaks)
    }

    /// The time until the circuit breaker's next probe, if a call comes that has time for an answer. Zero: the break is over, and
    /// calls beyond the probes are refused. `None` if it was forced open. Of a balancer: the first probe of any endpoint.
    pub fn next_probe(&self) -> Option<Duration> {
        self.outage().map(|outage| outage.next_probe).or(self.set().map(|set| set.next_probe)).and_then(Nanos::get)
    }

    /// The endpoints of the balancer.
    pub fn endpoints(&self) -> Option<u32> {
        self.set().map(|set| set.endpoints)
    }

    /// The [`endpoints`](Self::endpoints) whose circuit breaker lets no call pass.
    pub fn open(&self) -> Option<u32> {
        self.set().map(|set| set.open)
    }

    /// The [`endpoints`](Self::endpoints) that are ejected.
    pub fn ejected(&self) -> Option<u32> {
        self.set().map(|set| set.ejected)
    }

    /// The [`endpoints`](Self::endpoints) that are standbys, draining or isolated by hand.
    pub fn by_hand(&self) -> Option<u32> {
        self.set().map(|set| set.by_hand)
    }

    /// The calls that the circuit breaker judged when it opened.
    pub fn calls(&self) -> Option<u32> {
        self.trip().map(|trip| trip.calls)
    }

    /// The [`calls`](Self::calls) that had failed.
    pub fn failures(&self) -> Option<u32> {
        self.trip().map(|trip| trip.failures)
    }

    /// The [`calls`](Self::calls) that were slow.
    pub fn slow(&self) -> Option<u32> {
        self.trip().map(|trip| trip.slow)
    }

    /// The [`calls`](Self::calls) in flight past the slow threshold.
    pub fn overdue(&self) -> Option<u32> {
        self.trip().map(|trip| trip.overdue)
    }

    /// The [`calls`](Self::calls) that had ended without an answer.
    pub fn unanswered(&self) -> Option<u32> {
        self.trip().map(|trip| trip.unanswered)
    }

    /// The calls of a throttle's window, those that it refused included.
    pub fn requests(&self) -> Option<u64> {
        self.throttle().map(|throttle| throttle.requests)
    }

    /// The [`requests`](Self::requests) that were sent and not refused by the dependency.
    pub fn accepted(&self) -> Option<u64> {
        self.throttle().map(|throttle| throttle.accepted)
    }

    /// The share of all calls that a throttle refuses, or a load shedder because of the runtime's lag; within `0..=1`. Calls of low priority
    /// are refused first.
    pub fn share(&self) -> Option<f64> {
        let of_lag = || self.of_runtime().map(|lag| lag.share);
        self.throttle().map(|throttle| throttle.share).or_else(of_lag).map(|share| f64::from(share) / MILLION)
    }

    /// How late the runtime polls tasks that are ready.
    pub fn lag(&self) -> Option<Duration> {
        self.of_runtime().and_then(|lag| lag.lag.get())
    }

    /// The bound of the runtime's [`lag`](Self::lag).
    pub fn max_lag(&self) -> Option<Duration> {
        self.of_runtime().and_then(|lag| lag.max_lag.get())
    }

    /// The time that the call, the attempt or the wait was given.
    pub fn given(&self) -> Option<Duration> {
        self.timeout().and_then(|(given, _)| given.get())
    }

    /// The time that had passed when it was ended. If it is much more than [`given`](Self::given), this process was late, not the
    /// dependency.
    pub fn elapsed(&self) -> Option<Duration> {
        self.timeout().and_then(|(_, elapsed)| elapsed.get())
    }

    fn timeout(&self) -> Option<(Nanos, Nanos)> {
        match self.0 {
            NumbersKind::Timeout { given, elapsed } => Some((given, elapsed)),
            _ => None,
        }
    }
}

/// Shares are stored as whole numbers, so that numbers can be compared.
const MILLION: f64 = 1e6;

impl Permits {
    const NONE: Self = Self {
        time_left: Nanos::NONE,
        expected: Nanos::NONE,
        per: Nanos::NONE,
        waiting: PackedCount::NONE,
        limit: PackedCount::NONE,
    };
}

impl Default for Numbers {
    fn default() -> Self {
        Self::NONE
    }
}
