//! The states, and the moves between them.

use std::time::Duration;

use super::policy::Policy;
use super::round::{Judgement, Round};
use crate::algorithm::evidence::Evidence;
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

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The machine decides.
    Enforcing,
    /// The machine moves as it would, and refuses nothing.
    Observing,
    ForcedOpen,
    Disabled,
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

/// A place among the probes. It has to come back, through [`Machine::settle`] or [`Machine::give_up`].
///
/// Its number is never used again, so that what an old probe says finds no place in a present round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probe(u64);

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { round: Round, number: u32 },
}

/// See the [module](super).
#[derive(Debug)]
pub(crate) struct Machine {
    mode: Mode,
    phase: Phase,
    generation: u64,
    /// The number of the present closed phase (wrapping), which is what windows are told.
    era: u8,
    /// How many breaks there were since the breaker was last closed.
    breaks: u32,
    last_probe: u64,
}

impl Machine {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, phase: Phase::Closed, generation: 0, era: 0, breaks: 0, last_probe: 0 }
    }

    pub(crate) fn state(&self) -> State {
        match (self.mode, &self.phase) {
            (Mode::ForcedOpen, _) => State::ForcedOpen,
            (Mode::Disabled, _) => State::Disabled,
            (_, Phase::Closed) => State::Closed,
            (_, Phase::Open { .. }) => State::Open,
            (_, Phase::HalfOpen { .. }) => State::HalfOpen,
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
            Phase::Open { until } => Some(until),
            Phase::Closed | Phase::HalfOpen { .. } => None,
        }
    }

    /// Begins in a break if `other` is not closed, and ends it when that one's ends.
    pub(crate) fn inherit(&mut self, other: &Self, now: Instant) {
        let until = match other.phase {
            Phase::Closed => return,
            Phase::Open { until } => until,
            Phase::HalfOpen { .. } => now,
        };
        self.generation += 1;
        self.breaks = other.breaks;
        self.phase = Phase::Open { until };
    }

    /// How many probes are in flight.
    pub(crate) fn probes(&self) -> u32 {
        match &self.phase {
            Phase::HalfOpen { round, .. } => round.in_flight(),
            Phase::Closed | Phase::Open { .. } => 0,
        }
    }

    /// A call comes. `median` is that of the callee's successes.
    ///
    /// ## Open => HalfOpen, when the break is over
    /// ## HalfOpen => Open, when probes hang
    pub(crate) fn admit(
        &mut self,
        policy: &Policy,
        median: Option<Duration>,
        now: Instant,
        chance: f64,
    ) -> (Admission, Option<Transition>) {
        match self.mode {
            Mode::ForcedOpen => return (Admission::Refused { retry_after: None }, None),
            Mode::Disabled => return (Admission::Free, None),
            Mode::Enforcing | Mode::Observing => {}
        }
        let from = self.state();
        let slow_after = self.probe_slow_after(policy, median);
        if self.open_until().is_some_and(|until| until <= now) {
            self.generation += 1;
            self.phase = Phase::HalfOpen { round: Round::new(1), number: 1 };
        } else if let Phase::HalfOpen { round, .. } = &mut self.phase {
            let hangs_after = policy.probe_hangs_after(median, policy.pause(self.breaks));
            let judgement = round.judge_in_flight(now, slow_after, hangs_after, policy);
            self.follow(judgement, policy, now, chance);
        }
        let admission = match &mut self.phase {
            Phase::Closed => Admission::Closed,
            Phase::Open { until } => Admission::Refused { retry_after: Some(until.since(now)) },
            Phase::HalfOpen { round, .. } => {
                self.last_probe += 1;
                if round.admit(self.last_probe, now) {
                    Admission::Probe(Probe(self.last_probe))
                } else {
                    // Sooner, if the probes are answered; but then there is nobody to tell it to.
                    let judged = round.next_judgement(slow_after).map_or(policy.break_for, |at| at.since(now));
                    Admission::Refused { retry_after: Some(judged.min(policy.break_for)) }
                }
            }
        };
        let admission = match admission {
            Admission::Refused { .. } if self.mode == Mode::Observing => Admission::Free,
            other => other,
        };
        (admission, self.transition_from(from))
    }

    /// Whether no probe has been answered since the break.
    pub(crate) fn awaits_first_answer(&self) -> bool {
        // The first round is over with its first answer.
        matches!(self.phase, Phase::HalfOpen { number: 1, .. })
    }

    /// A probe is over.
    ///
    /// ## HalfOpen => Open, when its round has failed
    /// ## HalfOpen => Closed, when the last round was good
    pub(crate) fn settle(
        &mut self,
        probe: Probe,
        end: Evidence,
        policy: &Policy,
        median: Option<Duration>,
        now: Instant,
        chance: f64,
    ) -> Option<Transition> {
        let slow_after = self.probe_slow_after(policy, median);
        self.judge_round(policy, now, chance, |round| round.settle(probe.0, end, slow_after, policy))
    }

    /// The caller of a probe gave up early, which says nothing; unless too many of them do, one after another.
    ///
    /// ## HalfOpen => Open, when probes are given up time and again, and none is answered
    pub(crate) fn give_up(&mut self, probe: Probe, policy: &Policy, now: Instant, chance: f64) -> Option<Transition> {
        self.judge_round(policy, now, chance, |round| round.give_up(probe.0))
    }

    /// The probe waits in a queue of ours since now, or (`Some`) has left it.
    pub(crate) fn set_local_wait(&mut self, probe: Probe, since: Option<Instant>) {
        if let Phase::HalfOpen { round, .. } = &mut self.phase {
            round.set_local_wait(probe.0, since);
        }
    }

    /// The watch has seen enough, in the generation it was in.
    ///
    /// ## Closed => Open
    pub(crate) fn trip(&mut self, generation: u64, policy: &Policy, now: Instant, chance: f64) -> Option<Transition> {
        if self.generation != generation || self.state() != State::Closed {
            return None;
        }
        self.open(policy, now, chance);
        self.transition_from(State::Closed)
    }

    /// Changes who decides. Between enforcing and observing, everything stays as it is; from the modes in which nothing is
    /// counted, the breaker comes back closed.
    pub(crate) fn set_mode(&mut self, mode: Mode) -> Option<Transition> {
        let from = self.state();
        let counts = |mode| matches!(mode, Mode::Enforcing | Mode::Observing);
        if self.mode != mode && !(counts(self.mode) && counts(mode)) {
            self.close();
        }
        self.mode = mode;
        self.transition_from(from)
    }

    /// Closes, and forgets everything; but forced open stays forced open, and disabled disabled.
    pub(crate) fn reset(&mut self) -> Option<Transition> {
        let from = self.state();
        self.close();
        self.transition_from(from)
    }

    /// What was counted is of no use any more. All else stays as it is; what calls that are in flight say is old news.
    pub(crate) fn count_anew(&mut self) {
        self.generation += 1;
        self.era = self.era.wrapping_add(1);
    }

    fn judge_round(
        &mut self,
        policy: &Policy,
        now: Instant,
        chance: f64,
        judge: impl FnOnce(&mut Round) -> Judgement,
    ) -> Option<Transition> {
        let from = self.state();
        match &mut self.phase {
            Phase::HalfOpen { round, .. } => {
                let judgement = judge(round);
                self.follow(judgement, policy, now, chance);
                self.transition_from(from)
            }
            // Old news.
            _ => None,
        }
    }

    fn follow(&mut self, judgement: Judgement, policy: &Policy, now: Instant, chance: f64) {
        match (judgement, &mut self.phase) {
            (Judgement::Failed, _) => self.open(policy, now, chance),
            (Judgement::Good, Phase::HalfOpen { number, .. }) if *number >= policy.rounds => self.close(),
            (Judgement::Good, Phase::HalfOpen { round, number }) => {
                *number += 1;
                *round = Round::new(round.size().saturating_mul(2));
            }
            (Judgement::Good | Judgement::Undecided, _) => {}
        }
    }

    fn open(&mut self, policy: &Policy, now: Instant, chance: f64) {
        self.generation += 1;
        self.breaks = self.breaks.saturating_add(1);
        let until = now + policy.jittered(policy.pause(self.breaks), chance);
        self.phase = Phase::Open { until };
    }

    fn close(&mut self) {
        self.generation += 1;
        self.era = self.era.wrapping_add(1);
        self.breaks = 0;
        self.phase = Phase::Closed;
    }

    fn probe_slow_after(&self, policy: &Policy, median: Option<Duration>) -> Duration {
        policy.probe_slow_after(median, policy.pause(self.breaks))
    }

    fn transition_from(&self, from: State) -> Option<Transition> {
        let to = self.state();
        (from != to).then_some(Transition { from, to })
    }
}
