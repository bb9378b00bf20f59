//! The error of a call that a layer refused or ended.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Numbers, Reason, TripCause, Why};
use crate::ground::layer_id::LayerId;
#[cfg(test)]
use crate::ground::layer_id::LayerKind;

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
/// let error = service.ready().await?.call(()).await.expect_err("nobody answers");
/// let rejected = rejection(&error).expect("it was the deadline");
/// assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded));
/// # Ok(())
/// # }
/// ```
///
/// # Wrapped errors
/// Many wrappers hide the error that they hold: `anyhow::Error` and `eyre::Report` once they are boxed, `Arc<dyn Error>`,
/// `#[error(transparent)]`. Their `source()` is the *source* of that error. So a refusal has one: an error that stands for the
/// refusal, and by which [`rejection_in`](super::rejection_in) finds it. Its text is the [reason](Reason::as_str) in one word.
pub struct Rejected {
    reason: Reason,
    layer_id: LayerId,
    /// None if the layer has none, or is gone.
    name: Option<Arc<str>>,
    retry_after: Option<Duration>,
    numbers: Numbers,
    /// The response was cut in a pause of its reader, be it for a moment: nobody waited for more of it.
    paused: bool,
    origin: OnceLock<Box<Origin>>,
}

/// The source of a refusal. It is made when somebody asks for it.
#[derive(Debug)]
pub(super) struct Origin(Rejected);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.reason.as_str())
    }
}

impl Error for Origin {}

impl Rejected {
    /// By the layer with this id and name. Layers do not call this: `telemetry` makes refusals, so that they are counted.
    pub(crate) fn new(layer_id: LayerId, name: Option<Arc<str>>, why: impl Into<Why>) -> Self {
        let Why { reason, numbers } = why.into();
        let retry_after = reason.retry_after(None);
        Self { reason, layer_id, name, retry_after, numbers, paused: false, origin: OnceLock::new() }
    }

    /// The refusal that `error` is, or is the source of.
    pub(super) fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let stands_for = || error.downcast_ref::<Origin>().map(|origin| &origin.0);
        error.downcast_ref().or_else(stands_for)
    }

    /// By a layer without a name.
    #[cfg(test)]
    pub(crate) fn nameless(kind: LayerKind, reason: Reason) -> Self {
        Self::new(LayerId::nameless(kind), None, reason)
    }

    #[cfg(test)]
    pub(crate) fn with_retry_after(mut self, knows: Option<Duration>) -> Self {
        self.set_retry_after(knows);
        self
    }

    #[cfg(test)]
    pub(crate) fn with_numbers(mut self, numbers: Numbers) -> Self {
        self.set_numbers(numbers);
        self
    }

    /// What the layer knows of the time after which another try has a chance. Without it there is a floor.
    pub(crate) fn set_retry_after(&mut self, knows: Option<Duration>) {
        self.retry_after = self.reason.retry_after(knows);
    }

    /// The numbers that decided it.
    pub(crate) fn set_numbers(&mut self, numbers: Numbers) {
        self.numbers = numbers;
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

    /// Which layer did it, in one word: `deadline`, `retry`, `circuit_breaker`, `bulkhead`, `rate_limit`, `load_shed`.
    pub fn layer(&self) -> &'static str {
        self.layer_id.kind().as_str()
    }

    /// The name that was given to the layer or its stack, if it has one: which dependency it is about.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn layer_id(&self) -> LayerId {
        self.layer_id
    }

    /// After how long another try has a chance. Always there where another try can help, with a floor where the layer does not
    /// know; `None` where the call's time was over.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The numbers that decided it, as far as the layer has any: time left, expected time, calls waiting and the limit; what opened a
    /// breaker, since when, and when it probes; the time that was given to a call.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// What the caller is answered, in any protocol.
    #[cfg(feature = "http")]
    pub(crate) fn kind(&self) -> Kind {
        match self.reason {
            Reason::DeadlineExpired
            | Reason::DeadlineExceeded
            | Reason::HeadTimeout
            | Reason::IdleTimeout
            | Reason::AttemptTimeout
            | Reason::HoldExceeded => Kind::TooLate,
            Reason::RateLimited => Kind::TooOften,
            Reason::RequestIdle => Kind::Stalled,
            Reason::NotReady
            | Reason::CircuitOpen
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::NotInTime
            | Reason::Displaced => Kind::Unavailable,
        }
    }
}

/// See [`Rejected::kind`].
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its time was over: 504, `DEADLINE_EXCEEDED`.
    TooLate,
    /// Calls come more often than the rate allows: 429, `RESOURCE_EXHAUSTED`.
    TooOften,
    /// Its client did not send what it had announced: 408, `CANCELLED`.
    Stalled,
    /// Another try may be served: 503, `UNAVAILABLE`.
    Unavailable,
}

/// One line: `payments, bulkhead: all permits and all places in the queue are taken (waiting 64, limit 16); retry after 1.5s`.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            write!(f, "{name}, ")?;
        }
        let text = self.numbers.opened_by().map_or(self.reason.text(), TripCause::text);
        write!(f, "{}: {text}", self.layer())?;
        if self.numbers != Numbers::NONE {
            write!(f, " ({})", self.numbers)?;
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

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&**self.origin.get_or_init(|| Box::new(Origin(self.clone()))))
    }
}

/// A clone makes its own source.
impl Clone for Rejected {
    fn clone(&self) -> Self {
        let Self { reason, layer_id, name, retry_after, numbers, paused, origin: _ } = self;
        Self {
            reason: *reason,
            layer_id: *layer_id,
            name: name.clone(),
            retry_after: *retry_after,
            numbers: *numbers,
            paused: *paused,
            origin: OnceLock::new(),
        }
    }
}

/// Whether they say the same; the numbers of the moment are not compared.
impl PartialEq for Rejected {
    fn eq(&self, other: &Self) -> bool {
        let said = |rejected: &Self| (rejected.reason, rejected.layer(), rejected.retry_after, rejected.paused);
        said(self) == said(other) && self.name() == other.name()
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
        let text = "circuit_breaker: the circuit is open because the dependency has been failing";
        assert_eq!(rejected.to_string(), format!("{text}; retry after 1.5s"));
        let trip = Trip { calls: 10, failures: 9, ..Trip::by(TripCause::FailureRate) };
        let (open_for, next_probe) = (Duration::from_secs(3), Duration::from_millis(1500));
        let rejected = rejected.with_numbers(Numbers::of_outage(trip, 2, open_for, Some(next_probe)));
        let numbers = "9 failed of 10 calls, open for 3.0s, break 2, next probe in 1.5s";
        let text = "circuit_breaker: the circuit is open because too many calls failed (failure_rate)";
        assert_eq!(rejected.to_string(), format!("{text} ({numbers}); retry after 1.5s"));
        let shown = format!("{rejected:?}");
        assert!(shown.contains("CircuitOpen") && shown.contains("9 failed of 10 calls"), "{shown}");
    }

    /// A layer that has learned nothing yet still says when to come back.
    #[test]
    fn refusal_that_another_try_can_help_always_has_a_wait() {
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
            for knows in [None, Some(Duration::ZERO)] {
                let rejected = Rejected::nameless(LayerKind::Bulkhead, reason);
                let made = rejected.retry_after();
                assert_eq!(made.is_some(), !is_late, "{reason:?}");
                let told = rejected.with_retry_after(knows).retry_after().filter(|wait| !wait.is_zero());
                assert_eq!(told, made, "{reason:?}");
            }
            let rejected = Rejected::nameless(LayerKind::Bulkhead, reason);
            let wait = Some(Duration::from_micros(300));
            assert_eq!(rejected.with_retry_after(wait).retry_after(), wait, "what is known holds");
        }
    }
}
