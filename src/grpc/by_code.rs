//! Verdicts by gRPC code and by transport error.

use ::http::{HeaderMap, Response, StatusCode};
use tower::BoxError;

use crate::ground::error::chain;
use crate::ground::verdict::Verdict;
use crate::grpc::Code;
use crate::grpc::details;
use crate::grpc::status::{self, Pushback};
use crate::http::held_body::Judge;
use crate::http::overrides::Overrides;
use crate::http::propagation::last_word::forbids_retry;
use crate::http::{retry_after, transport};

/// The classifier for gRPC: by the status, wherever it stands, and by transport error. The call is over when its body is.
///
/// The status stands in the trailers, or in the head of a response that has nothing else to say (*Trailers-Only*). Until
/// the trailers are there, a response counts as a success that may still become something else.
///
/// | code | verdict |
/// |---|---|
/// | `OK` | [`Success`](Verdict::Success) |
/// | `UNAVAILABLE` | [`Transient`](Verdict::Transient) |
/// | `RESOURCE_EXHAUSTED` | [`Overloaded`](Verdict::Overloaded) |
/// | `DEADLINE_EXCEEDED` | [`TimedOut`](Verdict::TimedOut) |
/// | `UNKNOWN`, `INTERNAL`, `DATA_LOSS` | [`Failed`](Verdict::Failed) |
/// | `CANCELLED`, `INVALID_ARGUMENT`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `UNAUTHENTICATED` | [`CallerFault`](Verdict::CallerFault) |
/// | `CANCELLED` with tonic's message that a `grpc-timeout` has passed | [`TimedOut`](Verdict::TimedOut) |
/// | none at the end of the body, one that is no number, that nobody knows, or two that differ | as `UNKNOWN` |
///
/// A verdict of failure gives way to what the callee asks for in `grpc-retry-pushback-ms`
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)):
///
/// | pushback | verdict |
/// |---|---|
/// | zero or more milliseconds, with a verdict that is retried | [`Overloaded`](Verdict::Overloaded) with that wait |
/// | negative, or not to be read, with a verdict that is retried | [`DoNotRetry`](Verdict::DoNotRetry): it refuses, or speaks for a tier further in |
/// | the same with `UNKNOWN` | [`DoNotRetry`](Verdict::DoNotRetry), too: so tonic passes on the refusals of a client's layers |
/// | the same with `INTERNAL`, `DATA_LOSS` | [`Failed`](Verdict::Failed) all the same: a failure of its own |
///
/// The same as the first goes for a `google.rpc.RetryInfo` in `grpc-status-details-bin`, as Google's services and OTLP send it, and for
/// the `Retry-After` of a proxy.
///
/// A response of another HTTP status than 200 without a gRPC status is not the callee's but a proxy's. It has the code that the
/// [specification](https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html) gives it:
///
/// | HTTP status | code |
/// |---|---|
/// | 400 | `INTERNAL` |
/// | 401 | `UNAUTHENTICATED` |
/// | 403 | `PERMISSION_DENIED` |
/// | 404 | `UNIMPLEMENTED` |
/// | 429 | `UNAVAILABLE`; its verdict is [`Overloaded`](Verdict::Overloaded) |
/// | 502, 503, 504 | `UNAVAILABLE` |
/// | any other but 200 | `UNKNOWN` |
///
/// If it is `UNAVAILABLE` with `x-should-retry: false`, its verdict is [`DoNotRetry`](Verdict::DoNotRetry).
///
/// | error | verdict |
/// |---|---|
/// | the channel's own timer for a `grpc-timeout`, in tonic | [`TimedOut`](Verdict::TimedOut) |
/// | any other | as [`http::ByStatus`](crate::http::ByStatus) has it |
///
/// # Other verdicts
/// ```
/// use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
/// use seawall::grpc::{ByCode, Code};
/// use seawall::verdict::Verdict;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let classifier = ByCode::new()
///     // a clash that another attempt resolves
///     .with_code(Code::Aborted, Verdict::Transient)
///     // one that this callee marks; what a closure has no opinion on is left as it is
///     .with(|code, headers| {
///         (code == Code::Internal && headers.contains_key("x-restarting")).then_some(Verdict::Transient)
///     });
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default())?.with_classifier(classifier);
/// # drop(layer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ByCode {
    overrides: Overrides<Code>,
}

/// What tonic calls it when the time of a `grpc-timeout` has passed: its server in a status of `CANCELLED`, its channel in
/// an error of a type that only tonic has.
const TONIC_TIMEOUT: &str = "Timeout expired";

impl ByCode {
    /// The verdicts of the table.
    pub const fn new() -> Self {
        Self { overrides: Overrides::none() }
    }

    /// The same, but for one code. A pushback still counts.
    #[must_use]
    pub fn with_code(self, code: Code, verdict: Verdict) -> Self {
        self.with(move |given, headers| (given == code).then(|| with_pushback(verdict, headers)))
    }

    /// The same, but where `of` has an opinion: it is given the code, and the headers or trailers that it stands in. It
    /// runs once a response in each layer and should be cheap. What was said last is asked first.
    #[must_use]
    pub fn with(self, of: impl Fn(Code, &HeaderMap) -> Option<Verdict> + Send + Sync + 'static) -> Self {
        Self { overrides: self.overrides.with(of) }
    }

    fn of(&self, code: Code, headers: &HeaderMap) -> Verdict {
        self.overrides.ask(code, headers).unwrap_or_else(|| match code {
            // A callee that hangs must not look well because its server keeps time.
            Code::Cancelled if status::message_is(headers, TONIC_TIMEOUT) => Verdict::TimedOut,
            // What a tonic client makes of errors that it does not know, our refusals among them, and handlers pass on.
            Code::Unknown if status::pushback(headers) == Pushback::Never => Verdict::DoNotRetry,
            code => with_pushback(of_code(code), headers),
        })
    }

    /// What a head says, if it says what the call came to.
    fn decided<B>(&self, response: &Response<B>) -> Option<Verdict> {
        let headers = response.headers();
        match status::code(headers) {
            Some(code) => Some(self.of(code, headers)),
            None if response.status() == StatusCode::OK => None,
            None => Some(self.of_proxy(response.status(), headers)),
        }
    }

    /// What the answer of something on the way says, which does not speak gRPC.
    fn of_proxy(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        let code = status::code_of_http(status);
        let by_table = || match with_pushback(of_code(code), headers) {
            verdict @ Verdict::Transient => match status {
                status if forbids_retry(status, headers) => Verdict::DoNotRetry,
                StatusCode::TOO_MANY_REQUESTS => Verdict::Overloaded { retry_after: None },
                _ => verdict,
            },
            verdict => verdict,
        };
        self.overrides.ask(code, headers).unwrap_or_else(by_table)
    }

    /// What the end of a body says whose head said nothing.
    fn of_trailers(&self, trailers: Option<&HeaderMap>) -> Verdict {
        let none = HeaderMap::new();
        let trailers = trailers.unwrap_or(&none);
        self.of(status::code(trailers).unwrap_or(Code::Unknown), trailers)
    }
}

impl Judge for ByCode {
    fn of_head<B>(&self, response: &Response<B>) -> Verdict {
        self.decided(response).unwrap_or(Verdict::Success)
    }

    fn is_decided<B>(&self, response: &Response<B>) -> bool {
        response.status() != StatusCode::OK || response.headers().contains_key(&status::STATUS)
    }

    fn at_end(&self, head: Verdict, trailers: Option<&HeaderMap>) -> Verdict {
        // A head that decides may have a body all the same, as a proxy's page of regret.
        if head == Verdict::Success { self.of_trailers(trailers) } else { head }
    }
}

fn of_code(code: Code) -> Verdict {
    match code {
        Code::Ok => Verdict::Success,
        Code::Unavailable => Verdict::Transient,
        Code::ResourceExhausted => Verdict::Overloaded { retry_after: None },
        Code::DeadlineExceeded => Verdict::TimedOut,
        Code::Unknown | Code::Internal | Code::DataLoss => Verdict::Failed,
        Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Verdict::CallerFault,
    }
}

fn with_pushback(verdict: Verdict, headers: &HeaderMap) -> Verdict {
    let is_retried = matches!(verdict, Verdict::Transient | Verdict::Overloaded { .. } | Verdict::TimedOut);
    match status::pushback(headers) {
        Pushback::After(wait) if is_retried => Verdict::Overloaded { retry_after: Some(wait) },
        Pushback::Never if is_retried => Verdict::DoNotRetry,
        Pushback::Silent if is_retried => match details::retry_delay(headers).or_else(|| retry_after::parse(headers)) {
            Some(wait) => Verdict::Overloaded { retry_after: Some(wait) },
            None => verdict,
        },
        Pushback::Silent | Pushback::After(_) | Pushback::Never => verdict,
    }
}

/// What HTTP knows of it, and where that is no more than "it is lost", what gRPC knows.
pub(super) fn of_error(error: &BoxError) -> Verdict {
    let verdict = transport::verdict(error);
    if verdict != Verdict::Lost {
        return verdict;
    }
    let timed_out = chain(error).any(|error| error.to_string() == TONIC_TIMEOUT);
    if timed_out { Verdict::TimedOut } else { verdict }
}
