//! The seam that makes each attempt's request.

use crate::ground::verdict::Verdict;
use crate::layers::call::upload_waits::UploadWaits;

/// How a request is kept, so that it can be made again from the start for each attempt.
///
/// What is sent may be of another type than what came in: a request whose body is a stream is sent with a body that
/// records what passes, and is replayed from the record. For requests that can simply be cloned there is
/// [`CloneRequest`].
///
/// ```
/// use seawall::retry::{Kept, Replay};
/// use seawall::verdict::Verdict;
///
/// /// Sends a job with the number of the attempt.
/// #[derive(Clone)]
/// struct Numbered;
///
/// struct Job(&'static str, u32);
///
/// impl Replay<&'static str> for Numbered {
///     type Attempt = (&'static str, u32);
///     type Kept = Job;
///
///     fn first(&self, request: &'static str) -> (Self::Attempt, Job) {
///         ((request, 1), Job(request, 1))
///     }
/// }
///
/// impl Kept for Job {
///     type Attempt = (&'static str, u32);
///
///     fn repeatable(&self, verdict: Verdict) -> bool {
///         verdict != Verdict::Lost
///     }
///
///     fn next(&mut self) -> Option<Self::Attempt> {
///         self.1 += 1;
///         Some((self.0, self.1))
///     }
/// }
/// ```
pub trait Replay<Req>: Clone {
    /// What is sent.
    type Attempt;

    /// What is kept of a request while its call lasts.
    type Kept: Kept<Attempt = Self::Attempt>;

    /// Makes the first attempt's request, and what is needed to make further ones. It runs once a call, and the
    /// [context](crate::context) has the attempt's number in it.
    fn first(&self, request: Req) -> (Self::Attempt, Self::Kept);
}

/// What is kept of a request while its call lasts. See [`Replay`].
pub trait Kept {
    /// What is sent.
    type Attempt;

    /// Whether the request can be made again, and may be after this verdict. Asked before anything is spent on a retry.
    ///
    /// After [`Verdict::Lost`], and strictly also after [`Verdict::TimedOut`], the request may have been executed: say
    /// yes only if executing it twice does no harm.
    fn repeatable(&self, verdict: Verdict) -> bool;

    /// The attempt has failed, and after a wait another one follows: what may still be going on of it (a request body
    /// that is still being sent) should end now, and not hold anything while we wait.
    fn give_up(&mut self) {}

    /// Where the body of the present attempt notes how long it waits for its producer.
    #[doc(hidden)]
    fn sending(&self) -> Option<std::sync::Arc<UploadWaits>> {
        None
    }

    /// Makes the request again, from the start; `None` if that turns out to be impossible after all. The
    /// [context](crate::context) has the attempt's number in it.
    fn next(&mut self) -> Option<Self::Attempt>;
}

/// Makes each attempt's request by cloning the one that came.
///
/// Whoever puts a retry around a service says that its requests may be repeated. Only after [`Verdict::Lost`], when the
/// callee may have executed the request and may have died of it, they are not, unless they are said to be idempotent.
///
/// ```
/// use seawall::retry::{CloneRequest, RetryConfig, RetryLayer};
///
/// let layer = RetryLayer::new(RetryConfig::default())?.with_replay(CloneRequest::idempotent());
/// # let _ = layer;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneRequest {
    idempotent: bool,
}

impl CloneRequest {
    /// For requests of which it is not known whether executing them twice does harm.
    pub const fn new() -> Self {
        Self { idempotent: false }
    }

    /// For requests that may be executed twice without harm.
    pub const fn idempotent() -> Self {
        Self { idempotent: true }
    }
}

impl<Req: Clone> Replay<Req> for CloneRequest {
    type Attempt = Req;
    type Kept = KeptRequest<Req>;

    fn first(&self, request: Req) -> (Req, KeptRequest<Req>) {
        (request.clone(), KeptRequest { request, idempotent: self.idempotent })
    }
}

/// A request kept as it came. See [`CloneRequest`].
#[derive(Clone, Debug)]
pub struct KeptRequest<Req> {
    request: Req,
    idempotent: bool,
}

impl<Req: Clone> Kept for KeptRequest<Req> {
    type Attempt = Req;

    fn repeatable(&self, verdict: Verdict) -> bool {
        self.idempotent || verdict != Verdict::Lost
    }

    fn next(&mut self) -> Option<Req> {
        Some(self.request.clone())
    }
}
