//! The scope of a call: what the layers around it and inside it tell each other while it is made and polled.
//!
//! A tower layer sees a request and a response, and nothing of the layers around it. The rest travels through this one
//! thread-local: inputs from the outside to the inside, outputs the other way. It is valid for the code that runs right now, in one
//! `call` or one `poll`. Guards restore what was there before, also after a panic; so nothing outlives the poll that set it.
//!
//! ```text
//!   deadline layer          retry layer            circuit breaker         bulkhead            inner service
//!        |  enter(context)       |                       |                      |                    |
//!        |  with_start(now)      |                       |                      |                    |
//!        |---------------------->|  enter(attempt 1)     |                      |                    |
//!        |                       |  with_start(now)      |                      |                    |
//!        |                       |---------------------->|  call_start()        |                    |
//!        |                       |                       |--------------------->|  call_start()      |
//!        |                       |                       |                      |------------------->|
//!        |                       |                       |                      |                    |
//!        |  poll                 |  poll                 |  poll                |  poll              |
//!        |                       |                       |                      |<-------------------|
//!        |                       |                       |                      |  answered_at(now)  |
//!        |                       |                       |<---------------------|  mark_local_wait() |
//!        |                       |<----------------------|  noting_answer(..)   |                    |
//!        |<----------------------|  mark_exhausted()     |                      |                    |
//! ```
//!
//! | input | set by | read by |
//! |---|---|---|
//! | context: deadline, end, attempt, priority | deadline, retry, extraction of headers, [`context`](crate::context) | every layer |
//! | enforcer: the task whose layer ends the call at its deadline | deadline, retry | every timer, which is not armed then |
//! | start: the reading of the clock at which the call begins | every layer | the next layer, once |
//! | whether what is dropped was cut after an idle timeout | held bodies | guards further in |
//! | attachments: the notes of the request body, an upload | retry, the upload layer | circuit breaker, permits |
//!
//! | output | set by | read by |
//! |---|---|---|
//! | local wait: the poll ends in a queue or a backoff of ours | permits, rate limit, retry | circuit breaker, retry |
//! | answered at: when the answer came | permits, circuit breaker | circuit breaker, retry |
//! | exhausted: retries are spent, so do not retry further out | retry, circuit breaker | extraction of headers |
//! | attachments: permits that work asked for, a retry report | `current_permit`, retry | permits, `retry::report` |
//!
//! The context costs two words to enter and to leave. Whatever has a destructor is [attached](attachment) apart, so that a call
//! without it touches nothing that needs one.

use std::cell::Cell;
use std::task::Waker;

use crate::ground::time::{self, Instant};

pub(crate) mod attachment;
mod exhausted;
mod exhausted_calls;
mod inherited;
mod task;

pub(crate) use self::exhausted::{ExhaustedBefore, exhausted_before, mark_exhausted, noting_exhausted, recovered};
pub(crate) use self::exhausted_calls::Exhausted;
pub(crate) use self::inherited::Context;
pub use self::inherited::Priority;
use self::task::Task;

thread_local! {
    static SCOPE: Scope = const { Scope::new() };
}

/// See the module.
struct Scope {
    /// Two words of the context, which are moved through registers.
    context: Cell<(Option<Instant>, u32)>,
    /// The third; looked at only where the context has one, which is rare.
    end: Cell<Option<Instant>>,
    enforcer: Cell<Option<Task>>,
    start: Cell<Option<Instant>>,
    is_cut: Cell<bool>,
    local_waits: Cell<u64>,
    answered_at: Cell<Option<Instant>>,
    /// None where nobody asks.
    exhausted: Cell<Option<Exhausted>>,
    gate_polls: Cell<GatePolls>,
    /// Which attachments there are.
    attached: Cell<u32>,
}

impl Scope {
    const fn new() -> Self {
        Self {
            context: Cell::new((Context::NONE.deadline, Context::NONE.word)),
            end: Cell::new(None),
            enforcer: Cell::new(None),
            start: Cell::new(None),
            is_cut: Cell::new(false),
            local_waits: Cell::new(0),
            answered_at: Cell::new(None),
            exhausted: Cell::new(None),
            gate_polls: Cell::new(GatePolls { gates: 0, asked: 0 }),
            attached: Cell::new(0),
        }
    }
}

/// Puts a value back when it is dropped.
struct Restore<T: Copy + 'static> {
    cell: fn(&Scope) -> &Cell<T>,
    value: T,
}

impl<T: Copy> Restore<T> {
    /// Sets the cell to `value` until the guard is dropped.
    #[inline(always)]
    fn after(cell: fn(&Scope) -> &Cell<T>, value: T) -> Self {
        Self { cell, value: SCOPE.with(|scope| cell(scope).replace(value)) }
    }
}

impl<T: Copy> Drop for Restore<T> {
    #[inline(always)]
    fn drop(&mut self) {
        SCOPE.with(|scope| (self.cell)(scope).set(self.value));
    }
}

/// The context of the call that is being served right now.
#[inline]
pub(crate) fn current() -> Context {
    SCOPE.with(|scope| {
        let (deadline, word) = scope.context.get();
        let end = if word & inherited::HAS_END == 0 { None } else { scope.end.get() };
        Context { deadline, end, word }
    })
}

/// Makes `context` the current one until the guard is dropped.
#[inline]
pub(crate) fn enter(context: Context) -> Entered {
    SCOPE.with(|scope| {
        let outer = scope.context.replace((context.deadline, context.word));
        let has_end = (context.word | outer.1) & inherited::HAS_END != 0;
        Entered { outer, end: has_end.then(|| scope.end.replace(context.end)) }
    })
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
        SCOPE.with(|scope| {
            scope.context.set(self.outer);
            if let Some(end) = self.end {
                scope.end.set(end);
            }
        });
    }
}

/// Says, until the guard is dropped, that a layer that is polled with this waker ends the current call at its deadline.
///
/// What polls with a waker of its own in there (a nested `block_on`, a shared future, a set of local tasks) may be polled without
/// that layer, or keep it from being polled: it has to end its calls itself. So has everything in a task whose waker does not
/// identify it.
#[inline]
pub(crate) fn enforce(waker: &Waker) -> Enforcing {
    Enforcing { outer: SCOPE.with(|scope| scope.enforcer.replace(Task::of(waker))) }
}

/// Whether what is polled with this waker is in the same task as the layer that ends the current call.
#[inline]
pub(crate) fn is_enforced_for(waker: &Waker) -> bool {
    SCOPE.with(|scope| scope.enforcer.get()).is_some_and(|task| Task::of(waker) == Some(task))
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
        SCOPE.with(|scope| scope.enforcer.set(self.outer));
    }
}

/// The time at which a call begins: what the layer around us has just read, or a fresh reading.
///
/// Layers call each other directly, so a stack of them needs one reading for all (a reading costs more than the rest of
/// a cheap layer). Taking it leaves nothing behind.
#[inline]
pub(crate) fn call_start() -> Instant {
    SCOPE.with(|scope| scope.start.take()).unwrap_or_else(time::now)
}

/// Runs `call`, which calls the inner service, with our reading as its [`call_start`]. The reading is taken back afterwards, so that
/// nothing later mistakes it for the present.
#[inline]
pub(crate) fn with_start<T>(now: Instant, call: impl FnOnce() -> T) -> T {
    struct TakeBack;
    impl Drop for TakeBack {
        #[inline]
        fn drop(&mut self) {
            SCOPE.with(|scope| scope.start.set(None));
        }
    }
    SCOPE.with(|scope| scope.start.set(Some(now)));
    let _take_back = TakeBack;
    call()
}

/// Says that the present poll ends in a wait of our own (a queue, a backoff), not in the dependency's work.
#[inline]
pub(crate) fn mark_local_wait() {
    SCOPE.with(|scope| scope.local_waits.set(scope.local_waits.get().wrapping_add(1)));
}

/// Runs `poll`, and says whether it ended in a wait of our own.
#[inline]
pub(crate) fn noting_local_wait<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let before = SCOPE.with(|scope| scope.local_waits.get());
    let output = poll();
    (output, SCOPE.with(|scope| scope.local_waits.get()) != before)
}

/// Tells the layers further out when the answer came that the present poll returns, so that they need no reading of their own.
#[inline]
pub(crate) fn answered_at(now: Instant) {
    SCOPE.with(|scope| scope.answered_at.set(Some(now)));
}

/// Runs `poll`, and returns what a layer further in has told as the [time of the answer](answered_at).
#[inline]
pub(crate) fn noting_answer<T>(poll: impl FnOnce() -> T) -> (T, Option<Instant>) {
    SCOPE.with(|scope| scope.answered_at.set(None));
    let output = poll();
    (output, SCOPE.with(|scope| scope.answered_at.take()))
}

/// How many gates poll the present call, one inside the other, and how often work has asked for their permits in there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GatePolls {
    pub(crate) gates: u32,
    pub(crate) asked: u32,
}

#[inline]
pub(crate) fn gate_polls() -> GatePolls {
    SCOPE.with(|scope| scope.gate_polls.get())
}

#[inline]
pub(crate) fn set_gate_polls(polls: GatePolls) {
    SCOPE.with(|scope| scope.gate_polls.set(polls));
}

/// Runs `cut`, which drops what is left of a call after an idle timeout, so that guards further in record `TimedOut` instead of
/// `Abandoned`: they know when the call must be over, but not how long a wait in it may be.
#[cfg(feature = "http")]
pub(crate) fn cutting_idle<T>(cut: impl FnOnce() -> T) -> T {
    let _restore = Restore::after(|scope| &scope.is_cut, true);
    cut()
}

/// Whether what is dropped right now is cut after an [idle timeout](cutting_idle).
#[cfg(feature = "http")]
#[inline]
pub(crate) fn is_cutting_idle() -> bool {
    SCOPE.with(|scope| scope.is_cut.get())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leaving_restores_the_outer_context_after_a_panic() {
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
    async fn reading_is_handed_over_once_and_taken_back() {
        let start = time::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        with_start(start, || {
            assert_eq!(call_start(), start);
            assert_eq!(call_start(), time::now(), "a second taker reads afresh");
        });
        with_start(start, || ());
        assert_eq!(call_start(), time::now(), "what nobody took is gone");
    }

    #[test]
    fn time_of_an_answer_is_told_to_the_poll_that_returns_it() {
        answered_at(Instant::MAX);
        assert_eq!(noting_answer(|| ()).1, None, "an answer before this poll");
        let (((), inner), outer) = noting_answer(|| noting_answer(|| answered_at(Instant::MAX)));
        assert_eq!((inner, outer), (Some(Instant::MAX), None));
    }

    #[cfg(feature = "http")]
    #[test]
    fn panic_in_an_idle_cut_leaves_nothing_behind() {
        let panicked = std::panic::catch_unwind(|| {
            cutting_idle(|| {
                assert!(is_cutting_idle());
                panic!("in a drop");
            })
        });
        assert!(panicked.is_err() && !is_cutting_idle());
    }
}
