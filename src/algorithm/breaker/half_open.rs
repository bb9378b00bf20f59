//! The half-open state: a few calls are let through as probes, and their answers are judged together.
//!
//! Slow start: one probe at first, and one more at a time for each that was answered well, which makes 1, 2, 4, 8 of them. A probe
//! that failed gives its place to the next one, so the dependency is never asked for more than what it has shown to bear. The
//! answers of the whole phase are one sample, judged by the rates of the closed state: what a closed breaker tolerates must be able
//! to close an open one.
//!
//! A place is never held for long. It is free again once the probe is over, or has had a head for as long as the slow threshold
//! (it was answered then, however long the rest takes), or has been without a head for that long since it was first sent (its answer
//! still counts, until it is called hanging), or was not sent for that long. How often its upload has paused meanwhile is nothing to
//! its place; that only decides whether the dependency is slow with it.

use super::policy::{Policy, Thresholds};
use crate::algorithm::evidence::Evidence;
use crate::ground::time::Instant;

/// So many failed probes end the phase, if none was answered well.
const LOST: u32 = 3;

/// So many probes in a row without any answer end the phase, whatever was answered before them.
const UNANSWERED: u32 = 10;

/// How many probes are remembered that have lost their places while they were not with the dependency.
const REMEMBERED: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct HalfOpen {
    /// So many answers close the breaker, if enough of them are good.
    enough: u32,
    answered: u32,
    failures: u32,
    slow: u32,
    /// How many were answered as a closed breaker wants them: not failed, and not slow where slowness counts.
    well: u32,
    /// How many probes in a row ended without an answer.
    unanswered: u32,
    probes: Vec<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    stage: Stage,
    /// When it was first sent, or before that, when it was admitted.
    since: Instant,
    was_sent: bool,
    holds_place: bool,
    /// The dependency is at work on it for as long as the slow threshold, without a pause.
    is_late: bool,
}

/// Where a probe is, and since when, where that matters.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nobody has polled it yet, or it waits in a queue of ours, or for the producer of its upload.
    Idle,
    /// The dependency is at work on it.
    Sent(Instant),
    /// Its head is there.
    Answered(Instant, Evidence),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Judgement {
    Undecided,
    Good,
    Failed,
}

impl HalfOpen {
    pub(super) fn new(policy: &Policy) -> Self {
        // 1 + 2 + 4 + …
        let enough = 1_u32.checked_shl(policy.rounds.max(1)).map_or(u32::MAX, |sum| sum - 1);
        Self { enough, answered: 0, failures: 0, slow: 0, well: 0, unanswered: 0, probes: Vec::new() }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.probes.len() as u32
    }

    /// Whether nothing was answered well in this phase.
    pub(super) fn is_lost(&self) -> bool {
        self.well == 0
    }

    pub(super) fn has_answers(&self) -> bool {
        self.answered > 0
    }

    pub(super) fn knows(&self, id: u64) -> bool {
        self.probes.iter().any(|probe| probe.id == id)
    }

    pub(super) fn has_place(&self) -> bool {
        let holding = self.count_probes(|probe| probe.holds_place);
        // No more than it takes to judge, either way.
        let left = if self.well == 0 {
            let lost = self.answered.saturating_add(self.unanswered).saturating_add(self.waited_for());
            LOST.saturating_sub(lost).min(self.enough.saturating_sub(self.answered))
        } else {
            self.enough.saturating_sub(self.answered)
        };
        holding <= self.well && holding < left
    }

    /// Probes that the dependency is slow with.
    fn waited_for(&self) -> u32 {
        self.count_probes(|probe| probe.is_late && matches!(probe.stage, Stage::Sent(_)))
    }

    fn count_probes(&self, wanted: impl Fn(&InFlight) -> bool) -> u32 {
        self.probes.iter().filter(|probe| wanted(probe)).count() as u32
    }

    /// Takes a place for a probe, which nobody has polled yet.
    pub(super) fn admit(&mut self, id: u64, now: Instant) {
        self.probes.push(InFlight {
            id,
            stage: Stage::Idle,
            since: now,
            was_sent: false,
            holds_place: true,
            is_late: false,
        });
    }

    /// The dependency is at work on the probe, or no longer.
    pub(super) fn set_sent(&mut self, id: u64, sent: bool, now: Instant) {
        let Some(probe) = self.find(id) else { return };
        match (probe.stage, sent) {
            // An upload may go on beside the answer, which stays one.
            (Stage::Answered(..), _) | (Stage::Sent(_), true) => {}
            (Stage::Idle | Stage::Sent(_), false) => {
                probe.stage = Stage::Idle;
                probe.is_late = false;
            }
            (Stage::Idle, true) => {
                probe.stage = Stage::Sent(now);
                if !probe.was_sent {
                    probe.was_sent = true;
                    probe.since = now;
                }
            }
        }
    }

    /// The head of the probe's answer is there, and says this.
    pub(super) fn set_head(&mut self, id: u64, says: Evidence, now: Instant) {
        if let Some(probe) = self.find(id) {
            probe.stage = Stage::Answered(now, says);
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut InFlight> {
        self.probes.iter_mut().find(|probe| probe.id == id)
    }

    /// The probe is over. One that is not known any more was judged before.
    pub(super) fn settle(&mut self, id: u64, end: Evidence, thresholds: &Thresholds, policy: &Policy) -> Judgement {
        let Some(place) = self.probes.iter().position(|probe| probe.id == id) else { return Judgement::Undecided };
        self.probes.swap_remove(place);
        self.count(end, thresholds, policy);
        self.judge(policy)
    }

    /// Judges what time alone decides: probes that have been in flight for long.
    pub(super) fn look(&mut self, thresholds: &Thresholds, policy: &Policy, now: Instant) -> Judgement {
        let mut over = Vec::new();
        self.probes.retain_mut(|probe| match probe.stage {
            Stage::Answered(since, says) if now.since(since) >= thresholds.place => {
                over.push(says);
                false
            }
            Stage::Sent(since) if now.since(since) >= thresholds.hangs => {
                over.push(Evidence::TimedOut);
                false
            }
            Stage::Sent(since) => {
                probe.is_late |= now.since(since) >= thresholds.place;
                probe.holds_place &= now.since(probe.since) < thresholds.place;
                true
            }
            Stage::Idle => {
                probe.holds_place &= now.since(probe.since) < thresholds.place;
                true
            }
            Stage::Answered(..) => true,
        });
        for end in over {
            self.count(end, thresholds, policy);
        }
        self.forget();
        self.judge(policy)
    }

    /// When time alone decides something next.
    pub(super) fn next_look(&self, thresholds: &Thresholds) -> Option<Instant> {
        let next = |probe: &InFlight| {
            let decided = match probe.stage {
                Stage::Answered(since, _) => return Some(since + thresholds.place),
                Stage::Sent(since) if probe.is_late => Some(since + thresholds.hangs),
                Stage::Sent(since) => Some(since + thresholds.place.min(thresholds.hangs)),
                Stage::Idle => None,
            };
            let place = probe.holds_place.then(|| probe.since + thresholds.place);
            decided.into_iter().chain(place).min()
        };
        self.probes.iter().filter_map(next).min()
    }

    /// Probes that never come back, such as a future that was leaked, must not fill memory.
    fn forget(&mut self) {
        while self.probes.len() > REMEMBERED {
            let Some(oldest) = self.probes.iter().position(|probe| !probe.holds_place) else { return };
            self.probes.remove(oldest);
        }
    }

    fn count(&mut self, end: Evidence, thresholds: &Thresholds, policy: &Policy) {
        let (failed, slow) = match end {
            Evidence::Good(took) => (false, took >= thresholds.slow),
            Evidence::Alive => (false, false),
            Evidence::Bad(took) => (true, took >= thresholds.slow),
            Evidence::TimedOut | Evidence::GivenUpLate => (true, true),
            Evidence::Unanswered | Evidence::Unsent => {
                self.unanswered = self.unanswered.saturating_add(1);
                return;
            }
            Evidence::Nothing => return,
        };
        self.unanswered = 0;
        self.answered = self.answered.saturating_add(1);
        self.failures += u32::from(failed);
        self.slow += u32::from(slow);
        self.well += u32::from(!(failed || slow && policy.slow_rate.is_some()));
    }

    fn judge(&self, policy: &Policy) -> Judgement {
        let lost = self.well == 0 && self.answered.saturating_add(self.unanswered) >= LOST;
        // Rates over all of the phase, not over the answers so far: failed is what the missing answers cannot mend. Beside probes that
        // are answered well, those that are waited for are slow already.
        let enough = f64::from(self.enough);
        let slow = self.slow + if self.well == 0 { 0 } else { self.waited_for() };
        if lost
            || self.unanswered >= UNANSWERED
            || policy.too_many_failures(f64::from(self.failures), enough)
            || policy.too_many_slow(f64::from(slow), enough)
        {
            Judgement::Failed
        } else if self.answered >= self.enough {
            Judgement::Good
        } else {
            Judgement::Undecided
        }
    }
}
