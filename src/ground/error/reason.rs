//! Why a layer refused or ended a call.

use std::time::Duration;

/// Why a layer refused a call, or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The deadline had passed before the call began. Nothing was sent.
    DeadlineExpired,
    /// The deadline passed during the call; the call was cancelled.
    DeadlineExceeded,
    /// The head of the response did not arrive within the deadline layer's head timeout; the call was cancelled.
    HeadTimeout,
    /// The dependency sent nothing for longer than the deadline layer's idle timeout while a reader waited; the call was cancelled.
    IdleTimeout,
    /// One attempt exceeded the retry layer's attempt timeout; the attempt was cancelled.
    AttemptTimeout,
    /// There was no deadline, and the call exceeded the layer's own bound; the call was cancelled.
    HoldExceeded,
    /// The inner service did not become ready in time, or too many calls were already waiting for it. Nothing was sent.
    NotReady,
    /// The circuit breaker is open: the dependency has been failing. Nothing was sent.
    CircuitOpen,
    /// All permits are taken, and the queue is full, in number or in expected time; or too many calls of a suspect wait in a quarantine. Nothing was sent.
    QueueFull,
    /// No permit became free within the longest wait; or the time of the call ended while it waited in a quarantine. Nothing was sent.
    QueueTimeout,
    /// The time left is less than the call is expected to take. Nothing was sent.
    NotInTime,
    /// The rate limit is exhausted. Nothing was sent.
    RateLimited,
    /// The call waited at the end of a full queue, and a call that is served before it displaced it: one of higher priority, or of a
    /// [key](crate::fair_share) with fewer or quicker calls. Nothing was sent.
    Displaced,
    /// The client sent nothing of the request's body for too long; the call was cancelled.
    RequestIdle,
    /// Too few endpoints gave the same answer; the others were cancelled.
    NoQuorum,
    /// A [`ChaosLayer`](crate::chaos::ChaosLayer) refused the call on purpose. Nothing was sent.
    Injected,
    /// The balancer has no endpoint for the call: the set is empty, or no endpoint takes calls now. Nothing was sent.
    NoEndpoints,
    /// Requests like this one were lost with the instances that they were sent to. Nothing was sent.
    Quarantined,
    /// The dependency refuses most calls for overload, so a share of them is refused by the client. Nothing was sent.
    Throttled,
    /// The runtime of the service polls ready tasks too late, so a share of the calls is refused. Nothing was sent.
    RuntimeLag,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub(crate) const ALL: [Self; 20] = [
        Self::DeadlineExpired,
        Self::DeadlineExceeded,
        Self::HeadTimeout,
        Self::IdleTimeout,
        Self::AttemptTimeout,
        Self::HoldExceeded,
        Self::NotReady,
        Self::CircuitOpen,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::NotInTime,
        Self::RateLimited,
        Self::Displaced,
        Self::RequestIdle,
        Self::NoQuorum,
        Self::Injected,
        Self::NoEndpoints,
        Self::Quarantined,
        Self::Throttled,
        Self::RuntimeLag,
    ];

    /// The reason in one word, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadlineExpired => "deadline_expired",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::HeadTimeout => "head_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::AttemptTimeout => "attempt_timeout",
            Self::HoldExceeded => "hold_exceeded",
            Self::NotReady => "not_ready",
            Self::CircuitOpen => "circuit_open",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::NotInTime => "not_in_time",
            Self::RateLimited => "rate_limited",
            Self::Displaced => "displaced",
            Self::RequestIdle => "request_idle",
            Self::NoQuorum => "no_quorum",
            Self::Injected => "injected",
            Self::NoEndpoints => "no_endpoints",
            Self::Quarantined => "quarantined",
            Self::Throttled => "throttled",
            Self::RuntimeLag => "runtime_lag",
        }
    }

    /// The text of a refusal. The time that had passed follows it, if the refusal is a timeout: "deadline exceeded after 2.0s".
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::DeadlineExpired => "deadline expired before the call began",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::HeadTimeout => "no response head: `head_timeout` exceeded",
            Self::IdleTimeout => "no response data: `idle_timeout` exceeded",
            Self::AttemptTimeout => "`attempt_timeout` exceeded",
            Self::HoldExceeded => "call without a deadline: `max_hold` exceeded",
            Self::NotReady => "inner service not ready",
            Self::CircuitOpen => "the circuit is open because the dependency has been failing",
            Self::QueueFull => "all permits are in use and the queue is full",
            Self::QueueTimeout => "no permit became free within `max_wait`",
            Self::NotInTime => "less time is left than the call is expected to take",
            Self::RateLimited => "the rate limit is exhausted",
            Self::Displaced => "displaced from a full queue by a call that is served before it",
            Self::RequestIdle => "no request data from the client: idle limit exceeded",
            Self::NoQuorum => "too few endpoints gave the same answer",
            Self::Injected => "a fault was injected on purpose",
            Self::NoEndpoints => "there is no endpoint, or none takes calls now",
            Self::Quarantined => "requests like this one were lost with their connections",
            Self::Throttled => "the dependency is overloaded and refuses most calls",
            Self::RuntimeLag => "the runtime is overloaded: ready tasks wait for longer than `max_lag`",
        }
    }

    /// The time after which another try may succeed: the `known` one, or else a floor. A refusal that another try can help always
    /// has one. After a timeout only more time helps, and there is none unless the layer knows it.
    ///
    /// The floor of a queue and of a rate is short, because permits return at any moment. A breaker, a service that is not ready,
    /// an endpoint, an overloaded dependency and an overloaded runtime take longer to recover.
    pub(super) fn retry_after(self, known: Option<Duration>) -> Option<Duration> {
        let floor = match self {
            Self::QueueFull
            | Self::QueueTimeout
            | Self::NotInTime
            | Self::RateLimited
            | Self::Displaced
            | Self::NoQuorum
            | Self::Injected => 100,
            Self::CircuitOpen
            | Self::NotReady
            | Self::NoEndpoints
            | Self::Quarantined
            | Self::Throttled
            | Self::RuntimeLag => 1000,
            Self::DeadlineExpired
            | Self::DeadlineExceeded
            | Self::HeadTimeout
            | Self::IdleTimeout
            | Self::AttemptTimeout
            | Self::HoldExceeded
            | Self::RequestIdle => return known,
        };
        // Zero is an estimate without samples.
        known.filter(|wait| !wait.is_zero()).or(Some(Duration::from_millis(floor)))
    }
}
