//! The states, and the moves between them.

use std::time::Duration;

use super::half_open::{HalfOpen, Judgement};
use super::mode::Mode;
use super::outage::Outage;
use super::policy::{Policy, Thresholds};
use crate::algorithm::evidence::Evidence;
use crate::ground::error::Trip;
use crate::ground::time::Instant;

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// All calls pass, and are counted.
    Closed,
    /// No call passes until the break is over.
    Open,
    /// A few calls pass, as probes.
    HalfOpen,
    /// Opened by hand: no call passes.
    ForcedOpen,
    /// Switched off by hand: all calls pass, and nothing is counted.
    Disabled,
}

impl State {
    /// The state in one word, as logs and metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
        }
    }
}

/// A change of state, to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Transition {
    pub(crate) from: State,
    pub(crate) to: State,
}

/// What the machine says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission {
    /// The state is closed: the watch admits.
    Closed,
    /// It passes as a probe, and owes an answer.
    Probe(Probe),
    /// It passes, and owes nothing.
    Free,
    /// It does not pass; when it may be worth another try, if that is known.
    Refused { retry_after: Option<Duration> },
}

/// A place among the probes. It has to come back, through [`Machine::settle`].
///
/// Its number is never used again, so that what an old probe says finds no place in a present phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe(u64);

/// With what the machine makes a move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) policy: &'a Policy,
    /// That of the dependency's successes.
    pub(crate) median: Option<Duration>,
    pub(crate) now: Instant,
    /// Random, in `0..1`.
    pub(crate) chance: f64,
}

/// What calls are to be told without asking the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// They pass, and are counted.
    Closed,
    /// All pass, and nothing is counted.
    Free,
    /// None passes, for nobody knows how long.
    Shut,
    /// None passes before `until`. From `earliest` on, enough refused calls end a break sooner.
    Refuse { until: Instant, earliest: Option<Instant> },
    /// All pass, and nothing is counted, before `until`.
    Pass { until: Instant },
    /// There may be a place for a probe.
    Ask,
}

#[derive(Debug)]
enum Phase {
    Closed,
    /// `earliest` is when the break may end because enough calls were refused.
    Open {
        until: Instant,
        earliest: Instant,
    },
    HalfOpen(HalfOpen),
}

/// See [`Machine::heritage`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heritage {
    /// The end of the break, unless it is closed.
    until: Option<Instant>,
    breaks: u32,
    outage: Option<Outage>,
}

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct Machine {
    mode: Mode,
    phase: Phase,
    generation: u64,
    /// The number of the present closed phase (wrapping), which is what windows are told.
    era: u8,
    /// How many breaks in a row there were since anything was answered well.
    breaks: u32,
    /// There is one unless it is closed or disabled.
    outage: Option<Outage>,
    last_probe: u64,
}

impl Machine {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, phase: Phase::Closed, generation: 0, era: 0, breaks: 0, outage: None, last_probe: 0 }
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

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn era(&self) -> u8 {
        self.era
    }

    /// When the break is over, if there is one.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until, .. } => Some(until),
            Phase::Closed | Phase::HalfOpen(_) => None,
        }
    }

    pub(crate) fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// A machine that begins as forced open as another one is.
    pub(crate) fn with_outage_of(mut self, other: Option<Outage>) -> Self {
        self.outage = other.filter(|outage| outage.fits(self.mode));
        self
    }

    /// What another machine has to know to go on as this one does, which it does after a break.
    pub(crate) fn heritage(&self, now: Instant) -> Heritage {
        let until = match &self.phase {
            Phase::Closed => None,
            Phase::Open { until, .. } => Some(*until),
            Phase::HalfOpen(_) => Some(now),
        };
        Heritage { until, breaks: self.breaks, outage: self.outage }
    }

    /// ## Closed => Open, as another machine was
    pub(crate) fn inherit(&mut self, heritage: Heritage) {
        if let Some(until) = heritage.until {
            self.generation += 1;
            self.breaks = heritage.breaks;
            self.outage = heritage.outage;
            self.phase = Phase::Open { until, earliest: until };
        }
    }

    /// How many probes are in flight.
    pub(crate) fn probes(&self) -> u32 {
        match &self.phase {
            Phase::HalfOpen(probes) => probes.in_flight(),
            Phase::Closed | Phase::Open { .. } => 0,
        }
    }

    /// What calls are to be told from now on.
    pub(crate) fn notice(&self, moment: &Moment<'_>) -> Notice {
        let refuses = match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) => return Notice::Shut,
            (Mode::Disabled, _) => return Notice::Free,
            (_, Phase::Closed) => return Notice::Closed,
            (_, Phase::Open { until, earliest }) => Some((*until, Some(*earliest))),
            (_, Phase::HalfOpen(probes)) if probes.has_place() => None,
            (_, Phase::HalfOpen(probes)) => probes.next_look(&self.thresholds(moment)).map(|until| (until, None)),
        };
        match refuses {
            None => Notice::Ask,
            Some((until, _)) if self.mode == Mode::Observing => Notice::Pass { until },
            Some((until, earliest)) => Notice::Refuse { until, earliest },
        }
    }

    /// A call comes. `may_probe`: it has time enough to be a probe. `refused_enough`: so many calls were refused in this break
    /// that it may end before its time.
    ///
    /// ## Open => HalfOpen, when the break is over
    /// ## HalfOpen => Open or Closed, when time has decided
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
            Phase::Open { until, earliest } if may_probe && is_over(until, earliest) => {
                self.generation += 1;
                self.phase = Phase::HalfOpen(HalfOpen::new(moment.policy));
                if let Some(outage) = &mut self.outage {
                    outage.end_break(now);
                }
            }
            Phase::HalfOpen(_) => self.look_at_probes(moment),
            Phase::Open { .. } | Phase::Closed => {}
        }
        let admission = match &mut self.phase {
            Phase::Closed => Admission::Closed,
            Phase::Open { until, .. } if now < *until => Admission::Refused { retry_after: Some(until.since(now)) },
            Phase::HalfOpen(probes) if may_probe && probes.has_place() => {
                self.last_probe += 1;
                probes.admit(self.last_probe, now);
                Admission::Probe(Probe(self.last_probe))
            }
            // Sooner, if the probes are answered; but nobody would come and say so.
            Phase::Open { .. } | Phase::HalfOpen(_) => {
                Admission::Refused { retry_after: Some(self.thresholds(moment).place.min(moment.policy.break_for)) }
            }
        };
        let admission = match admission {
            Admission::Refused { .. } if self.mode == Mode::Observing => Admission::Free,
            other => other,
        };
        (admission, self.transition_from(from))
    }

    /// Whether this probe can still say something.
    pub(crate) fn knows(&self, probe: Probe) -> bool {
        matches!(&self.phase, Phase::HalfOpen(probes) if probes.knows(probe.0))
    }

    /// Whether no probe has been answered since the break.
    pub(crate) fn awaits_first_answer(&self) -> bool {
        matches!(&self.phase, Phase::HalfOpen(probes) if !probes.has_answers())
    }

    /// A probe is over.
    ///
    /// ## HalfOpen => Open, when too many have failed
    /// ## HalfOpen => Closed, when enough were answered well
    pub(crate) fn settle(&mut self, probe: Probe, end: Evidence, moment: &Moment<'_>) -> Option<Transition> {
        let (from, thresholds) = (self.state(), self.thresholds(moment));
        if let Phase::HalfOpen(probes) = &mut self.phase {
            let judgement = probes.settle(probe.0, end, &thresholds, moment.policy);
            self.follow(judgement, moment);
        }
        self.transition_from(from)
    }

    /// The dependency is at work on the probe from now on; or it is not, while the probe waits in a queue of ours.
    pub(crate) fn set_sent(&mut self, probe: Probe, sent: bool, now: Instant) {
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.set_sent(probe.0, sent, now);
        }
    }

    /// The head of the probe's answer is there. If nothing else is said of it for as long as the slow threshold, `says` is its end.
    pub(crate) fn set_head(&mut self, probe: Probe, says: Evidence, now: Instant) {
        if let Phase::HalfOpen(probes) = &mut self.phase {
            probes.set_head(probe.0, says, now);
        }
    }

    /// The watch has seen enough, in the generation it was in: these calls.
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

    /// Changes who decides. Between enforcing and observing, everything stays as it is; from the modes in which nothing is
    /// counted, the breaker comes back closed.
    pub(crate) fn set_mode(&mut self, mode: Mode, now: Instant) -> Option<Transition> {
        let from = self.state();
        let counts = |mode| matches!(mode, Mode::Enforcing | Mode::Observing);
        if self.mode != mode && !(counts(self.mode) && counts(mode)) {
            self.close();
            self.outage = None;
        }
        // Made while the others were being forced open, it has the mode already.
        if mode == Mode::ForcedOpen && self.outage.is_none() {
            self.outage = Some(Outage::forced(now));
            self.generation += 1;
        }
        self.mode = mode;
        self.transition_from(from)
    }

    /// Closes, and forgets everything; but forced open stays forced open, and disabled disabled.
    pub(crate) fn reset(&mut self) -> Option<Transition> {
        let (from, forced) = (self.state(), self.outage.filter(|outage| outage.fits(self.mode)));
        self.close();
        self.outage = forced;
        self.transition_from(from)
    }

    /// What was counted is of no use any more. All else stays as it is; what calls that are in flight say is old news.
    pub(crate) fn count_anew(&mut self) {
        self.generation += 1;
        self.era = self.era.wrapping_add(1);
    }

    fn look_at_probes(&mut self, moment: &Moment<'_>) {
        let thresholds = self.thresholds(moment);
        if let Phase::HalfOpen(probes) = &mut self.phase {
            let judgement = probes.look(&thresholds, moment.policy, moment.now);
            self.follow(judgement, moment);
        }
    }

    fn follow(&mut self, judgement: Judgement, moment: &Moment<'_>) {
        match judgement {
            Judgement::Failed => {
                let until = self.open(moment);
                if let Some(outage) = &mut self.outage {
                    outage.add_break(until);
                }
            }
            Judgement::Good => self.close(),
            Judgement::Undecided => {}
        }
    }

    /// Says when the break will be over.
    fn open(&mut self, moment: &Moment<'_>) -> Instant {
        let Moment { policy, now, chance, .. } = *moment;
        self.generation += 1;
        // Longer breaks are for what does not answer at all.
        let answers = matches!(&self.phase, Phase::HalfOpen(probes) if !probes.is_lost());
        self.breaks = if answers { 1 } else { self.breaks.saturating_add(1) };
        let until = now + policy.jittered(policy.pause(self.breaks), chance);
        let earliest = now + policy.jittered(policy.pause(1), chance);
        self.phase = Phase::Open { until, earliest };
        until
    }

    fn close(&mut self) {
        self.generation += 1;
        self.era = self.era.wrapping_add(1);
        self.breaks = 0;
        self.outage = None;
        self.phase = Phase::Closed;
    }

    fn thresholds(&self, moment: &Moment<'_>) -> Thresholds {
        moment.policy.thresholds(moment.median, moment.policy.pause(self.breaks))
    }

    fn transition_from(&self, from: State) -> Option<Transition> {
        let to = self.state();
        (from != to).then_some(Transition { from, to })
    }
}
