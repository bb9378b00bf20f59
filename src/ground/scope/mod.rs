//! The scope of a call: the values that outer and inner layers exchange while it is made and polled.
//!
//! A tower layer sees a request and a response, and nothing of the layers around it. Other values travel through this thread-local:
//! inputs from the outside to the inside, outputs the other way. It is valid for the code that runs now, in one `call` or one
//! `poll`. The guard of an input ([`Entered`], [`Enforcing`]) restores the previous value, also after a panic, so no input outlives the
//! poll that set it. A guard hands no output on. Outputs reach outer layers in three ways: a closure around the inner poll compares or
//! collects them ([`noting_local_wait`], [`noting_exhausted`]), the outer layer offers an [attachment](attachment) to which the inner
//! one writes, or the outer layer reads and resets a counter itself ([`set_gate_polls`]).
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
//!        |                       |                       |<---------------------|  mark_local_wait() |
//!        |                       |<----------------------|  noting_local_wait() |                    |
//!        |<----------------------|  mark_exhausted()     |                      |                    |
//! ```
//!
//! | input | set by | read by |
//! |---|---|---|
//! | context: deadline, end, attempt, priority, key of the fair share, whether a lost attempt was repeated | deadline, retry, fair share, extraction of headers, [`context`](crate::context) | every layer |
//! | enforcer: the task whose layer ends the call at its deadline | deadline, retry | every timer, which is then not armed |
//! | start: the reading of the clock at which the call begins | every layer | the next layer, once |
//! | latest reading of the clock on this thread; outlives the poll | every reading | what needs no fresh one |
//! | gate polls: how many gates poll this call, nested | permits | `current_permit` |
//! | whether a drop is a cut after an idle timeout | held bodies | inner guards |
//! | whether a drop is that of an attempt that another one made needless | hedge, quorum | circuit breaker |
//! | attachments: the state of the request body, an upload, the endpoints of earlier attempts | retry, hedge, quorum, the upload layer | circuit breaker, permits, balance |
//! | attachment: the balancer that follows a stream of endpoints | balance | the streams of balance |
//!
//! | output | set by | read by |
//! |---|---|---|
//! | local wait: the poll ends in a queue or a backoff of seawall | permits, rate limit, retry | circuit breaker, retry |
//! | exhausted: retries are exhausted, so do not retry further out | retry, circuit breaker | extraction of headers |
//! | loss repeated: an attempt was lost and is repeated, or another one was in flight | retry, hedge | retry, hedge |
//! | endpoint: where the call was sent | balance | retry, hedge, quorum, quarantine |
//! | loss: the endpoint where an attempt was lost | balance | quarantine |
//! | probe: the endpoint whose breaker probes with an attempt | balance | hedge |
//! | answer: when the call was answered or given up, and the dependency's time until then | circuit breaker | balance |
//! | gate polls: how often work has requested a permit meanwhile | `current_permit` | permits |
//! | attachments: requested permits, a retry report | `current_permit`, retry | permits, `retry::report` |
//!
//! The context costs two words to enter and to leave. Values with a destructor are [attachments](attachment).

use std::cell::Cell;
use std::num::NonZeroU64;
use std::task::Waker;
use std::time::Duration;

use crate::ground::instant::Instant;

pub(crate) mod attachment;
mod attachments;
mod exhausted;
mod exhausted_calls;
mod inherited;
mod share_key;
mod task;

use self::attachments::Attachments;
pub(crate) use self::exhausted::{ExhaustedBefore, exhausted_before, mark_exhausted, noting_exhausted, recovered};
pub(crate) use self::exhausted_calls::Exhausted;
pub(crate) use self::inherited::Context;
pub use self::inherited::Priority;
pub(crate) use self::share_key::ShareKey;
use self::task::TaskId;

thread_local! {
    /// A thread-local, because a foreign layer between two of ours passes on neither a task's context nor anything of ours beside the
    /// request; and because a poll never leaves its thread, it needs no lock. A task-local of tokio would need a future around each
    /// call, and exists only in tokio's tasks.
    static SCOPE: Scope = const { Scope::new() };
}

/// See the module.
struct Scope {
    /// Two words of the context, which are moved in registers.
    context: Cell<(Option<Instant>, u64)>,
    /// The third word; read only if the context has an end, which is rare.
    end: Cell<Option<Instant>>,
    enforcer: Cell<Option<TaskId>>,
    start: Cell<Option<Instant>>,
    latest_reading: Cell<Option<Instant>>,
    is_cut: Cell<bool>,
    is_needless: Cell<bool>,
    local_waits: Cell<u64>,
    loss_repeats: Cell<u64>,
    /// `None` without a collector.
    exhausted: Cell<Option<Exhausted>>,
    gate_polls: Cell<GatePolls>,
    /// The endpoint that was chosen last.
    endpoint: Cell<Option<NonZeroU64>>,
    /// The endpoint of the attempt that was lost last.
    loss: Cell<Option<NonZeroU64>>,
    /// The endpoint whose breaker probes with the attempt that was sent last.
    probe: Cell<Option<NonZeroU64>>,
    /// The dependency's time for the answer that arrived last, and when that was.
    answer: Cell<Option<(Duration, Instant)>>,
    attachments: Attachments,
}

impl Scope {
    const fn new() -> Self {
        Self {
            context: Cell::new((Context::NONE.deadline, Context::NONE.word)),
            end: Cell::new(None),
            enforcer: Cell::new(None),
            start: Cell::new(None),
            latest_reading: Cell::new(None),
            is_cut: Cell::new(false),
            is_needless: Cell::new(false),
            local_waits: Cell::new(0),
            loss_repeats: Cell::new(0),
            exhausted: Cell::new(None),
            gate_polls: Cell::new(GatePolls { gates: 0, asked: 0 }),
            endpoint: Cell::new(None),
            loss: Cell::new(None),
            probe: Cell::new(None),
            answer: Cell::new(None),
            attachments: Attachments::new(),
        }
    }
}

/// Restores a value on drop.
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

/// The context of the current call.
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
    outer: (Option<Instant>, u64),
    /// The former end, if it was changed.
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

/// Records, until the guard is dropped, that a layer polled with this waker ends the current call at its deadline.
///
/// An inner executor with its own waker (a nested `block_on`, a shared future, a set of local tasks) may poll without that layer,
/// or keep it from being polled. So its calls need their own timers, and so do calls in a task whose waker does not identify it.
#[inline]
pub(crate) fn enforce(waker: &Waker) -> Enforcing {
    Enforcing { outer: SCOPE.with(|scope| scope.enforcer.replace(TaskId::of(waker))) }
}

/// Whether a poll with this waker is in the same task as the layer that ends the current call.
#[inline]
pub(crate) fn is_enforced_for(waker: &Waker) -> bool {
    SCOPE.with(|scope| scope.enforcer.get()).is_some_and(|task| TaskId::of(waker) == Some(task))
}

/// See [`enforce`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Enforcing {
    outer: Option<TaskId>,
}

impl Drop for Enforcing {
    #[inline]
    fn drop(&mut self) {
        SCOPE.with(|scope| scope.enforcer.set(self.outer));
    }
}

/// Replaces the reading of the clock at which the next inner call begins: see [`call_start`](crate::ground::time::call_start).
#[inline]
pub(super) fn replace_start(start: Option<Instant>) -> Option<Instant> {
    SCOPE.with(|scope| scope.start.replace(start))
}

/// The latest reading of the clock on this thread: see [`latest_or_now`](crate::ground::time::latest_or_now).
#[inline]
pub(super) fn latest_reading() -> Option<Instant> {
    SCOPE.with(|scope| scope.latest_reading.get())
}

/// See [`latest_reading`].
#[inline]
pub(super) fn set_latest_reading(reading: Option<Instant>) {
    SCOPE.with(|scope| scope.latest_reading.set(reading));
}

/// Records that the current poll ends in a local wait (a queue, a backoff), not in the dependency's work.
#[inline]
pub(crate) fn mark_local_wait() {
    SCOPE.with(|scope| scope.local_waits.set(scope.local_waits.get().wrapping_add(1)));
}

/// Runs `poll`, and returns whether it ended in a local wait.
#[inline]
pub(crate) fn noting_local_wait<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let before = SCOPE.with(|scope| scope.local_waits.get());
    let output = poll();
    (output, SCOPE.with(|scope| scope.local_waits.get()) != before)
}

/// As [`noting_local_wait`], and hides the local wait from the layers further out. For a layer with several attempts in flight,
/// which decides itself whether the whole poll ends in a local wait.
#[inline]
pub(crate) fn hiding_local_wait<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let _restore = Restore::after(|scope| &scope.local_waits, SCOPE.with(|scope| scope.local_waits.get()));
    noting_local_wait(poll)
}

/// Records that a layer repeats an attempt that was lost, or had another one in flight when it was lost.
pub(crate) fn mark_loss_repeated() {
    SCOPE.with(|scope| scope.loss_repeats.set(scope.loss_repeats.get().wrapping_add(1)));
}

/// Runs `poll`, and returns whether a layer has repeated a lost attempt meanwhile.
#[inline]
pub(crate) fn noting_loss_repeated<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    let before = SCOPE.with(|scope| scope.loss_repeats.get());
    let output = poll();
    (output, SCOPE.with(|scope| scope.loss_repeats.get()) != before)
}

/// Records the endpoint that the current call is sent to, by its process-wide number.
#[inline]
pub(crate) fn note_endpoint(endpoint: NonZeroU64) {
    SCOPE.with(|scope| scope.endpoint.set(Some(endpoint)));
}

/// Runs `act`, which makes or polls an attempt, and returns the endpoint that was recorded meanwhile. Of several it is the last.
#[inline]
pub(crate) fn noting_endpoint<T>(act: impl FnOnce() -> T) -> (T, Option<NonZeroU64>) {
    noting(|scope| &scope.endpoint, act)
}

/// Records that an attempt was lost at an endpoint.
#[inline]
pub(crate) fn note_loss(endpoint: NonZeroU64) {
    SCOPE.with(|scope| scope.loss.set(Some(endpoint)));
}

/// Runs `act`, which makes or polls a call, and returns the endpoint at which an attempt was lost meanwhile. Of several it is the
/// last.
#[inline]
pub(crate) fn noting_loss<T>(act: impl FnOnce() -> T) -> (T, Option<NonZeroU64>) {
    noting(|scope| &scope.loss, act)
}

#[inline(always)]
fn noting<T>(cell: fn(&Scope) -> &Cell<Option<NonZeroU64>>, act: impl FnOnce() -> T) -> (T, Option<NonZeroU64>) {
    let outer = SCOPE.with(|scope| cell(scope).replace(None));
    let output = act();
    let noted = SCOPE.with(|scope| cell(scope).get());
    if noted.is_none() {
        SCOPE.with(|scope| cell(scope).set(outer));
    }
    (output, noted)
}

/// Records that the breaker of an endpoint probes with the attempt that is sent there.
#[inline]
pub(crate) fn note_probe(endpoint: NonZeroU64) {
    SCOPE.with(|scope| scope.probe.set(Some(endpoint)));
}

/// Runs `act`, which makes or polls an attempt, and returns whether it became a probe meanwhile.
#[inline]
pub(crate) fn noting_probe<T>(act: impl FnOnce() -> T) -> (T, bool) {
    let (output, probe) = noting(|scope| &scope.probe, act);
    (output, probe.is_some())
}

/// Records that the dependency has answered, or that its call was given up, after so much time of its own.
#[inline]
pub(crate) fn note_answer(took: Duration, now: Instant) {
    SCOPE.with(|scope| scope.answer.set(Some((took, now))));
}

/// Runs `act`, which polls or drops a call, and returns what was recorded meanwhile. Of several it is the last, which is that of the
/// outermost layer.
#[inline]
pub(crate) fn noting_answer<T>(act: impl FnOnce() -> T) -> (T, Option<(Duration, Instant)>) {
    SCOPE.with(|scope| scope.answer.set(None));
    let output = act();
    (output, SCOPE.with(|scope| scope.answer.get()))
}

/// The gates that poll the current call, nested, and how often work has requested their permits meanwhile.
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

/// Runs `cancel`, which drops attempts that another one has made needless: nobody gave up on them, and their endpoints have done nothing
/// wrong.
pub(crate) fn cancelling_needless<T>(cancel: impl FnOnce() -> T) -> T {
    let _restore = Restore::after(|scope| &scope.is_needless, true);
    cancel()
}

/// Whether the current drop is that of a [needless](cancelling_needless) attempt.
#[inline]
pub(crate) fn is_cancelling_needless() -> bool {
    SCOPE.with(|scope| scope.is_needless.get())
}

/// Runs `cut`, which drops the rest of a call after an idle timeout, so that inner guards record `TimedOut` instead of `Abandoned`:
/// they know the deadline of the call, but not the idle timeout.
#[cfg(feature = "http")]
pub(crate) fn cutting_idle<T>(cut: impl FnOnce() -> T) -> T {
    let _restore = Restore::after(|scope| &scope.is_cut, true);
    cut()
}

/// Whether the current drop is a cut after an [idle timeout](cutting_idle).
#[cfg(feature = "http")]
#[inline]
pub(crate) fn is_cutting_idle() -> bool {
    SCOPE.with(|scope| scope.is_cut.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_restores_the_outer_context() {
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

    #[cfg(feature = "http")]
    #[test]
    fn panic_in_an_idle_cut_clears_the_flag() {
        let panicked = std::panic::catch_unwind(|| {
            cutting_idle(|| {
                assert!(is_cutting_idle());
                panic!("in a drop");
            })
        });
        assert!(panicked.is_err() && !is_cutting_idle());
    }
}
