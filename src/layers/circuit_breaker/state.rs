//! One breaker: the lock-free watch, and the state machine under its lock.

use std::time::Duration;

use super::check_schedule::CheckSchedule;
use super::settings::{AdmissionSettings, BreakerSettings};
use super::snapshot::BreakerSnapshot;
use super::state_changes::StateChanges;
use crate::algorithm::breaker::{
    Admission, Detection, Entry, Machine, Mode, Moment, Outage, Pace, Pass, Policy, Probe, Transition, Watch,
};
use crate::algorithm::evidence::{Evidence, LatencyBaseline};
use crate::algorithm::window::{Span, Window};
use crate::ground::chance;
use crate::ground::error::{Numbers, Reason};
use crate::ground::settings::Settings;
use crate::ground::sync::{Arc, Mutex, Swap, lock};
use crate::ground::time::Instant;
use crate::layers::core::observed;
use crate::telemetry::{self, Instruments, Unreported};

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    /// The settings, shared by all breakers of the layer value.
    settings: Arc<Settings<BreakerSettings>>,
    watch: Watch,
    /// The outage that refusals report. They read it without a lock; it is replaced when the state machine changes.
    outage: Swap<Option<Outage>>,
    machine: Mutex<LockedMachine>,
    check_schedule: CheckSchedule,
    state_changes: StateChanges,
    instruments: Instruments,
}

/// The state machine, and its last transition for snapshots.
#[derive(Debug)]
struct LockedMachine {
    machine: Machine,
    last_transition: Option<(Transition, Instant)>,
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
        let machine = Machine::new(mode).with_outage_of(outage);
        let policy = settings.read(|settings| settings.policy);
        let moment = Moment { policy: &policy, median: None, now: Instant::from_nanos(0), chance: 0.0 };
        let watch = Watch::new(Window::new(span), &machine, &moment);
        let outage = Swap::from_pointee(machine.outage());
        let machine = Mutex::new(LockedMachine { machine, last_transition: None });
        Self {
            settings,
            watch,
            outage,
            machine,
            check_schedule: CheckSchedule::default(),
            state_changes: StateChanges::default(),
            instruments,
        }
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
    pub(super) fn admission_settings(&self) -> AdmissionSettings {
        self.settings.read(BreakerSettings::admission_settings)
    }

    fn pace(&self) -> Pace {
        self.admission_settings().pace
    }

    #[cold]
    fn policy(&self) -> Policy {
        self.settings.read(|settings| settings.policy)
    }

    /// Adopts changed settings. With another window, the counts restart. Wakes no task.
    pub(super) fn reloaded(&self, span: Option<Span>, now: Instant) {
        self.locked(now, |machine, _| {
            if let Some(span) = span {
                machine.clear_counts();
                self.watch.set_span(span);
            }
            ((), None)
        });
    }

    /// Admits a call with `left` time, or returns the `retry_after` of its refusal.
    #[inline]
    pub(super) fn admit(&self, pace: &Pace, left: Duration, now: Instant) -> Result<Pass, Option<Duration>> {
        match self.watch.enter(pace, || self.policy(), left, now) {
            Entry::Closed(seat) => Ok(Pass::Closed(seat)),
            Entry::Free => Ok(Pass::Free),
            Entry::Refused(wait) => Err(wait),
            Entry::Decide { may_probe, refused_enough } => self.admit_locked(may_probe, refused_enough, left, now),
            Entry::Trip(detection) => {
                self.trip(detection, now);
                self.admit_locked(false, false, left, now)
            }
        }
    }

    /// The `retry_after` of the refusal of a call with `left` time; `None` if it would be admitted. The refusal is counted.
    pub(super) fn would_refuse(&self, pace: &Pace, left: Duration, now: Instant) -> Option<Option<Duration>> {
        self.watch.would_refuse(pace, left, now)
    }

    /// The refusal of a call that may retry after `wait`. Takes no lock.
    pub(super) fn refusal(&self, wait: Option<Duration>, now: Instant) -> Unreported {
        let refusal = self.instruments.refuse(Reason::CircuitOpen);
        refusal.with_retry_after(wait).with_numbers(self.numbers(now))
    }

    /// The numbers of the outage, if there is one.
    pub(super) fn numbers(&self, now: Instant) -> Numbers {
        self.outage().map_or(Numbers::NONE, |outage| outage.numbers(now))
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        let outage: &Option<Outage> = &self.outage.load();
        *outage
    }

    #[cold]
    fn admit_locked(
        &self,
        may_probe: bool,
        refused_enough: bool,
        left: Duration,
        now: Instant,
    ) -> Result<Pass, Option<Duration>> {
        self.step(now, |machine, moment| {
            let (admission, transition) = machine.admit(may_probe, refused_enough, moment);
            let pass = match admission {
                Admission::Probe(probe) => Ok(Pass::Probe(probe)),
                Admission::Free => Ok(Pass::Free),
                Admission::Refused { retry_after } => Err(retry_after),
                Admission::Closed => {
                    // The breaker has closed meanwhile, or by this very step. The state cannot change under the lock, so the watch
                    // admits. If the watch wants to trip at once, the next call does that.
                    self.publish(machine, moment);
                    match self.watch.enter(&moment.policy.pace(), || *moment.policy, left, now) {
                        Entry::Closed(seat) => Ok(Pass::Closed(seat)),
                        _ => Ok(Pass::Free),
                    }
                }
            };
            (pass, transition)
        })
    }

    fn median(&self, policy: &Policy) -> Option<Duration> {
        self.watch.median(&policy.pace())
    }

    /// Records the end of a call.
    #[inline]
    pub(super) fn settle(&self, pass: Pass, end: Evidence, now: Instant) {
        match pass {
            Pass::Closed(seat) => {
                if let Some(detection) = self.watch.leave(seat, end, || self.policy(), now) {
                    self.trip(detection, now);
                }
            }
            Pass::Probe(probe) => self.step(now, |machine, moment| {
                if let Evidence::Good(took) = end {
                    if machine.has_probe(probe) {
                        self.watch.measure_probe(took, machine.awaits_first_answer());
                    }
                }
                ((), machine.record(probe, end, moment))
            }),
            Pass::Free => {}
        }
    }

    /// The thresholds for the time of a call without a response.
    pub(super) fn yardstick(&self) -> LatencyBaseline {
        let pace = self.pace();
        let slow_after = self.watch.slow_after(&pace).unwrap_or_else(|| pace.floor());
        LatencyBaseline { slow_after, usual: self.watch.median(&pace) }
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
            Pass::Closed(seat) => self.watch.stop_aging(seat),
            Pass::Probe(probe) => self.head(*probe, Evidence::Good(took), now),
            Pass::Free => {}
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

    /// The call waits in a queue of ours, where it does not age.
    #[inline]
    pub(super) fn stop_aging(&self, pass: &mut Pass, now: Instant) {
        match pass {
            Pass::Closed(seat) => self.watch.stop_aging(seat),
            Pass::Probe(probe) => self.step(now, |machine, _| (machine.set_sent(*probe, false, now), None)),
            Pass::Free => {}
        }
    }

    /// The dependency works on the call again, unless the call `waits`.
    pub(super) fn start_aging(&self, pass: &mut Pass, waits: impl Fn() -> bool, now: Instant) {
        match pass {
            Pass::Closed(_) if waits() => {}
            Pass::Closed(seat) => self.watch.start_aging(seat, &self.pace(), now),
            Pass::Probe(_) => self.sent(pass, waits, now),
            Pass::Free => {}
        }
    }

    #[inline]
    pub(super) fn check_schedule(&self) -> &CheckSchedule {
        &self.check_schedule
    }

    /// Checks the calls in flight. Returns when to check again; `None` if no call in flight could become overdue.
    pub(super) fn check(&self, now: Instant) -> Option<Instant> {
        let pace = self.pace();
        if let Some(detection) = self.watch.check(&pace, || self.policy(), now) {
            self.trip(detection, now);
        }
        self.watch.next_check(&pace, now)
    }

    /// When to check the calls in flight next.
    pub(super) fn next_check(&self, now: Instant) -> Option<Instant> {
        self.watch.next_check(&self.pace(), now)
    }

    #[inline]
    pub(super) fn state_changes(&self) -> &StateChanges {
        &self.state_changes
    }

    /// Until when no call passes, as far as time alone decides; `None` if calls may pass.
    pub(super) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        self.watch.refuses_until(now)
    }

    pub(super) fn set_mode(&self, mode: Mode, now: Instant) {
        self.step(now, |machine, _| ((), machine.set_mode(mode, now)));
    }

    pub(super) fn reset(&self, now: Instant) {
        self.step(now, |machine, _| ((), machine.reset()));
    }

    pub(super) fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        let (state, probes) = {
            let locked = lock(&self.machine);
            (locked.machine.state(), locked.machine.probes())
        };
        let counts = self.watch.counts(now);
        let (in_flight, overdue) = self.watch.in_flight(&self.pace(), now);
        BreakerSnapshot {
            state,
            calls: counts.calls,
            failures: counts.failures,
            slow: counts.slow,
            in_flight: in_flight + u64::from(probes),
            overdue,
        }
    }

    /// See [`Forgettable`](crate::admission::keyed::Forgettable).
    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.watch.is_as_new(&self.policy(), now)
    }

    /// Starts with the state of `other`.
    pub(super) fn inherit(&self, other: &Self, now: Instant) {
        let (snapshot, last_transition) = {
            let theirs = lock(&other.machine);
            (theirs.machine.snapshot(now), theirs.last_transition)
        };
        self.locked(now, |machine, _| (machine.restore(snapshot), None));
        lock(&self.machine).last_transition = last_transition;
    }

    pub(super) fn mode(&self) -> Mode {
        lock(&self.machine).machine.mode()
    }

    pub(super) fn last_transition(&self) -> Option<(Transition, Instant)> {
        lock(&self.machine).last_transition
    }

    #[cold]
    fn trip(&self, Detection { generation, trip }: Detection, now: Instant) {
        self.step(now, |machine, moment| ((), machine.trip(generation, trip, moment)));
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(super) fn with_lock_held(&self, what: impl FnOnce()) {
        let _kept = lock(&self.machine);
        what();
    }

    /// One step of the state machine under its lock, reported after the lock is released.
    fn step<T>(&self, now: Instant, step: impl FnOnce(&mut Machine, &Moment<'_>) -> (T, Option<Transition>)) -> T {
        let (output, transition) = self.locked(now, step);
        self.state_changes.notify();
        if let Some(Transition { from, to }) = transition {
            telemetry::transition(&self.instruments, from.as_str(), to.as_str(), self.numbers(now));
            observed::request_publication();
        }
        output
    }

    /// Publishes the state of the machine to calls. Call this under its lock. The outage is stored first, so that a call that is
    /// refused finds it.
    fn publish(&self, machine: &Machine, moment: &Moment<'_>) {
        if self.watch.is_behind(machine) {
            self.outage.store(machine.outage().into());
        }
        self.watch.publish(machine, moment);
    }

    /// One step of the state machine under its lock, published to the watch before the lock is released.
    fn locked<T>(
        &self,
        now: Instant,
        step: impl FnOnce(&mut Machine, &Moment<'_>) -> (T, Option<Transition>),
    ) -> (T, Option<Transition>) {
        let chance = chance::sample();
        let mut locked = lock(&self.machine);
        // Read under the lock, so that the last publication is based on the latest settings.
        let policy = self.policy();
        let moment = Moment { policy: &policy, median: self.median(&policy), now, chance };
        let (output, transition) = step(&mut locked.machine, &moment);
        self.publish(&locked.machine, &moment);
        if let Some(transition) = transition {
            locked.last_transition = Some((transition, now));
        }
        (output, transition)
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::algorithm::breaker::{SlowAfter, State};

    const NOW: Instant = Instant::from_nanos(1 << 40);
    const SECOND: Duration = Duration::from_secs(1);

    /// One failure opens it, one successful probe closes it.
    fn breaker() -> Arc<Breaker> {
        let policy = Policy {
            failure_rate: 1.0,
            slow_rate: None,
            bad_in_a_row: Some(1),
            minimum_calls: 1,
            slow_after: SlowAfter::Fixed(SECOND),
            break_for: SECOND,
            short_breaks: 1,
            break_growth: 1.0,
            max_break: SECOND,
            jitter: 0.0,
            rounds: 1,
        };
        let settings = Arc::new(Settings::new(BreakerSettings { policy, max_hold: SECOND }));
        Arc::new(Breaker::new(settings, Span::Calls(1), Mode::Enforcing, None, Instruments::new(super::super::KIND)))
    }

    fn pass(breaker: &Breaker, now: Instant) -> Pass {
        breaker.admit(&breaker.pace(), SECOND, now).unwrap_or_else(|_| panic!("refused"))
    }

    /// Two calls of a closed breaker fail at once: it opens once, and nothing stays in flight.
    #[test]
    fn loom_two_failures_open_once() {
        loom::model(|| {
            let breaker = breaker();
            let (ours, theirs) = (pass(&breaker, NOW), pass(&breaker, NOW));
            let other = Arc::clone(&breaker);
            let thread = loom::thread::spawn(move || other.settle(theirs, Evidence::Bad(SECOND), NOW));
            breaker.settle(ours, Evidence::Bad(SECOND), NOW);
            thread.join().expect("no panic");
            let snapshot = breaker.snapshot(NOW);
            assert_eq!((snapshot.state, snapshot.in_flight), (State::Open, 0));
            assert_eq!(breaker.admit(&breaker.pace(), SECOND, NOW).err(), Some(Some(SECOND)), "one break, not two");
        });
    }

    /// The break is over, and two calls arrive: exactly one of them is the probe.
    #[test]
    fn loom_one_of_two_calls_is_the_probe() {
        loom::model(|| {
            let breaker = breaker();
            breaker.settle(pass(&breaker, NOW), Evidence::Bad(SECOND), NOW);
            let other = Arc::clone(&breaker);
            let thread = loom::thread::spawn(move || other.admit(&other.pace(), SECOND, NOW + SECOND).is_ok());
            let ours = breaker.admit(&breaker.pace(), SECOND, NOW + SECOND).is_ok();
            assert!(ours ^ thread.join().expect("no panic"));
        });
    }

    /// A stale failure of the closed state races with the probe that closes the breaker again: it does not open it.
    #[test]
    fn loom_stale_failure_does_not_reopen() {
        loom::model(|| {
            let breaker = breaker();
            let late = pass(&breaker, NOW);
            breaker.settle(pass(&breaker, NOW), Evidence::Bad(SECOND), NOW);
            let probe = pass(&breaker, NOW + SECOND);
            let other = Arc::clone(&breaker);
            let thread = loom::thread::spawn(move || other.settle(late, Evidence::Bad(SECOND), NOW + SECOND));
            breaker.settle(probe, Evidence::Good(Duration::ZERO), NOW + SECOND);
            thread.join().expect("no panic");
            let snapshot = breaker.snapshot(NOW + SECOND);
            assert_eq!((snapshot.state, snapshot.calls, snapshot.in_flight), (State::Closed, 0, 0));
        });
    }

    /// The window changes while an earlier call fails: the failure is not counted in the new window, and the breaker opens at most
    /// once.
    #[test]
    fn loom_stale_failure_is_not_counted_in_a_new_window() {
        loom::model(|| {
            let breaker = breaker();
            let late = pass(&breaker, NOW);
            let other = Arc::clone(&breaker);
            let thread = loom::thread::spawn(move || other.settle(late, Evidence::Bad(SECOND), NOW));
            breaker.reloaded(Some(Span::Calls(2)), NOW);
            let state = breaker.snapshot(NOW).state;
            thread.join().expect("no panic");
            let snapshot = breaker.snapshot(NOW);
            assert_eq!((snapshot.state, snapshot.calls, snapshot.in_flight), (state, 0, 0));
        });
    }
}
