use std::fmt;
use std::sync::Arc as Shared;
use std::task::{Context, Poll};

use ::http::header::UPGRADE;
use ::http::request::Parts;
use ::http::{Method, Request};
use http_body::Body;

use super::body::{Left, ReplayBody};
use super::idempotent::{is_idempotent, may_run_beside};
use super::kept_body::KeptBody;
use super::source::{Begun, ReplaySource};
use crate::ground::sync::Arc;
use crate::ground::verdict::Verdict;
use crate::layers::call::upload_waits::UploadWaits;
use crate::layers::retry::{Kept, Replay};

/// The default bound on what is kept of a body. Most requests are smaller, and ten thousand calls at once still fit
/// into memory.
const DEFAULT_MAX_BODY: usize = 64 * 1024;

/// Decides by method which requests a retry may send again.
///
/// | request | after [`Unsent`](Verdict::Unsent) | after any other failure |
/// |---|---|---|
/// | its method is idempotent (RFC 9110, section 9.2.2), it carries an `Idempotency-Key`, or [`Idempotent(true)`] | yes | yes |
/// | any other, or [`Idempotent(false)`] | yes | no |
/// | `CONNECT`, or one with an `Upgrade` header | no | no |
///
/// A [hedge](crate::hedge) runs beside the first attempt. It is made only if the method is safe (`GET`, `HEAD`, `OPTIONS`, `TRACE`), or the
/// request has [`Idempotent(true)`].
///
/// Neither request nor body has to be `Clone`. The body is sent as a [`ReplayBody`], which keeps what passes, up to
/// [`max_body`](Self::with_max_body) bytes. A body that has exceeded this bound, or that failed, cannot be sent again;
/// the call then continues without retries.
///
/// **Cost:** a clone of the request's head, for which a `HeaderMap` allocates; four allocations if there is a body.
///
/// ```
/// use seawall::http::ByMethod;
/// use seawall::retry::{RetryConfig, RetryLayer};
///
/// let layer = RetryLayer::http(RetryConfig::default())?.with_replay(ByMethod::default().with_max_body(1024 * 1024));
/// # let _ = layer;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
///
/// [`Idempotent(true)`]: super::Idempotent
/// [`Idempotent(false)`]: super::Idempotent
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByMethod {
    max_body: usize,
}

impl Default for ByMethod {
    fn default() -> Self {
        Self { max_body: DEFAULT_MAX_BODY }
    }
}

impl ByMethod {
    /// Keeps up to `bytes` of each request's body. Default: 64 KiB. With 0, a request is only sent again if its body is
    /// empty or nothing of it was read.
    pub const fn with_max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes }
    }
}

impl<B: Body> Replay<Request<B>> for ByMethod {
    type Attempt = Request<ReplayBody<B>>;
    type Kept = KeptRequest<B>;

    fn first(&self, request: Request<B>) -> (Self::Attempt, KeptRequest<B>) {
        let (head, body) = request.into_parts();
        let may_repeat = head.method != Method::CONNECT && !head.headers.contains_key(UPGRADE);
        let (idempotent, beside) = (is_idempotent(&head), may_run_beside(&head));
        let left = Left::all_of(&body);
        let source = (!body.is_end_stream()).then(|| Arc::new(ReplaySource::new(body, self.max_body)));
        let sending = source.is_some().then(UploadWaits::new);
        let kept = KeptRequest {
            head: may_repeat.then(|| head.clone()),
            body: KeptBody::new(source.clone(), sending.clone(), left),
            idempotent,
            beside,
        };
        let body = match source {
            Some(source) => ReplayBody::first(source, sending, left),
            None => ReplayBody::empty(left),
        };
        (Request::from_parts(head, body), kept)
    }
}

/// A request kept for further attempts, if there may be any. See [`ByMethod`].
///
/// Public only so that [`Replay::Kept`](crate::retry::Replay::Kept) can name it.
pub struct KeptRequest<B> {
    /// `None` if the request must not be sent again in any case.
    head: Option<Parts>,
    body: KeptBody<B>,
    idempotent: bool,
    /// Whether two executions may run at once.
    beside: bool,
}

impl<B> Kept for KeptRequest<B> {
    type Attempt = Request<ReplayBody<B>>;

    fn repeatable(&self, verdict: Verdict) -> bool {
        self.head.is_some() && (self.idempotent || verdict == Verdict::Unsent) && self.body.is_repeatable()
    }

    fn repeatable_beside(&self) -> bool {
        self.beside && self.repeatable(Verdict::TimedOut)
    }

    fn give_up(&mut self) {
        self.body.give_up();
    }

    fn sending(&self) -> Option<Shared<UploadWaits>> {
        self.body.sending()
    }

    fn next_beside(&mut self) -> Option<Self::Attempt> {
        self.again(ReplaySource::begin_beside)
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.poll_sent(cx)
    }

    fn next(&mut self) -> Option<Self::Attempt> {
        self.again(ReplaySource::begin)
    }
}

impl<B> KeptRequest<B> {
    /// The request of another attempt, which begins to read the body in this way.
    fn again(&mut self, begin: impl FnOnce(&ReplaySource<B>) -> Option<Begun>) -> Option<Request<ReplayBody<B>>> {
        let head = self.head.clone()?;
        let body = self.body.again(begin)?;
        Some(Request::from_parts(head, body))
    }
}

impl<B> fmt::Debug for KeptRequest<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, body, idempotent, beside } = self;
        f.debug_struct("KeptRequest")
            .field("head", head)
            .field("body", body)
            .field("idempotent", idempotent)
            .field("beside", beside)
            .finish()
    }
}
