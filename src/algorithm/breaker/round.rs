//! One round of probes: so many calls are let through, and all of their answers together decide.

use std::time::Duration;

use super::policy::Policy;
use crate::algorithm::evidence::Evidence;
use crate::ground::time::Instant;

/// How many probes in a row may be given up early before that counts as an answer too: a callee that hangs while its callers
/// are impatient must not be probed for ever.
const PATIENCE: u32 = 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Round {
    /// How many probes this round consists of.
    size: u32,
    answered: u32,
    failures: u32,
    slow: u32,
    /// How many probes were given up since the last answer.
    given_up: u32,
    in_flight: Vec<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    /// Since when the callee has been at it; `None` while the call waits in a queue of ours.
    since: Option<Instant>,
}

impl InFlight {
    fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        self.since.is_some_and(|since| now.since(since) >= age)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Judgement {
    Undecided,
    Good,
    Failed,
}

impl Round {
    pub(super) fn new(size: u32) -> Self {
        Self { size: size.max(1), answered: 0, failures: 0, slow: 0, given_up: 0, in_flight: Vec::new() }
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.len() as u32
    }

    /// Takes a place for a probe, if there is one.
    pub(super) fn admit(&mut self, id: u64, now: Instant) -> bool {
        let free = self.answered + self.in_flight() < self.size;
        if free {
            self.in_flight.push(InFlight { id, since: Some(now) });
        }
        free
    }

    /// The probe is over. One that is not known any more was judged before.
    pub(super) fn settle(&mut self, id: u64, end: Evidence, slow_after: Duration, policy: &Policy) -> Judgement {
        let Some(place) = self.in_flight.iter().position(|probe| probe.id == id) else {
            return Judgement::Undecided;
        };
        self.in_flight.swap_remove(place);
        match end {
            Evidence::Good(took) => self.answer(false, took >= slow_after),
            Evidence::Bad(took) => self.answer(true, took >= slow_after),
            Evidence::TimedOut | Evidence::GivenUpLate => self.answer(true, true),
            Evidence::Alive | Evidence::Unanswered | Evidence::Unsent | Evidence::Nothing => {}
        }
        self.judge(policy)
    }

    /// The caller gave the probe up early: its place is free again.
    pub(super) fn give_up(&mut self, id: u64) -> Judgement {
        let before = self.in_flight.len();
        self.in_flight.retain(|probe| probe.id != id);
        self.given_up += u32::from(self.in_flight.len() < before);
        if self.given_up >= PATIENCE { Judgement::Failed } else { Judgement::Undecided }
    }

    /// Probes in flight for longer than `slow_after` are slow already, and those for longer than `hangs_after` have failed: no
    /// answer of theirs is waited for.
    pub(super) fn judge_in_flight(
        &mut self,
        now: Instant,
        slow_after: Duration,
        hangs_after: Duration,
        policy: &Policy,
    ) -> Judgement {
        let before = self.in_flight.len();
        self.in_flight.retain(|probe| !probe.is_older_than(hangs_after, now));
        for _ in self.in_flight.len()..before {
            self.answer(true, true);
        }
        let slow = self.in_flight.iter().filter(|probe| probe.is_older_than(slow_after, now)).count();
        if policy.too_many_slow(f64::from(self.slow) + slow as f64, f64::from(self.size)) {
            return Judgement::Failed;
        }
        self.judge(policy)
    }

    /// The probe waits in a queue of ours, or no longer does: what hangs there is not the callee.
    pub(super) fn set_local_wait(&mut self, id: u64, since: Option<Instant>) {
        if let Some(probe) = self.in_flight.iter_mut().find(|probe| probe.id == id) {
            probe.since = since;
        }
    }

    /// When the first probe in flight will have been hanging, if none is answered.
    pub(super) fn next_judgement(&self, slow_after: Duration) -> Option<Instant> {
        self.in_flight.iter().filter_map(|probe| probe.since).min().map(|since| since + slow_after)
    }

    fn answer(&mut self, failed: bool, slow: bool) {
        self.given_up = 0;
        self.answered += 1;
        self.failures += u32::from(failed);
        self.slow += u32::from(slow);
    }

    fn judge(&self, policy: &Policy) -> Judgement {
        // Rates over the whole round, not over the answers so far: failed is what the missing answers cannot mend.
        let size = f64::from(self.size);
        if policy.too_many_failures(f64::from(self.failures), size) || policy.too_many_slow(f64::from(self.slow), size)
        {
            Judgement::Failed
        } else if self.answered >= self.size {
            Judgement::Good
        } else {
            Judgement::Undecided
        }
    }
}
