//! The context that a call inherits from the call that it serves: deadline, attempt number, priority, [key](crate::fair_share).
//!
//! The context belongs to the task. A layer sets its part around every poll of the inner service, so that the context flows from a
//! server's handler to the client calls made there, without code of the user.
//!
//! | where a call is made | what it inherits |
//! |---|---|
//! | in the call's own task: `await`, `join!`, `select!`, `FuturesUnordered` | the context |
//! | in a task that is spawned | nothing; [`carry`] takes the context along |
//! | in a `spawn_local` task of a `LocalSet` that the call itself drives | the context, since the call polls it; [`detached`] removes it |
//! | behind a task hop of the service: `tower::buffer::Buffer`, an actor, a channel | the inner layers see nothing; [`capture`] sends the context with the request |
//! | by `block_on` in `spawn_blocking` or another thread | nothing; [`carry`] the future that is blocked on |
//! | in work that several calls share: a cache that loads once for all | the context of the call that starts it, deadline included; [`detached`] removes it |
//!
//! Outer layers still end a call whose context was lost: its deadline drops the future that waits for the answer.
//!
//! ```
//! use seawall::context::{self, Priority};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! context::with_priority(Priority::High, async {
//!     let background = tokio::spawn(context::carry(async { context::priority() }));
//!     assert_eq!(background.await.ok(), Some(Priority::High));
//! })
//! .await;
//! # }
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

pub use crate::ground::scope::Priority;
use crate::ground::scope::{self, Context};
use crate::ground::time::{self, Instant};

/// The deadline of the current call, if it has one.
pub fn deadline() -> Option<tokio::time::Instant> {
    scope::current().deadline.map(Instant::to_tokio)
}

/// The time that the current call has left, if it has a deadline.
pub fn time_left() -> Option<Duration> {
    scope::current().deadline.map(|deadline| deadline.since(time::now()))
}

/// The number of the current attempt, from 1; 1 without a retry. In a handler it is the number that came with the request, if a
/// layer extracts it; in a client's stack it is that of the innermost retry.
pub fn attempt() -> u32 {
    scope::current().attempt().max(1)
}

/// The priority of the current call.
pub fn priority() -> Priority {
    scope::current().priority()
}

/// Gives the current context to a future that is spawned. The context is captured when this is called.
///
/// The deadline bounds the calls made in the future; it does not end the future itself. Work that a call *blocks* on (`block_on`
/// inside `block_in_place`) needs this, too: outer layers cannot end it in time, so its calls must.
pub fn carry<F>(future: F) -> Carried<F> {
    capture().carry(future)
}

/// The current context, to be sent to where the call goes on: to the worker of a `tower::buffer::Buffer`, through a channel.
///
/// A service behind a buffer is called by the buffer's worker, and layers inside would see no deadline, priority, attempt or key:
///
/// ```
/// use std::time::Duration;
/// use seawall::{context, deadline::DeadlineLayer};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let client = service_fn(|_: String| async { Ok::<_, BoxError>(context::time_left()) });
/// let service = ServiceBuilder::new()
///     .layer(DeadlineLayer::new(Duration::from_secs(2))?)
///     .map_request(|request: String| (context::capture(), request))
///     .buffer(16)
///     .service(service_fn(move |(context, request): (context::Captured, String)| {
///         context.carry(async move { client.oneshot(request).await })
///     }));
/// assert!(service.oneshot("hello".to_owned()).await?.is_some());
/// # Ok(())
/// # }
/// ```
///
/// The deadline bounds the calls made there; as with [`carry`], it does not end a future itself.
pub fn capture() -> Captured {
    Captured { context: scope::current().with_enforced(false) }
}

/// A captured context. See [`capture`].
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    context: Context,
}

impl Captured {
    /// Gives `future`, and every call that is made in it, this context.
    pub fn carry<F>(self, future: F) -> Carried<F> {
        Carried { context: self.context, is_detached: false, future: Some(future) }
    }
}

/// Detaches `future` from the current call: it inherits no deadline and no [key](crate::fair_share), its priority is the default, the calls made in it are first
/// attempts, and their failures are not reported to the tiers above as exhausted retries of the current call.
///
/// For work that several calls share. Without this, a load that fills a cache for many callers ends at the deadline of its first
/// caller.
///
/// Work that must outlive its first caller has to be spawned, too: a shared future is polled by its callers, and stops once the
/// polling caller is gone and no other caller polls it. A spawned task inherits nothing; `detached` is needed there only if the
/// spawning code takes the context along:
///
/// ```
/// use std::time::Duration;
/// use futures::FutureExt;
/// use seawall::{context, deadline::DeadlineLayer};
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let client = DeadlineLayer::new(Duration::from_secs(10))?.layer(service_fn(|()| async { Ok::<_, BoxError>("value") }));
/// let load = context::detached(client.oneshot(()).map(|loaded| loaded.map_err(|error| error.to_string())));
/// // The task continues after the first caller has gone; every caller awaits a clone.
/// let load = tokio::spawn(load).map(|joined| joined.map_err(|error| error.to_string())?).boxed().shared();
/// let first_caller = load.clone();
/// drop(first_caller);
/// assert_eq!(load.await, Ok("value"));
/// # Ok(())
/// # }
/// ```
///
/// Bound such work with its own deadline layer, as here. Dropping the future cancels it, like any future that is not spawned.
pub fn detached<F>(future: F) -> Carried<F> {
    Carried { context: Context::NONE, is_detached: true, future: Some(future) }
}

/// Gives every call made in `future` this priority. The rest of the context stays.
pub fn with_priority<F>(priority: Priority, future: F) -> WithPriority<F> {
    WithPriority { priority, future: Some(future) }
}

/// A future with its own context, also while it is dropped. See [`carry`], [`Captured::carry`] and [`detached`].
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct Carried<F> {
    context: Context,
    /// Whether failures in the future are not reported to the current call.
    is_detached: bool,
    /// `None` while it is dropped.
    #[pin]
    future: Option<F>,
}

/// Runs `code` in this context.
fn in_context<T>(context: Context, is_detached: bool, code: impl FnOnce() -> T) -> T {
    let _entered = scope::enter(context);
    if is_detached { scope::noting_exhausted(&mut scope::Exhausted::default(), code) } else { code() }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        in_context(*this.context, *this.is_detached, || future.poll(cx))
    }
}

#[pinned_drop]
impl<F> PinnedDrop for Carried<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        in_context(*this.context, *this.is_detached, || this.future.set(None));
    }
}

/// A future whose calls have their own priority, also while it is dropped. See [`with_priority`].
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct WithPriority<F> {
    priority: Priority,
    /// `None` while it is dropped.
    #[pin]
    future: Option<F>,
}

impl<F: Future> Future for WithPriority<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let _entered = scope::enter(scope::current().with_priority(*this.priority));
        future.poll(cx)
    }
}

#[pinned_drop]
impl<F> PinnedDrop for WithPriority<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = scope::enter(scope::current().with_priority(*this.priority));
        this.future.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the context in which it is dropped.
    struct SeenInDrop<'a>(&'a mut Option<(Option<tokio::time::Instant>, Priority)>);

    impl Drop for SeenInDrop<'_> {
        fn drop(&mut self) {
            scope::mark_exhausted();
            *self.0 = Some((deadline(), priority()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn futures_are_dropped_in_their_context() {
        let at = time::now() + Duration::from_secs(1);
        let _call = scope::enter(Context::NONE.with_deadline(Some(at)).with_priority(Priority::Critical));
        let (mut low, mut detached_seen, mut carried) = (None, None, None);
        drop(with_priority(Priority::Low, std::future::ready(SeenInDrop(&mut low))));
        let mut exhausted = scope::Exhausted::default();
        scope::noting_exhausted(&mut exhausted, || {
            drop(detached(std::future::ready(SeenInDrop(&mut detached_seen))));
        });
        let future = carry(std::future::ready(SeenInDrop(&mut carried)));
        {
            let _elsewhere = scope::enter(Context::NONE);
            drop(future);
        }
        assert_eq!(low, Some((Some(at.to_tokio()), Priority::Low)));
        assert_eq!(detached_seen, Some((None, Priority::Normal)));
        assert_eq!(carried, Some((Some(at.to_tokio()), Priority::Critical)));
        #[cfg(feature = "http")]
        assert!(!exhausted.is_exhausted(), "detached work reports nothing, also while it is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn carried_work_keeps_its_deadline_without_an_enforcer() {
        let deadline = time::now() + Duration::from_secs(1);
        let carried = {
            let _entered = scope::enter(Context::NONE.with_deadline(Some(deadline)).with_enforced(true));
            carry(async { scope::current() })
        };
        assert_eq!(scope::current(), Context::NONE);
        let inside = tokio::spawn(carried).await.expect("no panic");
        assert_eq!(inside.deadline, Some(deadline));
        assert!(!inside.ends_by(Instant::MAX));
    }
}
