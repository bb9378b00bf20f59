//! The error of a call that a layer refused or ended.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{FailedVotes, Numbers, Reason, TripCause, Why};
use crate::ground::layer_id::{LayerId, LayerKind};

/// A call that a layer refused, or ended before there was an answer.
///
/// Layers return errors as tower's [`BoxError`](tower::BoxError); [`rejection`](super::rejection) finds this one in it, however
/// deeply it is wrapped, and [`rejection_in`](super::rejection_in) in any other error.
///
/// ```
/// use std::time::Duration;
/// use seawall::error::{Reason, rejection};
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let mut service = ServiceBuilder::new()
///     .layer(seawall::deadline::DeadlineLayer::new(Duration::from_millis(5))?)
///     .service(service_fn(|()| std::future::pending::<Result<(), tower::BoxError>>()));
///
/// let error = service.ready().await?.call(()).await.expect_err("the service never answers");
/// let rejected = rejection(&error).expect("it was the deadline");
/// assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded));
/// # Ok(())
/// # }
/// ```
///
/// # Wrapped errors
/// Many wrappers hide the error that they hold: `anyhow::Error` and `eyre::Report` once they are boxed, `Arc<dyn Error>`,
/// `#[error(transparent)]`. Their `source()` is the *source* of that error. So a refusal has one: an error that represents the
/// refusal, and by which [`rejection_in`](super::rejection_in) finds it. Its text is the [reason](Reason::as_str) in one word.
pub struct Rejected {
    reason: Reason,
    layer_id: LayerId,
    /// None if the layer has no name, or no longer exists.
    name: Option<Arc<str>>,
    retry_after: Option<Duration>,
    numbers: Numbers,
    /// The response was cut in a pause of its reader, however short: the reader did not wait for more of it.
    paused: bool,
    /// Of a call without a quorum.
    failed_votes: FailedVotes,
    origin: OnceLock<Box<Origin>>,
}

/// The source of a refusal, created on first use.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.reason.as_str())]
pub(super) struct Origin(Rejected);

impl Rejected {
    /// A refusal by the layer with this id and name. Layers do not call this: `telemetry` creates refusals, so that they are
    /// counted.
    pub(crate) fn new(layer_id: LayerId, name: Option<Arc<str>>, why: impl Into<Why>) -> Self {
        let Why { reason, numbers } = why.into();
        let retry_after = reason.retry_after(None);
        Self {
            reason,
            layer_id,
            name,
            retry_after,
            numbers,
            paused: false,
            failed_votes: FailedVotes::default(),
            origin: OnceLock::new(),
        }
    }

    /// The refusal that `error` is, or that it is the source of.
    pub(super) fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let stands_for = || error.downcast_ref::<Origin>().map(|origin| &origin.0);
        error.downcast_ref().or_else(stands_for)
    }

    /// A refusal by a layer without a name.
    #[cfg(test)]
    pub(crate) fn nameless(kind: LayerKind, reason: Reason) -> Self {
        Self::new(LayerId::nameless(kind), None, reason)
    }

    #[cfg(test)]
    pub(crate) fn with_retry_after(mut self, known: Option<Duration>) -> Self {
        self.set_retry_after(known);
        self
    }

    #[cfg(test)]
    pub(crate) fn with_numbers(mut self, numbers: Numbers) -> Self {
        self.set_numbers(numbers);
        self
    }

    /// The layer's retry-after, if known. Without it there is a floor.
    pub(crate) fn set_retry_after(&mut self, known: Option<Duration>) {
        self.retry_after = self.reason.retry_after(known);
    }

    /// The numbers behind the refusal.
    pub(crate) fn set_numbers(&mut self, numbers: Numbers) {
        self.numbers = numbers;
    }

    /// The failed votes of a call without a quorum.
    pub(crate) fn set_failed_votes(&mut self, failed_votes: FailedVotes) {
        self.failed_votes = failed_votes;
    }

    pub(crate) fn failed_votes(&self) -> FailedVotes {
        self.failed_votes
    }

    /// Whether the response was cut in a pause of its reader.
    #[cfg(feature = "http")]
    pub(crate) fn while_paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// Whether the response was cut in a pause of its reader.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Why the call was refused or ended.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The layer, in one word: `deadline`, `retry`, `hedge`, `quorum`, `circuit_breaker`, `bulkhead`, `rate_limit`, `throttle`,
    /// `load_shed`, `quarantine`, `fallback`, `chaos`, `balance`.
    pub fn layer(&self) -> &'static str {
        self.layer_id.kind().as_str()
    }

    /// The name of the layer or its stack, if it has one: usually that of the dependency.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The reason in the words of the layer. The queue of a quarantine is not for permits, and a balancer may have no endpoints yet.
    fn text(&self) -> &'static str {
        match (self.layer_id.kind(), self.reason) {
            (LayerKind::Quarantine, Reason::QueueFull) => {
                "too many calls wait while requests like this one are sent one at a time"
            }
            (LayerKind::Quarantine, Reason::QueueTimeout) => {
                "the turn did not come in time while requests like this one are sent one at a time"
            }
            // A set is never empty.
            (_, Reason::NoEndpoints) if self.numbers.endpoints() == Some(0) => {
                "no set of endpoints has come yet: set the endpoints, or check the stream that is followed"
            }
            (_, reason) => reason.text(),
        }
    }

    pub(crate) fn layer_id(&self) -> LayerId {
        self.layer_id
    }

    /// The time after which another try may succeed. Always `Some` where another try can help, with a floor if the layer has no
    /// estimate; `None` after a timeout.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The numbers behind the refusal, as far as the layer has any: time left, expected time, calls waiting and the limit; the
    /// cause and age of a breaker's outage and its next probe; the calls that an overloaded dependency got and accepted; the time that a
    /// call was given.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// The kind of answer, for every protocol.
    #[cfg(feature = "http")]
    pub(crate) fn kind(&self) -> RefusalKind {
        match self.reason {
            Reason::DeadlineExpired
            | Reason::DeadlineExceeded
            | Reason::HeadTimeout
            | Reason::IdleTimeout
            | Reason::AttemptTimeout
            | Reason::HoldExceeded => RefusalKind::TooLate,
            Reason::RateLimited => RefusalKind::TooOften,
            Reason::RequestIdle => RefusalKind::Stalled,
            Reason::NotReady
            | Reason::CircuitOpen
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::NotInTime
            | Reason::Displaced
            | Reason::NoQuorum
            | Reason::Injected
            | Reason::NoEndpoints
            | Reason::Quarantined
            | Reason::Throttled
            | Reason::RuntimeLag => RefusalKind::Unavailable,
        }
    }
}

/// See [`Rejected::kind`].
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The time was over: 504, `DEADLINE_EXCEEDED`.
    TooLate,
    /// Calls exceed the rate: 429, `RESOURCE_EXHAUSTED`.
    TooOften,
    /// The client did not send the announced body: 408, `CANCELLED`.
    Stalled,
    /// Another try may be served: 503, `UNAVAILABLE`.
    Unavailable,
}

/// One line: ``deadline exceeded after 2.1s (layer `deadline`, name `payments`): given 2.0s``, or ``all permits are in use and the
/// queue is full (layer `bulkhead`, name `payments`): waiting 64, limit 16; retry after 1.5s``.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.numbers.opened_by().map_or_else(|| self.text(), TripCause::text))?;
        if let Some(elapsed) = self.numbers.elapsed() {
            write!(f, " after {elapsed:.1?}")?;
        }
        write!(f, " (layer `{}`", self.layer())?;
        if let Some(name) = self.name() {
            write!(f, ", name `{name}`")?;
        }
        f.write_str(")")?;
        match self.numbers.given() {
            Some(given) => write!(f, ": given {given:.1?}")?,
            None if self.numbers != Numbers::NONE => write!(f, ": {}", self.numbers)?,
            None => {}
        }
        match self.retry_after {
            Some(wait) => write!(f, "; retry after {wait:.1?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("reason", &self.reason)
            .field("layer", &self.layer())
            .field("name", &self.name())
            .field("retry_after", &self.retry_after)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

/// By hand: the source is made on demand, which `thiserror` cannot do.
impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&**self.origin.get_or_init(|| Box::new(Origin(self.clone()))))
    }
}

/// A clone creates its own source.
impl Clone for Rejected {
    fn clone(&self) -> Self {
        let Self { reason, layer_id, name, retry_after, numbers, paused, failed_votes, origin: _ } = self;
        Self {
            reason: *reason,
            layer_id: *layer_id,
            name: name.clone(),
            retry_after: *retry_after,
            numbers: *numbers,
            paused: *paused,
            failed_votes: *failed_votes,
            origin: OnceLock::new(),
        }
    }
}

/// Equality of reason, layer, name, wait and verdict; numbers are not compared.
impl PartialEq for Rejected {
    fn eq(&self, other: &Self) -> bool {
        let said = |rejected: &Self| (rejected.reason, rejected.layer(), rejected.retry_after);
        let judged = |rejected: &Self| (rejected.paused, rejected.failed_votes);
        said(self) == said(other) && judged(self) == judged(other) && self.name() == other.name()
    }
}

impl Eq for Rejected {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::error::Trip;

    #[test]
    fn refusal_shows_layer_reason_numbers_and_wait() {
        let rejected = Rejected::nameless(LayerKind::CircuitBreaker, Reason::CircuitOpen)
            .with_retry_after(Some(Duration::from_millis(1500)));
        let text = "the circuit is open because the dependency has been failing (layer `circuit_breaker`)";
        assert_eq!(rejected.to_string(), format!("{text}; retry after 1.5s"));
        let trip = Trip { calls: 10, failures: 9, ..Trip::by(TripCause::FailureRate) };
        let (open_for, next_probe) = (Duration::from_secs(3), Duration::from_millis(1500));
        let rejected = rejected.with_numbers(Numbers::of_outage(trip, 2, open_for, Some(next_probe)));
        let numbers = "9 failed of 10 calls, open for 3.0s, break 2, next probe in 1.5s";
        let text =
            "the circuit is open because too many calls failed: `failure_rate` reached (layer `circuit_breaker`)";
        assert_eq!(rejected.to_string(), format!("{text}: {numbers}; retry after 1.5s"));
        let timeout =
            Rejected::new(LayerId::nameless(LayerKind::Deadline), Some("payments".into()), Reason::DeadlineExceeded)
                .with_numbers(Numbers::of_timeout(Duration::from_secs(2), Duration::from_millis(2100)));
        assert_eq!(timeout.to_string(), "deadline exceeded after 2.1s (layer `deadline`, name `payments`): given 2.0s");
        let shown = format!("{rejected:?}");
        assert!(shown.contains("CircuitOpen") && shown.contains("9 failed of 10 calls"), "{shown}");
    }

    /// A layer without samples still has a retry-after.
    #[test]
    fn retryable_refusal_always_has_a_retry_after() {
        for reason in Reason::ALL {
            let is_late = matches!(
                reason,
                Reason::DeadlineExpired
                    | Reason::DeadlineExceeded
                    | Reason::HeadTimeout
                    | Reason::IdleTimeout
                    | Reason::AttemptTimeout
                    | Reason::HoldExceeded
                    | Reason::RequestIdle
            );
            for known in [None, Some(Duration::ZERO)] {
                let rejected = Rejected::nameless(LayerKind::Bulkhead, reason);
                let floor = rejected.retry_after();
                assert_eq!(floor.is_some(), !is_late, "{reason:?}");
                let actual = rejected.with_retry_after(known).retry_after().filter(|wait| !wait.is_zero());
                assert_eq!(actual, floor, "{reason:?}");
            }
            let rejected = Rejected::nameless(LayerKind::Bulkhead, reason);
            let wait = Some(Duration::from_micros(300));
            assert_eq!(rejected.with_retry_after(wait).retry_after(), wait, "a known wait is kept");
        }
    }
}
