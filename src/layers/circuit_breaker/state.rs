//! One breaker: the lock-free watch, and the machine under its lock.

use std::time::Duration;

use super::lookout::Lookout;
use super::snapshot::Snapshot;
use super::terms::{Entrance, Terms};
use super::turn::Turn;
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
    /// Those of all breakers of the layer value.
    terms: Arc<Settings<Terms>>,
    watch: Watch,
    /// What refusals tell. They read it without a lock; it is replaced when the machine moves.
    outage: Swap<Option<Outage>>,
    machine: Mutex<Kept>,
    lookout: Lookout,
    turn: Turn,
    instruments: Instruments,
}

/// The machine, and what is remembered of it for those who look.
#[derive(Debug)]
struct Kept {
    machine: Machine,
    last_transition: Option<(Transition, Instant)>,
}

impl Breaker {
    /// In the mode and, if it is forced open, in the `outage` of the others.
    pub(super) fn new(
        terms: Arc<Settings<Terms>>,
        span: Span,
        mode: Mode,
        outage: Option<Outage>,
        instruments: Instruments,
    ) -> Self {
        let machine = Machine::new(mode).with_outage_of(outage);
        let policy = terms.read(|terms| terms.policy);
        let moment = Moment { policy: &policy, median: None, now: Instant::from_nanos(0), chance: 0.0 };
        let watch = Watch::new(Window::new(span), &machine, &moment);
        let outage = Swap::from_pointee(machine.outage());
        let machine = Mutex::new(Kept { machine, last_transition: None });
        Self { terms, watch, outage, machine, lookout: Lookout::default(), turn: Turn::default(), instruments }
    }

    #[inline]
    pub(super) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// Whether anyone is interested in how a call with this pass ends: the breaker, or who looks at what has a name.
    #[inline]
    pub(super) fn counts(&self, pass: &Pass) -> bool {
        !matches!(pass, Pass::Free) || self.instruments.named().is_some()
    }

    /// For those who look without being the service of a call, which has a copy.
    pub(super) fn entrance(&self) -> Entrance {
        self.terms.read(Terms::entrance)
    }

    fn pace(&self) -> Pace {
        self.entrance().pace
    }

    #[cold]
    fn policy(&self) -> Policy {
        self.terms.read(|terms| terms.policy)
    }

    /// The terms are other ones from now on; if there is another window, counts begin anew. Wakes nobody.
    pub(super) fn reloaded(&self, span: Option<Span>, now: Instant) {
        self.locked(now, |machine, _| {
            if let Some(span) = span {
                machine.clear_counts();
                self.watch.set_span(span);
            }
            ((), None)
        });
    }

    /// Lets a call with so much time left pass, or says after how long another try has a chance.
    #[inline]
    pub(super) fn admit(&self, pace: &Pace, left: Duration, now: Instant) -> Result<Pass, Option<Duration>> {
        match self.watch.enter(pace, || self.policy(), left, now) {
            Entry::Closed(seat) => Ok(Pass::Closed(seat)),
            Entry::Free => Ok(Pass::Free),
            Entry::Refused(wait) => Err(wait),
            Entry::Decide { may_probe, refused_enough } => self.ask(may_probe, refused_enough, left, now),
            Entry::Trip(detection) => {
                self.trip(detection, now);
                self.ask(false, false, left, now)
            }
        }
    }

    /// Whether a call with so much time left would be refused, and when another try has a chance. It counts as refused then.
    pub(super) fn would_refuse(&self, pace: &Pace, left: Duration, now: Instant) -> Option<Option<Duration>> {
        self.watch.would_refuse(pace, left, now)
    }

    /// The refusal of a call, which may try again after `wait`. Takes no lock.
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
    fn ask(
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
                    // It closed while we came here, or with this very look. Nothing moves now, so that the watch admits; should it want
                    // to trip at once, the next call will tell.
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

    /// A call is over.
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

    /// What the time of a call without an answer is measured by.
    pub(super) fn yardstick(&self) -> LatencyBaseline {
        let pace = self.pace();
        let slow_after = self.watch.slow_after(&pace).unwrap_or_else(|| pace.floor());
        LatencyBaseline { slow_after, usual: self.watch.median(&pace) }
    }

    /// Somebody polls the call for the first time. It is with the dependency, unless it `waits`: that is asked under the lock, so that
    /// a wait that begins meanwhile is told afterwards.
    #[inline]
    pub(super) fn sent(&self, pass: &Pass, waits: impl FnOnce() -> bool, now: Instant) {
        if let Pass::Probe(probe) = pass {
            self.step(now, |machine, _| (machine.set_sent(*probe, !waits(), now), None));
        }
    }

    /// The head of an answer is there: the call no longer ages.
    #[inline]
    pub(super) fn answered(&self, pass: &mut Pass, took: Duration, now: Instant) {
        match pass {
            Pass::Closed(seat) => self.watch.stop_aging(seat),
            Pass::Probe(probe) => self.head(*probe, Evidence::Good(took), now),
            Pass::Free => {}
        }
    }

    /// The head says this.
    pub(super) fn head_says(&self, pass: &Pass, says: Evidence, now: Instant) {
        if let Pass::Probe(probe) = pass {
            self.head(*probe, says, now);
        }
    }

    #[cold]
    fn head(&self, probe: Probe, says: Evidence, now: Instant) {
        self.step(now, |machine, _| (machine.set_head(probe, says, now), None));
    }

    /// The call waits in a queue of ours: it does not age there.
    #[inline]
    pub(super) fn stop_aging(&self, pass: &mut Pass, now: Instant) {
        match pass {
            Pass::Closed(seat) => self.watch.stop_aging(seat),
            Pass::Probe(probe) => self.step(now, |machine, _| (machine.set_sent(*probe, false, now), None)),
            Pass::Free => {}
        }
    }

    /// The dependency is at work on the call again, unless that `waits`.
    pub(super) fn start_aging(&self, pass: &mut Pass, waits: impl Fn() -> bool, now: Instant) {
        match pass {
            Pass::Closed(_) if waits() => {}
            Pass::Closed(seat) => self.watch.start_aging(seat, &self.pace(), now),
            Pass::Probe(_) => self.sent(pass, waits, now),
            Pass::Free => {}
        }
    }

    #[inline]
    pub(super) fn lookout(&self) -> &Lookout {
        &self.lookout
    }

    /// Looks at the calls in flight, and says when to look again; `None`: none are in flight that could be overdue.
    pub(super) fn look(&self, now: Instant) -> Option<Instant> {
        let pace = self.pace();
        if let Some(detection) = self.watch.check(&pace, || self.policy(), now) {
            self.trip(detection, now);
        }
        self.watch.next_check(&pace, now)
    }

    /// When to look at the calls in flight next.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        self.watch.next_check(&self.pace(), now)
    }

    #[inline]
    pub(super) fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Until when no call passes, as far as time alone decides; `None`: some may.
    pub(super) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        self.watch.refuses_until(now)
    }

    pub(super) fn set_mode(&self, mode: Mode, now: Instant) {
        self.step(now, |machine, _| ((), machine.set_mode(mode, now)));
    }

    pub(super) fn reset(&self, now: Instant) {
        self.step(now, |machine, _| ((), machine.reset()));
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let (state, probes) = {
            let kept = lock(&self.machine);
            (kept.machine.state(), kept.machine.probes())
        };
        let counts = self.watch.counts(now);
        let (in_flight, overdue) = self.watch.in_flight(&self.pace(), now);
        Snapshot {
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

    /// Begins as open as `other` is.
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

    /// One step of the machine under its lock, told afterwards.
    fn step<T>(&self, now: Instant, step: impl FnOnce(&mut Machine, &Moment<'_>) -> (T, Option<Transition>)) -> T {
        let (output, transition) = self.locked(now, step);
        self.turn.may_have_come();
        if let Some(Transition { from, to }) = transition {
            telemetry::transition(&self.instruments, from.as_str(), to.as_str(), self.numbers(now));
            observed::stir();
        }
        output
    }

    /// Shows the machine's state to the calls. Under its lock. A call that is refused finds the outage that it is refused for.
    fn publish(&self, machine: &Machine, moment: &Moment<'_>) {
        if self.watch.is_behind(machine) {
            self.outage.store(machine.outage().into());
        }
        self.watch.publish(machine, moment);
    }

    /// One step of the machine under its lock, shown to the watch before the lock is free.
    fn locked<T>(
        &self,
        now: Instant,
        step: impl FnOnce(&mut Machine, &Moment<'_>) -> (T, Option<Transition>),
    ) -> (T, Option<Transition>) {
        let chance = chance::sample();
        let mut kept = lock(&self.machine);
        // Under the lock, so that what is published last is of the latest settings.
        let policy = self.policy();
        let moment = Moment { policy: &policy, median: self.median(&policy), now, chance };
        let (output, transition) = step(&mut kept.machine, &moment);
        self.publish(&kept.machine, &moment);
        if let Some(transition) = transition {
            kept.last_transition = Some((transition, now));
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

    /// One failure opens it, one good probe closes it.
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
        let terms = Arc::new(Settings::new(Terms { policy, max_hold: SECOND }));
        Arc::new(Breaker::new(terms, Span::Calls(1), Mode::Enforcing, None, Instruments::new(super::super::KIND)))
    }

    fn pass(breaker: &Breaker, now: Instant) -> Pass {
        breaker.admit(&breaker.pace(), SECOND, now).unwrap_or_else(|_| panic!("refused"))
    }

    /// Two calls of a closed breaker fail at once: it opens once, and nothing stays in flight.
    #[test]
    fn loom_two_failures_open_it_once() {
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

    /// The break is over, and two calls come: exactly one of them is the probe.
    #[test]
    fn loom_one_of_two_is_the_probe() {
        loom::model(|| {
            let breaker = breaker();
            breaker.settle(pass(&breaker, NOW), Evidence::Bad(SECOND), NOW);
            let other = Arc::clone(&breaker);
            let thread = loom::thread::spawn(move || other.admit(&other.pace(), SECOND, NOW + SECOND).is_ok());
            let ours = breaker.admit(&breaker.pace(), SECOND, NOW + SECOND).is_ok();
            assert!(ours ^ thread.join().expect("no panic"));
        });
    }

    /// A late failure of the closed time races with the probe that closes it again: it does not open what is new.
    #[test]
    fn loom_a_late_failure_does_not_open_the_next_era() {
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

    /// The window changes while a call of before fails: it does not open what begins to count anew, and it opens at most once.
    #[test]
    fn loom_a_failure_of_before_is_not_counted_in_a_new_window() {
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
