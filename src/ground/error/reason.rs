//! Why a layer refused or ended a call.

use std::time::Duration;

/// Why a layer refused a call, or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The deadline had passed before the call began. Nothing was sent.
    DeadlineExpired,
    /// The deadline passed while the call was going on; it was cancelled.
    DeadlineExceeded,
    /// The response did not begin within the time that the deadline layer gives to its head; the call was cancelled.
    HeadTimeout,
    /// The callee kept a reader of the response waiting for longer than the deadline layer allows; the call was cancelled.
    IdleTimeout,
    /// One attempt took longer than the retry layer gives it; it was cancelled.
    AttemptTimeout,
    /// There was no deadline, and the call lasted longer than the layer's own bound; it was cancelled.
    HoldExceeded,
    /// The inner service did not become ready in time, or too many calls were already waiting for it. Nothing was sent.
    NotReady,
    /// The circuit breaker is open: the callee has been failing. Nothing was sent.
    CircuitOpen,
    /// All permits are taken, and so are all places to wait for one. Nothing was sent.
    QueueFull,
    /// No permit came free within the time a call may wait for one. Nothing was sent.
    QueueTimeout,
    /// The time left is less than the call is expected to take. Nothing was sent.
    NotInTime,
    /// The rate limit is used up. Nothing was sent.
    RateLimited,
    /// It waited in a full queue, and a call of higher priority took its place. Nothing was sent.
    Displaced,
    /// The client sent nothing of its request's body for too long; the call was cancelled.
    RequestIdle,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 14] = [
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
    ];

    /// The reason in one word, as logs and metrics have it.
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
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::DeadlineExpired => "the deadline had passed before the call began",
            Self::DeadlineExceeded => "the deadline passed before the call was over",
            Self::HeadTimeout => "the response did not begin within head_timeout",
            Self::IdleTimeout => "nothing of the response came for longer than idle_timeout",
            Self::AttemptTimeout => "no answer within the time of one attempt",
            Self::HoldExceeded => "the call was not over within the layer's own bound (max_hold); set a deadline",
            Self::NotReady => "the inner service did not become ready in time",
            Self::CircuitOpen => "the circuit is open because the dependency has been failing",
            Self::QueueFull => "all permits and all places in the queue are taken",
            Self::QueueTimeout => "no permit came free within max_wait",
            Self::NotInTime => "less time is left than the call is expected to take",
            Self::RateLimited => "the rate limit is used up",
            Self::Displaced => "a call of higher priority took its place in the queue",
            Self::RequestIdle => "nothing of the request's body came for too long",
        }
    }

    /// After how long another try has a chance: what the layer `knows`, or else a floor. A refusal that another try can help
    /// always has one. After a timeout only more time helps, and there is none unless the layer knows it.
    ///
    /// The floor of a queue and of a rate is short, because permits come back at any moment. A breaker and a service that is not
    /// ready take longer to come back.
    pub(super) fn retry_after(self, knows: Option<Duration>) -> Option<Duration> {
        let floor = match self {
            Self::QueueFull | Self::QueueTimeout | Self::NotInTime | Self::RateLimited | Self::Displaced => 100,
            Self::CircuitOpen | Self::NotReady => 1000,
            Self::DeadlineExpired
            | Self::DeadlineExceeded
            | Self::HeadTimeout
            | Self::IdleTimeout
            | Self::AttemptTimeout
            | Self::HoldExceeded
            | Self::RequestIdle => return knows,
        };
        // Zero is what an estimate says before its first sample.
        knows.filter(|wait| !wait.is_zero()).or(Some(Duration::from_millis(floor)))
    }
}
