use std::task::{Context, Poll};

use ::http::Request;
use http_body::Body;

use crate::ground::verdict::Verdict;
use crate::http::{ByMethod, Idempotent, KeptRequest, ReplayBody};
use crate::layers::call::upload_waits::UploadWaits;
use crate::layers::retry::{Kept, Replay};

/// Decides which calls a retry may send again. Every gRPC call is a `POST`, so the method decides nothing: the verdict
/// and the extension [`Idempotent`] do.
///
/// | call | after `Unsent` | after `Transient`, `Overloaded` | after `TimedOut`, `Lost` |
/// |---|---|---|---|
/// | any | yes | yes | no |
/// | [`Idempotent(true)`](Idempotent), or with an `Idempotency-Key` | yes | yes | yes |
/// | [`Idempotent(false)`](Idempotent) | yes | no | no |
///
/// A service that answers `UNAVAILABLE` or `RESOURCE_EXHAUSTED` says that it did not execute the call. If a service
/// does not keep to that, use `Idempotent(false)`. A timeout, by contrast, does not show whether the call was executed.
///
/// A [hedge](crate::hedge) runs beside the first attempt, and is made only for a call with `Idempotent(true)`.
///
/// Messages are kept as they pass, up to [`max_body`](Self::with_max_body) bytes. A call that has sent more, such as a
/// long stream, is not sent again and continues without retries. So the size decides, and not whether the call streams.
/// Nothing is sent again once a message of the response has been handed on.
///
/// **Cost:** that of [`ByMethod`], which does the work.
///
/// ```
/// use seawall::grpc::ByCall;
/// use seawall::http::Idempotent;
/// use seawall::retry::{RetryConfig, RetryLayer};
/// use tonic_health::pb::HealthCheckRequest;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = RetryLayer::grpc(RetryConfig::default())?.with_replay(ByCall::default().with_max_body(1024 * 1024));
/// # drop(layer);
///
/// // a call that may be made twice, whatever became of the first one
/// let mut request = tonic::Request::new(HealthCheckRequest::default());
/// request.extensions_mut().insert(Idempotent(true));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByCall {
    of_http: ByMethod,
}

impl ByCall {
    /// Keeps up to `bytes` of what each call sends. Default: 64 KiB.
    pub const fn with_max_body(self, bytes: usize) -> Self {
        Self { of_http: self.of_http.with_max_body(bytes) }
    }
}

impl<B: Body> Replay<Request<B>> for ByCall {
    type Attempt = Request<ReplayBody<B>>;
    type Kept = KeptCall<B>;

    fn first(&self, request: Request<B>) -> (Self::Attempt, KeptCall<B>) {
        let once = matches!(request.extensions().get(), Some(Idempotent(false)));
        let (attempt, request) = self.of_http.first(request);
        (attempt, KeptCall { request, once })
    }
}

/// A call kept for further attempts. See [`ByCall`].
///
/// Public only so that [`Replay::Kept`](crate::retry::Replay::Kept) can name it.
#[derive(Debug)]
pub struct KeptCall<B> {
    request: KeptRequest<B>,
    /// The call must not be executed twice, whatever the service answers.
    once: bool,
}

impl<B> Kept for KeptCall<B> {
    type Attempt = Request<ReplayBody<B>>;

    fn repeatable(&self, verdict: Verdict) -> bool {
        // Such an answer means that the call was not executed, so it may be repeated like an unsent one.
        let as_good_as = match verdict {
            Verdict::Transient | Verdict::Overloaded { .. } if !self.once => Verdict::Unsent,
            other => other,
        };
        self.request.repeatable(as_good_as)
    }

    fn repeatable_beside(&self) -> bool {
        self.request.repeatable_beside()
    }

    fn give_up(&mut self) {
        self.request.give_up();
    }

    fn sending(&self) -> Option<std::sync::Arc<UploadWaits>> {
        self.request.sending()
    }

    fn next_beside(&mut self) -> Option<Self::Attempt> {
        self.request.next_beside()
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.request.poll_beside(cx)
    }

    fn next(&mut self) -> Option<Self::Attempt> {
        self.request.next()
    }
}
