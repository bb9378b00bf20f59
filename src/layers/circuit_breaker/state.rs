//! One breaker: the state machine under its lock, and what calls read without the lock.

#[cfg(all(test, seawall_loom))]
mod loom_tests;

use std::sync::Arc as Shared;
use std::time::Duration;

use super::check_schedule::CheckSchedule;
use super::settings::BreakerSettings;
use super::snapshot::BreakerSnapshot;
use super::state_changes::StateChanges;
use crate::algorithm::breaker::{
    Admission, Break, BreakerPolicy, ClosedCall, Detection, Entry, Machine, Mode, Moment, Outage, OutcomeWindow, Pass,
    Probe, Published, Refusals, Span, Transition, WithoutLock,
};
use crate::algorithm::evidence::{Evidence, LatencyBaseline};
use crate::ground::chance;
use crate::ground::error::{Numbers, Reason};
use crate::ground::settings::{Cached, Settings};
use crate::ground::sync::atomic::{AtomicBool, Ordering};
use crate::ground::sync::{Arc, Mutex, Swap, lock};
use crate::ground::time::Instant;
use crate::layers::core::observed;
use crate::telemetry::{self, EndpointLog, Instruments, Unreported};

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    /// The settings, shared by all breakers of the layer value.
    settings: Arc<Settings<BreakerSettings>>,
    /// Whether calls are to take the lock at once. It follows `published`.
    is_closed: AtomicBool,
    published: Swap<Published>,
    refusals: Refusals,
    locked: Mutex<Locked>,
    check_schedule: CheckSchedule,
    state_changes: StateChanges,
    instruments: Instruments,
    /// Of the breaker of an endpoint.
    endpoint: Option<EndpointLog>,
}

#[derive(Debug)]
struct Locked {
    machine: Machine,
    policy: Cached<BreakerPolicy>,
    /// What was published last.
    published: Published,
    /// For snapshots.
    last_transition: Option<(Transition, Instant)>,
}

/// What a step has changed.
struct StepChanges {
    transition: Option<Transition>,
    /// What was published before, if that has changed. It is dropped without the lock.
    replaced: Option<Shared<Published>>,
}

/// Why a call does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) retry_after: Option<Duration>,
    pub(super) outage: Option<Outage>,
}

impl Breaker {
    /// Starts in `mode` and, if that is forced open, with the `outage` of the other breakers.
    pub(super) fn new(
        settings: Arc<Settings<BreakerSettings>>,
        span: Span,
        mode: Mode,
        outage: Option<Outage>,
        instruments: Instruments,
    ) -> Self {
        let machine = Machine::new(mode, span).with_outage_of(outage);
        let policy = settings.cached(|settings| settings.policy);
        let published = settings.read(|settings| machine.published(&settings.policy));
        Self {
            settings,
            is_closed: AtomicBool::new(published.is_closed()),
            published: Swap::from_pointee(published),
            refusals: Refusals::new(),
            locked: Mutex::new(Locked { machine, policy, published, last_transition: None }),
            check_schedule: CheckSchedule::default(),
            state_changes: StateChanges::default(),
            instruments,
            endpoint: None,
        }
    }

    /// The same as the breaker of an endpoint, whose name its events have.
    pub(super) fn of_endpoint(self, endpoint: EndpointLog) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }

    #[inline]
    pub(super) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Whether the end of a call with this pass is recorded: by the breaker, or because the layer has a name.
    #[inline]
    pub(super) fn counts(&self, pass: &Pass) -> bool {
        !matches!(pass, Pass::Free) || self.instruments.named().is_some()
    }

    /// For readers other than a service, which has a cached copy.
    pub(super) fn max_hold(&self) -> Duration {
        self.settings.read(|settings| settings.max_hold)
    }

    /// Adopts changed settings. With another window, the counts restart. Wakes no task.
    pub(super) fn reloaded(&self, span: Option<Span>, now: Instant) {
        // A window of many calls is large: it is made before the lock, and the former one is dropped after it.
        let mut window = span.map(OutcomeWindow::new);
        self.locked_step(now, |machine, _| {
            window = window.take().map(|window| machine.replace_window(window, now));
            ((), None)
        });
    }

    /// Adopts changed settings with this window and mode. With another window, the counts restart. It may wake tasks.
    pub(super) fn adopt(&self, span: Span, mode: Mode, now: Instant) {
        let is_new = !self.with(|machine, _| machine.counts_over(span));
        self.reloaded(is_new.then_some(span), now);
        self.set_mode(mode, now);
        self.state_changes.notify();
    }

    /// Whether the breaker is closed, so that calls pass unless one of them opens it.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Whether all calls pass, for another reason than that the breaker is closed, too.
    pub(super) fn admits_all(&self) -> bool {
        self.published.load().admits_all()
    }

    /// Admits or refuses a call with `left` time.
    #[inline]
    pub(super) fn admit(&self, left: Duration, now: Instant) -> Result<Pass, Refused> {
        if self.is_closed.load(Ordering::Acquire) {
            match self.with(|machine, policy| machine.enter(policy, now)) {
                Entry::Closed(call) => return Ok(Pass::Closed(call)),
                Entry::Trip(detection) => self.trip(detection, now),
                Entry::NotClosed => {}
            }
        }
        self.admit_unclosed(left, now)
    }

    #[cold]
    fn admit_unclosed(&self, left: Duration, now: Instant) -> Result<Pass, Refused> {
        let (may_probe, refused_enough) = {
            let published = self.published.load();
            match self.refusals.answer(&published, left, now) {
                WithoutLock::Free => return Ok(Pass::Free),
                WithoutLock::Refused(retry_after) => return Err(Refused { retry_after, outage: published.outage() }),
                WithoutLock::Decide { may_probe, refused_enough } => (may_probe, refused_enough),
            }
        };
        self.step(now, |machine, moment| {
            let (admission, transition) = machine.admit(may_probe, refused_enough, moment);
            let pass = match admission {
                Admission::Closed(call) => Ok(Pass::Closed(call)),
                Admission::Probe(probe) => Ok(Pass::Probe(probe)),
                Admission::Free => Ok(Pass::Free),
                Admission::Refused { retry_after } => Err(Refused { retry_after, outage: machine.outage() }),
            };
            (pass, transition)
        })
    }

    /// The refusal of a call with `left` time; `None` if it would be admitted. The refusal is counted.
    pub(super) fn would_refuse(&self, left: Duration, now: Instant) -> Option<Refused> {
        if self.is_closed.load(Ordering::Acquire) {
            return None;
        }
        let published = self.published.load();
        match self.refusals.answer(&published, left, now) {
            WithoutLock::Refused(retry_after) => Some(Refused { retry_after, outage: published.outage() }),
            WithoutLock::Free | WithoutLock::Decide { .. } => None,
        }
    }

    /// The refusal of a call as its caller gets it.
    pub(super) fn refusal(&self, refused: Refused, now: Instant) -> Unreported {
        let refusal = self.instruments.refuse(Reason::CircuitOpen);
        refusal.with_retry_after(refused.retry_after).with_numbers(numbers(refused.outage, now))
    }

    /// The numbers of the outage, if there is one.
    pub(super) fn numbers(&self, now: Instant) -> Numbers {
        numbers(self.outage(), now)
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        self.published.load().outage()
    }

    /// Records the end of a call.
    #[inline]
    pub(super) fn settle(&self, pass: Pass, end: Evidence, now: Instant) {
        match pass {
            Pass::Closed(call) => {
                if let Some(detection) = self.with(|machine, policy| machine.leave(call, end, policy, now)) {
                    self.trip(detection, now);
                }
            }
            Pass::Probe(probe) => self.step(now, |machine, moment| ((), machine.record(probe, end, moment))),
            Pass::LastResort(call) => {
                self.step(now, |machine, moment| ((), machine.record_last_resort(call, end, moment)));
            }
            Pass::Free => {}
        }
    }

    /// The thresholds for the time of a call without a response.
    pub(super) fn yardstick(&self) -> LatencyBaseline {
        self.with(|machine, policy| machine.baseline(policy))
    }

    /// The call is polled for the first time. It is with the dependency, unless it `waits`. That is evaluated under the lock, so
    /// that a wait which begins meanwhile is recorded afterwards.
    #[inline]
    pub(super) fn sent(&self, pass: &Pass, waits: impl FnOnce() -> bool, now: Instant) {
        if let Pass::Probe(probe) = pass {
            self.step(now, |machine, _| (machine.set_sent(*probe, !waits(), now), None));
        }
    }

    /// The head of the response has arrived: the call no longer ages.
    #[inline]
    pub(super) fn answered(&self, pass: &mut Pass, took: Duration, now: Instant) {
        match pass {
            Pass::Closed(call) => self.stop_aging_closed(call),
            Pass::Probe(probe) => self.head(*probe, Evidence::Good(took), now),
            Pass::LastResort(_) | Pass::Free => {}
        }
    }

    /// Records the evidence of a response head.
    pub(super) fn record_head(&self, pass: &Pass, evidence: Evidence, now: Instant) {
        if let Pass::Probe(probe) = pass {
            self.head(*probe, evidence, now);
        }
    }

    #[cold]
    fn head(&self, probe: Probe, evidence: Evidence, now: Instant) {
        self.step(now, |machine, _| (machine.set_head(probe, evidence, now), None));
    }

    #[inline]
    fn stop_aging_closed(&self, call: &mut ClosedCall) {
        if call.ages() {
            lock(&self.locked).machine.stop_aging(call);
        }
    }

    /// The call waits in a queue of ours, where it does not age.
    #[inline]
    pub(super) fn stop_aging(&self, pass: &mut Pass, now: Instant) {
        match pass {
            Pass::Closed(call) => self.stop_aging_closed(call),
            Pass::Probe(probe) => self.step(now, |machine, _| (machine.set_sent(*probe, false, now), None)),
            Pass::LastResort(_) | Pass::Free => {}
        }
    }

    /// The dependency works on the call again, unless the call `waits`.
    pub(super) fn start_aging(&self, pass: &mut Pass, waits: impl Fn() -> bool, now: Instant) {
        match pass {
            Pass::Closed(_) if waits() => {}
            Pass::Closed(call) => self.with(|machine, policy| machine.start_aging(call, policy, now)),
            Pass::Probe(_) => self.sent(pass, waits, now),
            Pass::LastResort(_) | Pass::Free => {}
        }
    }

    #[inline]
    pub(super) fn check_schedule(&self) -> &CheckSchedule {
        &self.check_schedule
    }

    /// Checks the calls in flight. Returns when to check again; `None` if no call in flight could become overdue.
    pub(super) fn check(&self, now: Instant) -> Option<Instant> {
        if let Some(detection) = self.with(|machine, policy| machine.check(policy, now)) {
            self.trip(detection, now);
        }
        self.next_check(now)
    }

    /// When to check the calls in flight next.
    pub(super) fn next_check(&self, now: Instant) -> Option<Instant> {
        self.with(|machine, policy| machine.next_check(policy, now))
    }

    #[inline]
    pub(super) fn state_changes(&self) -> &StateChanges {
        &self.state_changes
    }

    /// Until when no call passes, as far as time alone decides; `None` if calls may pass.
    pub(super) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        self.published.load().refuses_until(now)
    }

    /// The pass of a call for want of another endpoint, if calls are refused only because connections are.
    pub(super) fn last_resort(&self) -> Option<Pass> {
        self.published.load().last_resort().map(Pass::LastResort)
    }

    /// The break that is under way.
    pub(super) fn current_break(&self, now: Instant) -> Option<Break> {
        self.published.load().current_break(now)
    }

    /// Ends the break of this generation early: probes may pass now.
    pub(super) fn end_break(&self, generation: u64, now: Instant) {
        self.step(now, |machine, moment| ((), machine.end_break(generation, moment)));
    }

    pub(super) fn set_mode(&self, mode: Mode, now: Instant) {
        self.step(now, |machine, _| ((), machine.set_mode(mode, now)));
    }

    pub(super) fn reset(&self, now: Instant) {
        self.step(now, |machine, _| ((), machine.reset(now)));
    }

    pub(super) fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        self.with(|machine, policy| {
            let counts = machine.counts(now);
            let (in_flight, overdue) = machine.in_flight(policy, now);
            BreakerSnapshot {
                state: machine.state(),
                calls: counts.calls,
                failures: counts.failures,
                slow: counts.slow,
                in_flight,
                overdue,
            }
        })
    }

    /// See [`Forgettable`](crate::admission::keyed::Forgettable).
    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.with(|machine, policy| machine.is_as_new(policy, now))
    }

    /// Starts with the state of `other`.
    pub(super) fn inherit(&self, other: &Self, now: Instant) {
        let (snapshot, last_transition) = {
            let theirs = lock(&other.locked);
            (theirs.machine.snapshot(now), theirs.last_transition)
        };
        self.locked_step(now, |machine, _| (machine.restore(snapshot), None));
        lock(&self.locked).last_transition = last_transition;
    }

    pub(super) fn mode(&self) -> Mode {
        lock(&self.locked).machine.mode()
    }

    pub(super) fn last_transition(&self) -> Option<(Transition, Instant)> {
        lock(&self.locked).last_transition
    }

    #[cold]
    fn trip(&self, Detection { generation, trip }: Detection, now: Instant) {
        self.step(now, |machine, moment| ((), machine.trip(generation, trip, moment)));
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(super) fn with_lock_held(&self, what: impl FnOnce()) {
        let _kept = lock(&self.locked);
        what();
    }

    /// Reads or counts under the lock, with the settings in force. It changes nothing that is published.
    #[inline]
    fn with<T>(&self, act: impl FnOnce(&mut Machine, &BreakerPolicy) -> T) -> T {
        let Locked { machine, policy, .. } = &mut *lock(&self.locked);
        act(machine, self.settings.refresh(policy, |settings| settings.policy))
    }

    /// One step of the state machine under its lock, reported after the lock is released.
    fn step<T>(&self, now: Instant, step: impl FnOnce(&mut Machine, &Moment<'_>) -> (T, Option<Transition>)) -> T {
        let (output, StepChanges { transition, replaced }) = self.locked_step(now, step);
        // Waiters look at what is published only: they are not woken by every answer of a probe.
        if replaced.is_some() {
            self.state_changes.notify();
        }
        if let Some(Transition { from, to }) = transition {
            let endpoint = self.endpoint.as_ref();
            telemetry::transition(&self.instruments, endpoint, from.as_str(), to.as_str(), self.numbers(now));
            observed::request_publication();
        }
        output
    }

    /// One step of the state machine under its lock, published before the lock is released.
    fn locked_step<T>(
        &self,
        now: Instant,
        step: impl FnOnce(&mut Machine, &Moment<'_>) -> (T, Option<Transition>),
    ) -> (T, StepChanges) {
        let chance = chance::sample();
        let Locked { machine, policy, published, last_transition } = &mut *lock(&self.locked);
        let policy = self.settings.refresh(policy, |settings| settings.policy);
        let (output, transition) = step(machine, &Moment { policy, now, chance });
        if let Some(transition) = transition {
            *last_transition = Some((transition, now));
        }
        let next = machine.published(policy);
        let mut replaced = None;
        if next != *published {
            if let Some(until) = machine.open_until().filter(|_| next.is_after(published)) {
                self.refusals.begin_break(published.is_closed(), until, &next, now);
            }
            *published = next;
            replaced = Some(self.published.swap(next.into()));
            // Last, so that a call which is not to take the lock finds the reason.
            self.is_closed.store(next.is_closed(), Ordering::Release);
        }
        (output, StepChanges { transition, replaced })
    }
}

fn numbers(outage: Option<Outage>, now: Instant) -> Numbers {
    outage.map_or(Numbers::NONE, |outage| outage.numbers(now))
}
