//! What a call inherits from the call it serves: deadline, attempt number, priority.
//!
//! The context belongs to the task: a layer that sets something does so around every poll of what is inside it, so that
//! it flows from a server's handler to the client calls made there with no code of the user's. Work that is spawned
//! leaves the task, and takes the context along through [`carry`]:
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
use std::task::{self, Poll, Waker};
use std::time::Duration;

use pin_project::pin_project;

use crate::ground::time::{self, Instant};

#[cfg(feature = "http")]
mod cut;
mod last_word;

#[cfg(feature = "http")]
pub(crate) use cut::{cut_for_slowness, is_cut_for_slowness};
#[cfg(feature = "http")]
pub(crate) use last_word::listen;
pub(crate) use last_word::say_last_word;

/// How much a call matters. When there is not room for all, the most important are served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What a call inherits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// By when there must be a response. All that waits for one keeps to it.
    pub(crate) deadline: Option<Instant>,
    /// By when the response must be over, if it may go on beyond the deadline.
    pub(crate) end: Option<Instant>,
    /// Whether the response is meant to go on until then, so that nothing shorter than the call cuts it.
    pub(crate) lasts: bool,
    /// Whether someone further out in this very task ends the call at the deadline, so that we need no timer for it.
    pub(crate) enforced: bool,
    /// 0 where no retry is in charge, here or at the other end of the connection that we serve.
    pub(crate) attempt: u32,
    /// How often this work had been tried before by retries further out than the one that counts in `attempt`.
    pub(crate) before: u32,
    pub(crate) priority: Priority,
}

impl Context {
    const NONE: Self = Self {
        deadline: None,
        end: None,
        lasts: false,
        enforced: false,
        attempt: 0,
        before: 0,
        priority: Priority::Normal,
    };

    /// By when everything must be over, if there is a bound.
    #[inline]
    pub(crate) fn last_instant(&self) -> Option<Instant> {
        self.end.or(self.deadline)
    }

    /// Whether there is no time left at `now`.
    #[inline]
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The context as it is for a retry that begins to count anew.
    #[inline]
    pub(crate) fn uncounted(self) -> Self {
        Self { before: self.before_all(), attempt: 0, ..self }
    }

    /// How often this work was tried before, by anyone on the way to here. What is itself a repetition earns no retries.
    #[inline]
    pub(crate) fn before_all(&self) -> u32 {
        self.before.saturating_add(self.attempt.saturating_sub(1))
    }

    /// Whether whoever polls us ends the call at `instant` or before.
    #[inline]
    pub(crate) fn ends_by(&self, instant: Instant) -> bool {
        self.enforced && self.deadline.is_some_and(|deadline| deadline <= instant)
    }
}

/// A context as it is kept: a pair of words, which is moved through registers. A struct of many small fields is written
/// field by field and copied in one piece, and the processor has to wait for the one before it can do the other.
#[derive(Clone, Copy, Debug)]
struct Packed(Option<Instant>, u32);

const ENFORCED: u32 = 1 << 31;
const PRIORITY_SHIFT: u32 = 29;
const BEFORE_SHIFT: u32 = 20;
const BEFORE_MASK: u32 = (1 << (PRIORITY_SHIFT - BEFORE_SHIFT)) - 1;
const LASTS: u32 = 1 << 19;
const ATTEMPT_MASK: u32 = LASTS - 1;

impl Packed {
    #[inline]
    const fn new(context: Context) -> Self {
        let enforced = if context.enforced { ENFORCED } else { 0 };
        let attempt = if context.attempt < ATTEMPT_MASK { context.attempt } else { ATTEMPT_MASK };
        let before = if context.before < BEFORE_MASK { context.before } else { BEFORE_MASK };
        let lasts = if context.lasts { LASTS } else { 0 };
        Self(
            context.deadline,
            enforced | (context.priority as u32) << PRIORITY_SHIFT | before << BEFORE_SHIFT | lasts | attempt,
        )
    }

    #[inline]
    const fn unpack(self) -> Context {
        let priority = match self.1 >> PRIORITY_SHIFT & 3 {
            0 => Priority::Low,
            1 => Priority::Normal,
            2 => Priority::High,
            _ => Priority::Critical,
        };
        Context {
            deadline: self.0,
            end: None,
            lasts: self.1 & LASTS != 0,
            enforced: self.1 & ENFORCED != 0,
            attempt: self.1 & ATTEMPT_MASK,
            before: self.1 >> BEFORE_SHIFT & BEFORE_MASK,
            priority,
        }
    }
}

thread_local! {
    static CURRENT: Cell<Packed> = const { Cell::new(Packed::new(Context::NONE)) };
    /// Apart from the pair, for the same reason.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
    /// By what waker one knows the task of whoever ends the current call; never used as a pointer.
    static ENFORCER: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
}

/// The context of the call that is being served right now.
#[inline]
pub(crate) fn current() -> Context {
    Context { end: END.get(), ..CURRENT.get().unpack() }
}

/// Makes `context` the current one until the guard is dropped.
#[inline]
pub(crate) fn enter(context: Context) -> Entered {
    Entered { outer: CURRENT.replace(Packed::new(context)), end: END.replace(context.end) }
}

/// See [`enter`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered {
    outer: Packed,
    end: Option<Instant>,
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        END.set(self.end);
    }
}

/// Says, until the guard is dropped, that the current call is ended by whoever is polled with this waker.
///
/// What polls with a waker of its own in there (a nested `block_on`, a shared future, a set of local tasks) may stop to
/// be polled by us, or never come back to us: our word is no good for that.
#[inline]
pub(crate) fn enforce(waker: &Waker) -> Enforcing {
    Enforcing { outer: ENFORCER.replace(waker.data()) }
}

/// Whether who is polled with this waker and who has promised to end the current call are polled as one.
#[inline]
pub(crate) fn is_enforced_for(waker: &Waker) -> bool {
    ENFORCER.get() == waker.data()
}

/// See [`enforce`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Enforcing {
    outer: *const (),
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
    current().attempt.max(1)
}

/// How much the current call matters.
pub fn priority() -> Priority {
    current().priority
}

/// Takes the current context along into work that is spawned. It is captured when this is called.
///
/// The deadline goes along too, and bounds the calls made in there; it does not end the future itself. Work that a call
/// *blocks* on (`block_on` inside `block_in_place`) needs this too: the layers around it cannot end it in time, and so the
/// calls made in there must.
pub fn carry<F>(future: F) -> Carried<F> {
    Carried { context: Context { enforced: false, ..current() }, future }
}

/// Gives every call made in `future` this priority; the rest of the context is as it is found.
pub fn with_priority<F>(priority: Priority, future: F) -> WithPriority<F> {
    WithPriority { priority, future }
}

/// A future that has a context of its own. See [`carry`].
#[pin_project]
#[derive(Debug)]
pub struct Carried<F> {
    context: Context,
    #[pin]
    future: F,
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = enter(*this.context);
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
        let _entered = enter(Context { priority: *this.priority, ..current() });
        this.future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Critical] {
            for (deadline, enforced, attempt) in [(None, false, 0), (Some(Instant::MAX), true, 1), (None, true, 70_000)]
            {
                for before in [0, 1, BEFORE_MASK] {
                    let context =
                        Context { deadline, enforced, attempt, before, priority, end: None, lasts: !enforced };
                    assert_eq!(Packed::new(context).unpack(), context);
                }
            }
        }
        let endless = Context { attempt: u32::MAX, before: u32::MAX, ..Context::NONE };
        let most = Context { attempt: ATTEMPT_MASK, before: BEFORE_MASK, ..Context::NONE };
        assert_eq!(Packed::new(endless).unpack(), most);
    }

    #[test]
    fn a_retry_that_counts_anew_forgets_no_repetition_further_out() {
        let second = Context { attempt: 2, ..Context::NONE }.uncounted();
        assert_eq!((second.attempt, second.before_all()), (0, 1));
        let within = Context { attempt: 3, ..second }.uncounted();
        assert_eq!((within.attempt, within.before_all()), (0, 3));
        assert_eq!(Context::NONE.uncounted(), Context::NONE);
    }

    #[test]
    fn leaving_restores_what_was_there_even_after_a_panic() {
        let outer = Context { attempt: 3, end: Some(Instant::MAX), ..Context::NONE };
        let _entered = enter(outer);
        let panicked = std::panic::catch_unwind(|| {
            let _inner = enter(Context { attempt: 4, ..Context::NONE });
            assert_eq!(attempt(), 4);
            panic!("in the inner service");
        });
        assert!(panicked.is_err());
        assert_eq!(current(), outer);
    }

    #[tokio::test(start_paused = true)]
    async fn carried_work_keeps_the_deadline_but_nobody_ends_it() {
        let deadline = time::now() + Duration::from_secs(1);
        let carried = {
            let _entered = enter(Context { deadline: Some(deadline), enforced: true, ..Context::NONE });
            carry(async { current() })
        };
        assert_eq!(current(), Context::NONE);
        let inside = tokio::spawn(carried).await.expect("no panic");
        assert_eq!(inside.deadline, Some(deadline));
        assert!(!inside.ends_by(Instant::MAX));
    }
}
