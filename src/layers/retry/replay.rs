//! The trait that makes the request of each attempt.

use std::task::{Context, Poll};

use crate::ground::verdict::Verdict;
use crate::layers::call::upload_waits::UploadWaits;

/// How a request is kept, so that each attempt can send it again from the start.
///
/// The type that is sent may differ from the type that came in: a request with a streaming body is sent with a body that records its
/// frames, and is replayed from the record. For requests that can be cloned there is [`CloneRequest`].
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

    /// Makes the first attempt's request, and the state for further ones. Runs once per call; the [context](crate::context) holds
    /// the attempt's number.
    fn first(&self, request: Req) -> (Self::Attempt, Self::Kept);
}

/// What is kept of a request while its call lasts.
pub trait Kept {
    /// What is sent.
    type Attempt;

    /// Whether the request can be sent again, and may be after this verdict. Called before a token is spent on a retry.
    ///
    /// After [`Verdict::Lost`], and strictly also after [`Verdict::TimedOut`], the request may have been executed: return `true`
    /// only if executing it twice does no harm.
    fn repeatable(&self, verdict: Verdict) -> bool;

    /// Whether the request may be sent again while earlier attempts may still be executed, as a [hedge](crate::hedge) does, and can be.
    /// More than [`repeatable`](Self::repeatable) asks for: after a failure, one execution follows another; here both run at once.
    ///
    /// The default is what may be repeated after a [`Verdict::TimedOut`].
    fn repeatable_beside(&self) -> bool {
        self.repeatable(Verdict::TimedOut)
    }

    /// Called when the attempt has failed and a retry follows after a wait. Whatever still runs for the attempt (a request body that
    /// is still being sent) should end now, and hold nothing during the wait.
    fn give_up(&mut self) {}

    /// The waits of the current attempt's request body for its producer.
    #[doc(hidden)]
    fn sending(&self) -> Option<std::sync::Arc<UploadWaits>> {
        None
    }

    /// Makes the request again while earlier attempts are in flight, as a [hedge](crate::hedge) does, and without taking anything
    /// from them. `None` if that is impossible. Called once [`poll_beside`](Self::poll_beside) is ready.
    ///
    /// The default is [`next`](Self::next), which is right if the attempts have nothing in common.
    fn next_beside(&mut self) -> Option<Self::Attempt> {
        self.next()
    }

    /// Ready once [`next_beside`](Self::next_beside) is possible, or never will be. Pending while it is not possible yet, because a
    /// request body is being sent: the task is then woken when the body has been sent. The default is always ready.
    fn poll_beside(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Makes the request again, from the start; `None` if that turns out to be impossible. The [context](crate::context) holds the
    /// attempt's number.
    fn next(&mut self) -> Option<Self::Attempt>;
}

/// Makes each attempt's request by cloning the original.
///
/// A retry around a service implies that its requests may be repeated. The exception is [`Verdict::Lost`], after which the
/// dependency may have executed the request and may have crashed on it: then only idempotent requests are repeated.
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
    /// For requests that may not be idempotent.
    pub const fn new() -> Self {
        Self { idempotent: false }
    }

    /// For idempotent requests, which may be executed twice without harm.
    pub const fn idempotent() -> Self {
        Self { idempotent: true }
    }
}

impl<Req: Clone> Replay<Req> for CloneRequest {
    type Attempt = Req;
    type Kept = KeptClone<Req>;

    fn first(&self, request: Req) -> (Req, KeptClone<Req>) {
        (request.clone(), KeptClone { request, idempotent: self.idempotent })
    }
}

/// A request kept as it arrived. See [`CloneRequest`].
///
/// Public only so that [`Replay::Kept`](crate::retry::Replay::Kept) can name it.
#[derive(Clone, Debug)]
pub struct KeptClone<Req> {
    request: Req,
    idempotent: bool,
}

impl<Req: Clone> Kept for KeptClone<Req> {
    type Attempt = Req;

    fn repeatable(&self, verdict: Verdict) -> bool {
        self.idempotent || verdict != Verdict::Lost
    }

    fn next(&mut self) -> Option<Req> {
        Some(self.request.clone())
    }
}
