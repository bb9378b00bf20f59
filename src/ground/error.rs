//! What callers get when a layer refuses or ends a call, and what a wrong configuration is answered with.

mod at_deadline;

use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::time::Duration;

use tower::BoxError;

pub(crate) use self::at_deadline::AtDeadline;

#[cfg(test)]
use crate::ground::telemetry::LayerKind;
use crate::ground::telemetry::{Instruments, Source};
use crate::ground::verdict::Verdict;

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
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 12] = [
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
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::DeadlineExpired => "the deadline had passed before the call began",
            Self::DeadlineExceeded => "the deadline passed before the call was over",
            Self::HeadTimeout => "the response did not begin within head_timeout",
            Self::IdleTimeout => "nothing of the response came for longer than idle_timeout",
            Self::AttemptTimeout => "no answer within the time of one attempt",
            Self::HoldExceeded => "the call was not over within the layer's own bound (max_hold); set a deadline",
            Self::NotReady => "the inner service did not become ready in time",
            Self::CircuitOpen => "the circuit is open because the callee has been failing",
            Self::QueueFull => "all permits and all places in the queue are taken",
            Self::QueueTimeout => "no permit came free within max_wait",
            Self::NotInTime => "less time is left than the call is expected to take",
            Self::RateLimited => "the rate limit is used up",
        }
    }
}

/// A call that a layer refused, or ended before there was an answer.
///
/// Layers return errors as tower's [`BoxError`]; [`rejection`] finds this one in it, however deeply it is wrapped, and
/// [`rejection_in`] in any other error.
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
#[derive(Clone, Debug)]
pub struct Rejected {
    reason: Reason,
    /// Whose doing it was.
    instruments: Instruments,
    retry_after: Option<Duration>,
    /// It was a response that nobody was waiting for more of.
    parked: bool,
}

impl Rejected {
    pub(crate) fn new(instruments: Instruments, reason: Reason) -> Self {
        Self { reason, instruments, retry_after: None, parked: false }
    }

    /// By whoever it was, who has to be looked up: for what does not happen often, or only after a wait.
    pub(crate) fn by(source: Source, reason: Reason) -> Self {
        Self::new(source.instruments(), reason)
    }

    /// By a layer without a name.
    #[cfg(test)]
    pub(crate) fn nameless(kind: LayerKind, reason: Reason) -> Self {
        Self::new(Instruments::nameless(kind), reason)
    }

    pub(crate) fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Whether what was cut was a response of which its holder did not ask for more.
    #[cfg(feature = "http")]
    pub(crate) fn while_parked(mut self, parked: bool) -> Self {
        self.parked = parked;
        self
    }

    /// Why the call was refused or ended.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Which layer did it, in one word: `deadline`, `retry`, `circuit_breaker`, `bulkhead`, `rate_limit`, `load_shed`.
    pub fn layer(&self) -> &'static str {
        self.instruments.kind().as_str()
    }

    /// The name that was given to the layer or its stack, if it has one: which dependency it is about.
    pub fn name(&self) -> Option<&str> {
        self.instruments.name()
    }

    #[inline]
    pub(crate) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// After how long another try has a chance, if the layer knows.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What it comes to for whoever is answered, in any protocol.
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
            Reason::NotReady | Reason::CircuitOpen | Reason::QueueFull | Reason::QueueTimeout | Reason::NotInTime => {
                Kind::Unavailable
            }
        }
    }

    /// What this says about the callee: it timed out if the call was cut while someone waited for it, was abandoned if that
    /// was a response that nobody read any more, and said nothing if it was never asked.
    pub fn verdict(&self) -> Verdict {
        match self.reason {
            _ if self.parked => Verdict::Abandoned,
            Reason::DeadlineExceeded
            | Reason::HeadTimeout
            | Reason::IdleTimeout
            | Reason::AttemptTimeout
            | Reason::HoldExceeded => Verdict::TimedOut,
            Reason::DeadlineExpired
            | Reason::NotReady
            | Reason::CircuitOpen
            | Reason::QueueFull
            | Reason::QueueTimeout
            | Reason::NotInTime
            | Reason::RateLimited => Verdict::Ignored,
        }
    }
}

/// See [`Rejected::kind`].
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its time was over.
    TooLate,
    /// It came more often than it may.
    TooOften,
    /// It may be served another time.
    Unavailable,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}, {}: {}", self.layer(), self.reason.text())?,
            None => write!(f, "{}: {}", self.layer(), self.reason.text())?,
        }
        match self.retry_after {
            Some(wait) => write!(f, "; another try has a chance in {wait:.1?}"),
            None => Ok(()),
        }
    }
}

impl Error for Rejected {}

/// They say the same.
impl PartialEq for Rejected {
    fn eq(&self, other: &Self) -> bool {
        let said = |rejected: &Self| (rejected.reason, rejected.layer(), rejected.retry_after, rejected.parked);
        said(self) == said(other) && self.name() == other.name()
    }
}

impl Eq for Rejected {}

/// Finds the refusal in an error's chain of sources, if a layer of this crate refused or ended the call.
pub fn rejection(error: &BoxError) -> Option<&Rejected> {
    rejection_in(error.as_ref())
}

/// The same for an error that is not boxed: a client's own error type with ours as its source, as a `tonic::Status` is.
///
/// A client that keeps to the deadline which was sent along, as a tonic `Channel` does, ends a call with an error of its own a moment
/// before the deadline. That error is found as the cut at the deadline too, and stays in the chain of sources.
///
/// ```
/// use std::time::Duration;
/// use seawall::error::{Reason, rejection_in};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the books are closed")]
/// struct Closed(#[source] tower::BoxError);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let books = seawall::deadline::DeadlineLayer::new(Duration::from_millis(5))?
///     .layer(service_fn(|()| std::future::pending::<Result<(), tower::BoxError>>()));
///
/// let error = books.oneshot(()).await.map_err(Closed).expect_err("nobody answers");
/// let rejected = rejection_in(&error).expect("it was the deadline");
/// assert_eq!(rejected.reason(), Reason::DeadlineExceeded);
/// # Ok(())
/// # }
/// ```
pub fn rejection_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejected> {
    causes(error).find_map(|error| error.downcast_ref().or_else(|| error.downcast_ref().map(AtDeadline::cut)))
}

/// An error and its causes.
#[cfg(feature = "http")]
pub(crate) fn chain(error: &BoxError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    causes(error.as_ref())
}

/// An [`io::Error`] around another error passes for that one, and names only what is behind it.
fn causes<'a>(outermost: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(outermost), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(within) => Some(within),
        None => error.source(),
    })
}

/// A configuration that cannot be built: all that is wrong with it at once.
///
/// ```
/// use seawall::deadline::DeadlineLayer;
///
/// let error = DeadlineLayer::new(std::time::Duration::ZERO).expect_err("zero is no deadline");
/// assert_eq!(error.faults()[0].path(), "timeout");
/// assert_eq!(error.to_string(), "invalid configuration: timeout: must be more than zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    faults: Vec<Fault>,
    unlisted: usize,
}

impl InvalidConfig {
    /// These faults, of which there is at least one.
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self { faults, unlisted: 0 }
    }

    /// These, and so many others.
    #[cfg(feature = "config")]
    pub(crate) fn with_unlisted(faults: Vec<Fault>, unlisted: usize) -> Self {
        Self { faults, unlisted }
    }

    /// A file that cannot be read at all, for the reason that its parser or the system gives: one fault, without a path.
    ///
    /// ```
    /// use seawall::error::InvalidConfig;
    ///
    /// let invalid = InvalidConfig::unreadable("expected `=` at line 3 column 9");
    /// assert_eq!(invalid.to_string(), "invalid configuration: expected `=` at line 3 column 9");
    /// ```
    pub fn unreadable(why: impl fmt::Display) -> Self {
        Self::new(vec![Fault { path: String::new(), problem: why.to_string().trim_end().to_owned() }])
    }

    /// Everything that is wrong, never empty: in the order of the fields, or in that of the paths if it was read from a file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many further faults were found in a file, but are not listed. After the first hundred others are counted, and after
    /// very many they are not looked for any more.
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}

/// On one line, as logs want it; with `{:#}`, each fault on a line of its own.
impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, next) = if f.alternate() { (":\n  ", "\n  ") } else { (": ", "; ") };
        f.write_str("invalid configuration")?;
        for (n, fault) in self.faults.iter().enumerate() {
            write!(f, "{}{fault}", if n == 0 { first } else { next })?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "{next}and at least {more} more"),
        }
    }
}

impl Error for InvalidConfig {}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl Fault {
    /// The field, with the fields it is in: `budget.ratio`, or `client.payments.retry.budget.ratio` in a file. Empty if it is
    /// about the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it, and what would be right.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_found_however_deeply_it_is_wrapped() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] BoxError);

        let rejected = Rejected::nameless(LayerKind::Bulkhead, Reason::QueueFull);
        let error: BoxError = Box::new(Wrapped(Box::new(Wrapped(Box::new(rejected.clone())))));
        assert_eq!(rejection(&error), Some(&rejected));
        let error: BoxError = Box::new(Wrapped(io::Error::other(io::Error::other(rejected.clone())).into()));
        assert_eq!(rejection(&error), Some(&rejected), "an io::Error is not the source of itself");
        assert_eq!(rejection(&"something else".into()), None);
        assert_eq!(rejection(&io::Error::from(io::ErrorKind::TimedOut).into()), None);
    }

    #[test]
    fn faults_stand_on_one_line_or_on_one_each() {
        let fault = |path: &str| Fault { path: path.to_owned(), problem: "must be at least 1".to_owned() };
        let invalid = InvalidConfig::new(vec![fault("limit"), fault("max_keys")]);
        assert_eq!(
            invalid.to_string(),
            "invalid configuration: limit: must be at least 1; max_keys: must be at least 1"
        );
        let lines = "invalid configuration:\n  limit: must be at least 1\n  max_keys: must be at least 1";
        assert_eq!(format!("{invalid:#}"), lines);
    }

    #[test]
    fn a_refusal_says_who_why_and_when_to_come_back() {
        let rejected = Rejected::nameless(LayerKind::CircuitBreaker, Reason::CircuitOpen)
            .with_retry_after(Some(Duration::from_millis(1500)));
        let text = rejected.to_string();
        assert_eq!(
            text,
            "circuit_breaker: the circuit is open because the callee has been failing; another try has a chance in 1.5s"
        );
    }
}
