//! Verdicts by gRPC code and by transport error.

use ::http::{HeaderMap, Response, StatusCode};
use tower::BoxError;

use crate::ground::error::chain;
use crate::ground::verdict::Verdict;
use crate::grpc::Code;
use crate::grpc::details;
use crate::grpc::status::{self, Pushback};
use crate::http::held_body::{Judge, SealedJudge};
use crate::http::overrides::Overrides;
use crate::http::propagation::retry_forbidden::forbids_retry;
use crate::http::{retry_after, transport};

/// The classifier for gRPC: by the status, in head or trailers, and by transport error. A call is over when its body is
/// over.
///
/// The status is in the trailers, or in the head of a response without messages (*Trailers-Only*). Until the trailers
/// have come, a response counts as a success for the time being.
///
/// | code | verdict |
/// |---|---|
/// | `OK` | [`Success`](Verdict::Success) |
/// | `UNAVAILABLE` | [`Transient`](Verdict::Transient) |
/// | `RESOURCE_EXHAUSTED` | [`Overloaded`](Verdict::Overloaded) |
/// | `DEADLINE_EXCEEDED` | [`TimedOut`](Verdict::TimedOut) |
/// | `UNKNOWN`, `INTERNAL`, `DATA_LOSS` | [`Failed`](Verdict::Failed) |
/// | `CANCELLED`, `INVALID_ARGUMENT`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `FAILED_PRECONDITION`, `ABORTED`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `UNAUTHENTICATED` | [`CallerFault`](Verdict::CallerFault) |
/// | `CANCELLED` with tonic's message for an expired `grpc-timeout` | [`TimedOut`](Verdict::TimedOut) |
/// | no status at the end of the body, one that is no number, an unknown number, or two that differ | as `UNKNOWN` |
///
/// What the service asks for in `grpc-retry-pushback-ms` ([gRFC
/// A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)) overrides a verdict of failure:
///
/// | pushback | verdict |
/// |---|---|
/// | zero or more milliseconds, with a verdict that is retried | [`Overloaded`](Verdict::Overloaded) with that wait |
/// | negative or unreadable, with a verdict that is retried | [`DoNotRetry`](Verdict::DoNotRetry): a refusal, or the failure of a lower tier |
/// | the same with `UNKNOWN` | [`DoNotRetry`](Verdict::DoNotRetry) as well: tonic passes on the refusals of client layers in this form |
/// | the same with `INTERNAL`, `DATA_LOSS` | still [`Failed`](Verdict::Failed): the service's own failure |
///
/// A `google.rpc.RetryInfo` in `grpc-status-details-bin`, which Google's services and OTLP send, has the effect of the
/// first row. So does the `Retry-After` of a proxy.
///
/// A response with another HTTP status than 200 and without a gRPC status comes from a proxy, not from the service. It
/// gets its code from the [specification](https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html):
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
/// If the code is `UNAVAILABLE` and the response has `x-should-retry: false`, the verdict is
/// [`DoNotRetry`](Verdict::DoNotRetry).
///
/// | error | verdict |
/// |---|---|
/// | the timer of tonic's channel for a `grpc-timeout` | [`TimedOut`](Verdict::TimedOut) |
/// | any other | as in [`http::ByStatus`](crate::http::ByStatus) |
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

/// tonic's text for an expired `grpc-timeout`: its server sends it in a status of `CANCELLED`, and its channel in an
/// error whose type only tonic has.
const TONIC_TIMEOUT: &str = "Timeout expired";

impl ByCode {
    /// The verdicts of the table.
    pub const fn new() -> Self {
        Self { overrides: Overrides::none() }
    }

    /// Overrides the verdict of one code. A pushback still counts.
    #[must_use]
    pub fn with_code(self, code: Code, verdict: Verdict) -> Self {
        self.with(move |given, headers| (given == code).then(|| with_pushback(verdict, headers)))
    }

    /// Overrides verdicts by the code and by the headers or trailers that carry it. Where `of` returns `None`, the
    /// earlier rules apply. It runs once per response in each layer and should be cheap. The last override is asked
    /// first.
    #[must_use]
    pub fn with(self, of: impl Fn(Code, &HeaderMap) -> Option<Verdict> + Send + Sync + 'static) -> Self {
        Self { overrides: self.overrides.with(of) }
    }

    fn of(&self, code: Code, headers: &HeaderMap) -> Verdict {
        self.overrides.ask(code, headers).unwrap_or_else(|| match code {
            // Otherwise a dependency that hangs would look healthy, because its server enforces the timeout.
            Code::Cancelled if status::message_is(headers, TONIC_TIMEOUT) => Verdict::TimedOut,
            // tonic clients turn unknown errors into this, our refusals among them, and handlers pass it on.
            Code::Unknown if status::pushback(headers) == Pushback::Never => Verdict::DoNotRetry,
            code => with_pushback(of_code(code), headers),
        })
    }

    /// The verdict of a head, if the head decides.
    fn decided<B>(&self, response: &Response<B>) -> Option<Verdict> {
        let headers = response.headers();
        match status::code(headers) {
            Some(code) => Some(self.of(code, headers)),
            None if response.status() == StatusCode::OK => None,
            None => Some(self.of_proxy(response.status(), headers)),
        }
    }

    /// The verdict of a proxy's response, which has no gRPC status.
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

    /// The verdict at the end of a body whose head did not decide.
    fn of_trailers(&self, trailers: Option<&HeaderMap>) -> Verdict {
        let none = HeaderMap::new();
        let trailers = trailers.unwrap_or(&none);
        self.of(status::code(trailers).unwrap_or(Code::Unknown), trailers)
    }
}

impl SealedJudge for ByCode {}

impl Judge for ByCode {
    fn of_head<B>(&self, response: &Response<B>) -> Verdict {
        self.decided(response).unwrap_or(Verdict::Success)
    }

    fn is_decided<B>(&self, response: &Response<B>) -> bool {
        response.status() != StatusCode::OK || response.headers().contains_key(&status::STATUS)
    }

    fn at_end(&self, head: Verdict, trailers: Option<&HeaderMap>) -> Verdict {
        // A head that decides may still have a body, such as a proxy's error page.
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

/// The verdict that HTTP gives the error, and where that is only `Lost`, gRPC's.
pub(super) fn of_error(error: &BoxError) -> Verdict {
    let verdict = transport::verdict(error);
    if verdict != Verdict::Lost {
        return verdict;
    }
    let timed_out = chain(error).any(|error| error.to_string() == TONIC_TIMEOUT);
    if timed_out { Verdict::TimedOut } else { verdict }
}
