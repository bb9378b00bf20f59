//! The states of a circuit breaker and the transitions between them.

use std::time::Duration;

use super::half_open::{HalfOpen, Judgement};
use super::mode::Mode;
use super::outage::Outage;
use super::pass::{Admission, ClosedCall, LastResort, Probe};
use super::policy::{BreakerPolicy, Thresholds};
use super::refusals::{FastPath, Published};
use super::state::{State, Transition};
use super::watch::Watch;
use super::window::{OutcomeWindow, Span};
use crate::algorithm::evidence::Evidence;
use crate::ground::error::Trip;
use crate::ground::time::Instant;

/// The inputs of a transition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) policy: &'a BreakerPolicy,
    pub(crate) now: Instant,
    /// Random, in `0..1`.
    pub(crate) chance: f64,
}

#[derive(Debug)]
pub(super) enum Phase {
    Closed,
    /// `earliest` is when the break may end because enough calls were refused.
    Open {
        until: Instant,
        earliest: Instant,
    },
    HalfOpen(HalfOpen),
}

/// See [`Machine::snapshot`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakSnapshot {
    /// The end of the break; `None` if the breaker is closed.
    until: Option<Instant>,
    breaks: u32,
    outage: Option<Outage>,
}

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) mode: Mode,
    pub(super) phase: Phase,
    pub(super) generation: u64,
    pub(super) watch: Watch,
    /// Consecutive breaks since the last answer in time.
    breaks: u32,
    /// Set unless the breaker is closed or disabled.
    outage: Option<Outage>,
    last_probe: u64,
}

impl Machine {
    pub(crate) fn new(mode: Mode, span: Span) -> Self {
        let watch = Watch::new(span);
        Self { mode, phase: Phase::Closed, generation: 0, watch, breaks: 0, outage: None, last_probe: 0 }
    }

    pub(crate) fn state(&self) -> State {
        match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) => State::ForcedOpen,
            (Mode::Disabled, _) => State::Disabled,
            (_, Phase::Closed) => State::Closed,
            (_, Phase::Open { .. }) => State::Open,
            (_, Phase::HalfOpen(_)) => State::HalfOpen,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The end of the current break, if there is one.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until, .. } => Some(until),
            Phase::Closed | Phase::HalfOpen(_) => None,
        }
    }

    pub(crate) fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// Starts with the forced outage of another machine, if this one starts forced open, too.
    pub(crate) fn with_outage_of(mut self, other: Option<Outage>) -> Self {
        self.outage = other.filter(|outage| outage.fits(self.mode));
        self
    }

    /// The state that another machine needs to continue this one's outage, see [`Self::restore`].
    pub(crate) fn snapshot(&self, now: Instant) -> BreakSnapshot {
        let until = match &self.phase {
            Phase::Closed => None,
            Phase::Open { until, .. } => Some(*until),
            Phase::HalfOpen(_) => Some(now),
        };
        BreakSnapshot { until, breaks: self.breaks, outage: self.outage }
    }

    /// Takes over the outage of another machine.
    ///
    /// ## Closed => Open
    pub(crate) fn restore(&mut self, snapshot: BreakSnapshot) {
        if let Some(until) = snapshot.until {
            self.generation += 1;
            self.breaks = snapshot.breaks;
            self.outage = snapshot.outage;
            self.phase = Phase::Open { until, earliest: until };
            self.watch.set_last_bad(until);
        }
    }

    /// The number of probes in flight.
    pub(super) fn probes(&self) -> u32 {
        match &self.phase {
            Phase::HalfOpen(probes) => probes.in_flight(),
            Phase::Closed | Phase::Open { .. } => 0,
        }
    }

    /// What calls do from now on without asking the machine.
    pub(crate) fn published(&self, policy: &BreakerPolicy) -> Published {
        let try_again = if self.open_until().is_some() { Duration::MAX } else { policy.break_for };
        let threshold = policy.slow_or_floor(self.watch.median(policy));
        Published { generation: self.generation, path: self.path(policy), threshold, try_again, outage: self.outage }
    }

    fn path(&self, policy: &BreakerPolicy) -> FastPath {
        let refuses = match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) => return FastPath::ForcedOpen,
            (Mode::Disabled, _) => return FastPath::Free,
            (_, Phase::Closed) => return FastPath::Closed,
            (_, Phase::Open { until, earliest }) => Some((*until, Some(*earliest))),
            (_, Phase::HalfOpen(probes)) if probes.has_free_slot() => None,
            (_, Phase::HalfOpen(probes)) => probes.next_check(&self.thresholds(policy)).map(|until| (until, None)),
        };
        match refuses {
            None => FastPath::Decide { may_refuse: self.mode != Mode::Observing },
            Some((until, _)) if self.mode == Mode::Observing => FastPath::FreeUntil { until },
            Some((until, earliest)) => FastPath::RefuseUntil { until, earliest },
        }
    }

    /// Decides about a new call of a breaker that was not closed a moment ago. `may_probe`: it has enough time left to be a probe.
    /// `refused_enough`: enough calls were refused in this break to end it early.
    ///
    /// ## Open => HalfOpen, when the break is over
    /// ## HalfOpen => Open or Closed, when timeouts of probes decide
    pub(crate) fn admit(
        &mut self,
        may_probe: bool,
        refused_enough: bool,
        moment: &Moment<'_>,
    ) -> (Admission, Option<Transition>) {
        match self.mode {
            Mode::ForcedOpen => return (Admission::Refused { retry_after: None }, None),
            Mode::Disabled => return (Admission::Free, None),
            Mode::Enforcing | Mode::Observing => {}
        }
        let (from, now) = (self.state(), moment.now);
        let is_over = |until: Instant, earliest: Instant| until <= now || refused_enough && earliest <= now;
        match self.phase {
            Phase::Open { until, earliest } if may_probe && is_over(until, earliest) => self.begin_probing(moment),
            Phase::HalfOpen(_) => self.check_probes(moment),
            Phase::Open { .. } | Phase::Closed => {}
        }
        let admission = match &mut self.phase {
            Phase::Closed => {
                let age = Some(self.watch.start_aging(moment.policy, now));
                Admission::Closed(ClosedCall { generation: self.generation, age })
            }
            Phase::Open { until, .. } if now < *until => Admission::Refused { retry_after: Some(until.since(now)) },
            Phase::HalfOpen(probes) if may_probe && probes.has_free_slot() => {
                self.last_probe += 1;
                probes.admit(self.last_probe, now);
                Admission::Probe(Probe(self.last_probe))
            }
            // Probes may be answered sooner, but no event would wake this caller then.
            Phase::Open { .. } | Phase::HalfOpen(_) => Admission::Refused {
                retry_after: Some(self.thresholds(moment.policy).slot_timeout.min(moment.policy.break_for)),
            },
        };
        let admission = match admission {
            Admission::Refused { .. } if self.mode == Mode::Observing => Admission::Free,
            other => other,
        };
        (admission, self.transition_from(from))
    }

    /// Ends the break of this generation early, since the dependency has shown otherwise that it is back. A stale break changes nothing.
    ///
    /// ## Open => HalfOpen
    pub(crate) fn end_break(&mut self, generation: u64, moment: &Moment<'_>) -> Option<Transition> {
        if self.generation != generation || self.state() != State::Open {
            return None;
        }
        self.begin_probing(moment);
        self.transition_from(State::Open)
    }

    /// Records the end of a probe.
    ///
    /// ## HalfOpen => Open, when too many have failed
    /// ## HalfOpen => Closed, when enough were good
    pub(crate) fn record(&mut self, probe: Probe, end: Evidence, moment: &Moment<'_>) -> Option<Transition> {
        let (from, thresholds) = (self.state(), self.thresholds(moment.policy));
        if let Phase::HalfOpen(probes) = &mut self.phase {
            if let (Evidence::Good(took), true) = (end, probes.has_probe(probe.0)) {
                self.watch.measure_probe(took, !probes.has_answers());
            }
            let judgement = probes.record(probe.0, end, &thresholds, moment.policy);
            self.apply(judgement, moment);
        }
        self.transition_from(from)
    }

    /// Records the end of a call that passed for want of another endpoint, while connections were refused.
    ///
    /// ## Open or HalfOpen => Closed, when the dependency has taken the call
    pub(crate) fn record_last_resort(
        &mut self,
        call: LastResort,
        end: Evidence,
        moment: &Moment<'_>,
    ) -> Option<Transition> {
        let from = self.state();
        let outage = self.outage.as_mut().filter(|outage| outage.is_unreachable())?;
        if call.generation != self.generation {
            return None;
        }
        match end {
            Evidence::Good(_) | Evidence::Alive | Evidence::Bad(_) => {
                self.close(moment.now);
                if let Some(trip) = self.watch.record(end, moment.policy, moment.now) {
                    let _ = self.trip(self.generation, trip, moment);
                }
            }
            // Calls would hang here one after the other.
            Evidence::TimedOut | Evidence::GivenUpLate => outage.refuse_all(),
            Evidence::Unreachable(_) if !self.watch.is_refused_at_once(end, moment.policy) => outage.refuse_all(),
            Evidence::Unanswered | Evidence::Unsent | Evidence::Unreachable(_) | Evidence::Nothing => {}
        }
        self.transition_from(from)
    }

    /// Records whether the dependency is processing the probe. It is not while the probe waits in a queue of seawall.
    pub(crate) fn set_sent(&mut self, probe: Probe, sent: bool, now: Instant) {
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.set_sent(probe.0, sent, now);
        }
    }

    /// The head of the probe's answer has arrived. If no end is recorded within the slow threshold, `evidence` counts as its end.
    pub(crate) fn set_head(&mut self, probe: Probe, evidence: Evidence, now: Instant) {
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.set_head(probe.0, evidence, now);
        }
    }

    /// These calls of `generation` show an outage.
    ///
    /// ## Closed => Open
    pub(crate) fn trip(&mut self, generation: u64, calls: Trip, moment: &Moment<'_>) -> Option<Transition> {
        if self.generation != generation || self.state() != State::Closed {
            return None;
        }
        let until = self.open(moment);
        self.outage = Some(Outage::new(calls, moment.now, until));
        self.transition_from(State::Closed)
    }

    /// Changes the mode. A switch between enforcing and observing keeps the state. A switch from a mode that counts nothing closes
    /// the breaker.
    pub(crate) fn set_mode(&mut self, mode: Mode, now: Instant) -> Option<Transition> {
        let from = self.state();
        let counts = |mode| matches!(mode, Mode::Enforcing | Mode::Observing);
        if self.mode != mode && !(counts(self.mode) && counts(mode)) {
            self.close(now);
            self.outage = None;
        }
        // A breaker that is created while all are being forced open has the mode already, but no outage yet.
        if mode == Mode::ForcedOpen && self.outage.is_none() {
            self.outage = Some(Outage::forced(now));
            self.generation += 1;
        }
        self.mode = mode;
        self.transition_from(from)
    }

    /// Closes the breaker and clears all counts. Forced open and disabled stay as they are.
    pub(crate) fn reset(&mut self, now: Instant) -> Option<Transition> {
        let (from, forced) = (self.state(), self.outage.filter(|outage| outage.fits(self.mode)));
        self.close(now);
        self.outage = forced;
        self.transition_from(from)
    }

    /// Counts calls in another window from now on, and keeps the state. Calls in flight become stale. Returns the former window.
    pub(crate) fn replace_window(&mut self, window: OutcomeWindow, now: Instant) -> OutcomeWindow {
        self.generation += 1;
        self.watch.clear(now);
        self.watch.replace_window(window)
    }

    fn begin_probing(&mut self, moment: &Moment<'_>) {
        self.generation += 1;
        self.phase = Phase::HalfOpen(HalfOpen::new(moment.policy));
        if let Some(outage) = &mut self.outage {
            outage.end_break(moment.now);
        }
    }

    fn check_probes(&mut self, moment: &Moment<'_>) {
        let thresholds = self.thresholds(moment.policy);
        if let Phase::HalfOpen(probes) = &mut self.phase {
            let judgement = probes.check(&thresholds, moment.policy, moment.now);
            self.apply(judgement, moment);
        }
    }

    fn apply(&mut self, judgement: Judgement, moment: &Moment<'_>) {
        match judgement {
            Judgement::Failed => {
                let is_unreachable = matches!(&self.phase, Phase::HalfOpen(probes) if probes.is_unreachable());
                let until = self.open(moment);
                if let Some(outage) = &mut self.outage {
                    outage.add_break(until, is_unreachable);
                }
            }
            Judgement::Good => self.close(moment.now),
            Judgement::Undecided => {}
        }
    }

    /// Opens the breaker, and returns the end of the break.
    fn open(&mut self, moment: &Moment<'_>) -> Instant {
        let Moment { policy, now, chance, .. } = *moment;
        self.generation += 1;
        // Breaks grow only while the dependency does not answer probes in time. A probe that it fails at once costs its caller
        // nothing, since it would have been refused, and the sooner the next one is sent, the sooner the end of the outage is seen.
        let answers = matches!(&self.phase, Phase::HalfOpen(probes) if probes.has_quick_answer());
        self.breaks = if answers { 1 } else { self.breaks.saturating_add(1) };
        let until = now + policy.jittered(policy.pause(self.breaks), chance);
        let earliest = now + policy.jittered(policy.pause(1), chance);
        self.phase = Phase::Open { until, earliest };
        self.watch.set_last_bad(until);
        until
    }

    fn close(&mut self, now: Instant) {
        self.generation += 1;
        self.watch.clear(now);
        self.breaks = 0;
        self.outage = None;
        self.phase = Phase::Closed;
    }

    fn thresholds(&self, policy: &BreakerPolicy) -> Thresholds {
        policy.thresholds(self.watch.median(policy), policy.pause(self.breaks))
    }

    fn transition_from(&self, from: State) -> Option<Transition> {
        let to = self.state();
        (from != to).then_some(Transition { from, to })
    }
}
