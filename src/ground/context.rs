//! What a call inherits from the call it serves: deadline, attempt number, priority.
//!
//! The context belongs to the task: a layer that sets something does so around every poll of what is inside it, so that
//! it flows from a server's handler to the client calls made there with no code of the user's.
//!
//! | where a call is made | what it inherits |
//! |---|---|
//! | in the call's own task: `await`, `join!`, `select!`, `FuturesUnordered` | the context |
//! | in a task that is spawned | nothing; [`carry`] takes the context along |
//! | behind a task hop of the service: `tower::buffer::Buffer`, an actor, a channel | the calling layers inside see nothing; [`capture`] sends the context with the request |
//! | by `block_on` in `spawn_blocking` or another thread | nothing; [`carry`] what is blocked on |
//! | in work that several calls share: a cache that loads once for all | the context of the call that makes it first, deadline included; [`detached`] takes it out |
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

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, RawWakerVTable, Waker};
use std::time::Duration;

use pin_project::pin_project;

use crate::ground::time::{self, Instant};

#[cfg(feature = "http")]
mod cut;
mod last_word;

#[cfg(feature = "http")]
pub(crate) use cut::{cut_for_slowness, is_cut_for_slowness};
pub(crate) use last_word::{LastWords, SaidBefore, listen, said_before, say_last_word, take_back};

/// How much a call matters. When there is not room for all, the most important are served first.
///
/// A call inherits it from the call that is being served; [`with_priority`] sets it. Between processes it travels as
/// `x-priority`, see `http::propagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Priority {
    /// Nobody waits for it: batch, prefetch.
    Low,
    /// The default.
    #[default]
    Normal,
    /// A person waits for it.
    High,
    /// Without it the service does not work: logins, payments, health checks.
    Critical,
}

/// What a call inherits: two instants, and the rest in one word, so that it is moved and compared in pieces that the
/// processor has in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// By when there must be a response. All that waits for one keeps to it.
    pub(crate) deadline: Option<Instant>,
    end: Option<Instant>,
    word: u32,
}

const ENFORCED: u32 = 1 << 31;
const PRIORITY_SHIFT: u32 = 29;
const BEFORE_SHIFT: u32 = 20;
const BEFORE_MASK: u32 = (1 << (PRIORITY_SHIFT - BEFORE_SHIFT)) - 1;
const LASTS: u32 = 1 << 19;
const HAS_END: u32 = 1 << 18;
const ATTEMPT_MASK: u32 = HAS_END - 1;

impl Context {
    const NONE: Self = Self { deadline: None, end: None, word: (Priority::Normal as u32) << PRIORITY_SHIFT };

    /// By when the response must be over, if it may go on beyond the deadline.
    #[inline]
    pub(crate) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// By when everything must be over, if there is a bound.
    #[inline]
    pub(crate) fn last_instant(&self) -> Option<Instant> {
        self.end.or(self.deadline)
    }

    /// Whether the response is meant to go on until its end, so that nothing shorter than the call cuts it.
    #[inline]
    pub(crate) fn lasts(&self) -> bool {
        self.word & LASTS != 0
    }

    /// Whether someone further out in this very task ends the call at the deadline, so that we need no timer for it.
    #[inline]
    pub(crate) fn enforced(&self) -> bool {
        self.word & ENFORCED != 0
    }

    /// 0 where no retry is in charge, here or at the other end of the connection that we serve.
    #[inline]
    pub(crate) fn attempt(&self) -> u32 {
        self.word & ATTEMPT_MASK
    }

    /// How often this work had been tried before by retries further out than the one that counts in `attempt`.
    #[inline]
    pub(crate) fn before(&self) -> u32 {
        self.word >> BEFORE_SHIFT & BEFORE_MASK
    }

    #[inline]
    pub(crate) fn priority(&self) -> Priority {
        match self.word >> PRIORITY_SHIFT & 3 {
            0 => Priority::Low,
            1 => Priority::Normal,
            2 => Priority::High,
            _ => Priority::Critical,
        }
    }

    #[inline]
    pub(crate) fn with_deadline(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    #[inline]
    pub(crate) fn with_end(self, end: Option<Instant>, lasts: bool) -> Self {
        let end_bits = if end.is_none() { 0 } else { HAS_END } | if lasts { LASTS } else { 0 };
        Self { end, word: self.word & !(HAS_END | LASTS) | end_bits, ..self }
    }

    #[inline]
    pub(crate) fn with_enforced(self, enforced: bool) -> Self {
        Self { word: self.word & !ENFORCED | if enforced { ENFORCED } else { 0 }, ..self }
    }

    #[inline]
    pub(crate) fn with_attempt(self, attempt: u32) -> Self {
        Self { word: self.word & !ATTEMPT_MASK | attempt.min(ATTEMPT_MASK), ..self }
    }

    #[inline]
    fn with_before(self, before: u32) -> Self {
        Self { word: self.word & !(BEFORE_MASK << BEFORE_SHIFT) | before.min(BEFORE_MASK) << BEFORE_SHIFT, ..self }
    }

    #[inline]
    pub(crate) fn with_priority(self, priority: Priority) -> Self {
        Self { word: self.word & !(3 << PRIORITY_SHIFT) | (priority as u32) << PRIORITY_SHIFT, ..self }
    }

    /// Whether there is no time left at `now`.
    #[inline]
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The context as it is for a retry that begins to count anew.
    #[inline]
    pub(crate) fn uncounted(self) -> Self {
        if self.attempt() == 0 { self } else { self.with_before(self.before_all()).with_attempt(0) }
    }

    /// How often this work was tried before, by anyone on the way to here. What is itself a repetition earns no retries.
    #[inline]
    pub(crate) fn before_all(&self) -> u32 {
        self.before() + self.attempt().saturating_sub(1)
    }

    /// Whether whoever polls us ends the call at `instant` or before.
    #[inline]
    pub(crate) fn ends_by(&self, instant: Instant) -> bool {
        self.enforced() && self.deadline.is_some_and(|deadline| deadline <= instant)
    }
}

thread_local! {
    /// A pair of words, which is moved through registers.
    static CURRENT: Cell<(Option<Instant>, u32)> = const { Cell::new((Context::NONE.deadline, Context::NONE.word)) };
    /// Looked at only where the current context has one, which is rare.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The task of the layer that ends the current call.
    static ENFORCER: Cell<Option<Task>> = const { Cell::new(None) };
}

/// The context of the call that is being served right now.
#[inline]
pub(crate) fn current() -> Context {
    let (deadline, word) = CURRENT.get();
    let end = if word & HAS_END == 0 { None } else { END.get() };
    Context { deadline, end, word }
}

/// Makes `context` the current one until the guard is dropped.
#[inline]
pub(crate) fn enter(context: Context) -> Entered {
    let outer = CURRENT.replace((context.deadline, context.word));
    let has_end = (context.word | outer.1) & HAS_END != 0;
    Entered { outer, end: has_end.then(|| END.replace(context.end)) }
}

/// See [`enter`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered {
    outer: (Option<Instant>, u32),
    /// What the end was, if it has been touched.
    end: Option<Option<Instant>>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        if let Some(end) = self.end {
            END.set(end);
        }
    }
}

/// A task, as far as it can be told by its waker: by both of the pointers that the waker is made of. They are compared and never
/// followed; a `will_wake` would be foreign code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    data: *const (),
    vtable: *const RawWakerVTable,
}

/// Nothing is allocated below this address. Data that is null, dangling or the number of a task says nothing: a nested executor
/// of the same kind has the same.
const LOWEST_POINTER: usize = 4096;

impl Task {
    #[inline]
    fn of(waker: &Waker) -> Option<Self> {
        let data = waker.data();
        (data.addr() >= LOWEST_POINTER).then(|| Self { data, vtable: waker.vtable() })
    }
}

/// Says, until the guard is dropped, that the current call is ended by a layer that is polled with this waker.
///
/// What polls with a waker of its own in there (a nested `block_on`, a shared future, a set of local tasks) may be polled without
/// that layer, or keep it from being polled: it has to end its calls itself. So has everything in a task whose waker does not
/// identify it.
#[inline]
pub(crate) fn enforce(waker: &Waker) -> Enforcing {
    Enforcing { outer: ENFORCER.replace(Task::of(waker)) }
}

/// Whether what is polled with this waker is in the same task as the layer that ends the current call.
#[inline]
pub(crate) fn is_enforced_for(waker: &Waker) -> bool {
    ENFORCER.get().is_some_and(|task| Task::of(waker) == Some(task))
}

/// See [`enforce`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Enforcing {
    outer: Option<Task>,
}

impl Drop for Enforcing {
    #[inline]
    fn drop(&mut self) {
        ENFORCER.set(self.outer);
    }
}

/// When the current call must be over, if it has a deadline.
pub fn deadline() -> Option<tokio::time::Instant> {
    current().deadline.map(Instant::to_tokio)
}

/// How much time the current call has left, if it has a deadline.
pub fn time_left() -> Option<Duration> {
    current().deadline.map(|deadline| deadline.since(time::now()))
}

/// The number of the current attempt, 1 being the first; 1 too where nothing retries. In a handler it is the number that
/// came with the request, if a layer reads it there; in a client's stack it is that of the retry in charge.
pub fn attempt() -> u32 {
    current().attempt().max(1)
}

/// How much the current call matters.
pub fn priority() -> Priority {
    current().priority()
}

/// Takes the current context along into work that is spawned. It is captured when this is called.
///
/// The deadline goes along too, and bounds the calls made in there; it does not end the future itself. Work that a call
/// *blocks* on (`block_on` inside `block_in_place`) needs this too: the layers around it cannot end it in time, and so the
/// calls made in there must.
pub fn carry<F>(future: F) -> Carried<F> {
    capture().carry(future)
}

/// The current context, to be sent to where the call goes on: to the worker of a `tower::buffer::Buffer`, through a channel.
///
/// A service behind a buffer is called by the buffer's worker, and layers inside would see no deadline, priority or attempt:
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
    Captured { context: current().with_enforced(false) }
}

/// A context that was captured. See [`capture`].
#[derive(Clone, Copy, Debug)]
pub struct Captured {
    context: Context,
}

impl Captured {
    /// Gives `future`, and every call that is made in it, this context.
    pub fn carry<F>(self, future: F) -> Carried<F> {
        Carried { context: self.context, is_detached: false, future }
    }
}

/// Takes `future` out of the current call: no deadline is inherited, the priority is the default, the calls made in it are
/// first attempts, and their failures do not tell the tiers above that the current call is not to be retried.
///
/// For work that several calls share. Without this, a load that fills a cache for many dies of the deadline of the caller that
/// asked first.
///
/// Work that must outlive its first caller has to be spawned, too: a future that is only shared is polled by its callers, and
/// stands still once the caller that polls it is gone and no other one waits. A task that is spawned inherits nothing; `detached`
/// is needed there only if the spawning is done by something that takes the context along:
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
/// // The task goes on when the first caller has gone; every caller awaits a clone.
/// let load = tokio::spawn(load).map(|joined| joined.map_err(|error| error.to_string())?).boxed().shared();
/// let first_caller = load.clone();
/// drop(first_caller);
/// assert_eq!(load.await, Ok("value"));
/// # Ok(())
/// # }
/// ```
///
/// Give such work a bound of its own: a deadline layer, as here. Dropping it cancels it, as any future that is not spawned.
pub fn detached<F>(future: F) -> Carried<F> {
    Carried { context: Context::NONE, is_detached: true, future }
}

/// Gives every call made in `future` this priority; the rest of the context is as it is found.
pub fn with_priority<F>(priority: Priority, future: F) -> WithPriority<F> {
    WithPriority { priority, future }
}

/// A future that has a context of its own. See [`carry`], [`Captured::carry`] and [`detached`].
#[pin_project]
#[derive(Debug)]
pub struct Carried<F> {
    context: Context,
    /// Whether the current call is not told how the calls in there fail.
    is_detached: bool,
    #[pin]
    future: F,
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = enter(*this.context);
        if *this.is_detached {
            return listen(&mut LastWords::default(), || this.future.poll(cx));
        }
        this.future.poll(cx)
    }
}

/// A future whose calls have a priority. See [`with_priority`].
#[pin_project]
#[derive(Debug)]
pub struct WithPriority<F> {
    priority: Priority,
    #[pin]
    future: F,
}

impl<F: Future> Future for WithPriority<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = enter(current().with_priority(*this.priority));
        this.future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_set_without_a_change_of_the_others() {
        for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Critical] {
            for (enforced, lasts, attempt, before) in
                [(false, true, 0, 1), (true, false, 1, 0), (true, true, 70_000, 511)]
            {
                let end = Some(Instant::MAX);
                let set = |context: Context| {
                    context
                        .with_priority(priority)
                        .with_before(before)
                        .with_end(end, lasts)
                        .with_attempt(attempt)
                        .with_enforced(enforced)
                };
                let all = set(Context::NONE);
                assert_eq!(all, set(all.with_attempt(3).with_before(3).with_end(None, false).with_enforced(!enforced)));
                assert_eq!((all.priority(), all.enforced(), all.lasts()), (priority, enforced, lasts));
                assert_eq!((all.attempt(), all.before(), all.end()), (attempt, before, end));
            }
        }
        let most = Context::NONE.with_attempt(u32::MAX).with_before(u32::MAX);
        assert_eq!((most.attempt(), most.before()), (ATTEMPT_MASK, BEFORE_MASK));
        assert_eq!((most.priority(), most.enforced(), most.lasts()), (Priority::Normal, false, false));
    }

    #[test]
    fn a_retry_that_counts_anew_forgets_no_repetition_further_out() {
        let second = Context::NONE.with_attempt(2).uncounted();
        assert_eq!((second.attempt(), second.before_all()), (0, 1));
        let within = second.with_attempt(3).uncounted();
        assert_eq!((within.attempt(), within.before_all()), (0, 3));
        assert_eq!(Context::NONE.uncounted(), Context::NONE);
    }

    #[test]
    fn leaving_restores_what_was_there_even_after_a_panic() {
        let outer = Context::NONE.with_attempt(3).with_end(Some(Instant::MAX), false);
        let _entered = enter(outer);
        for inner in [Context::NONE.with_attempt(4), outer.with_attempt(4), outer.with_attempt(4).with_end(None, false)]
        {
            let panicked = std::panic::catch_unwind(|| {
                let _inner = enter(inner);
                assert_eq!(current(), inner);
                panic!("in the inner service");
            });
            assert!(panicked.is_err());
            assert_eq!(current(), outer);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn carried_work_keeps_the_deadline_but_nobody_ends_it() {
        let deadline = time::now() + Duration::from_secs(1);
        let carried = {
            let _entered = enter(Context::NONE.with_deadline(Some(deadline)).with_enforced(true));
            carry(async { current() })
        };
        assert_eq!(current(), Context::NONE);
        let inside = tokio::spawn(carried).await.expect("no panic");
        assert_eq!(inside.deadline, Some(deadline));
        assert!(!inside.ends_by(Instant::MAX));
    }
}
