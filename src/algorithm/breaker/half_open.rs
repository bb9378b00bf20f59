//! The half-open state: a few calls pass as probes, and their answers are judged together.
//!
//! Slow start: the phase begins with one probe, and each good answer allows one more at a time, which makes rounds of 1, 2, 4 and
//! 8. A failed probe frees its slot for the next one, so the dependency never gets more load than it has proved to bear. The
//! answers of the whole phase are one sample, judged by the rates of the closed state: failures that a closed breaker tolerates
//! must be able to close an open one.
//!
//! A probe holds its slot for a bounded time. The slot is released when one of these holds:
//!
//! * the probe is over;
//! * its head arrived one slow threshold ago: the probe counts as answered then, however long its body takes;
//! * it was first sent one slow threshold ago and has no head: its answer still counts until the hang timeout;
//! * it was admitted one slow threshold ago and has not been sent.
//!
//! Pauses of its upload do not extend the slot. They decide only whether the dependency is slow with the probe.

use super::policy::{BreakerPolicy, Thresholds};
use crate::algorithm::evidence::Evidence;
use crate::ground::time::Instant;

/// Without a good answer, this many failed probes end the phase.
const MAX_FAILED_WITHOUT_GOOD: u32 = 3;

/// This many consecutive probes without an answer end the phase, whatever was answered before.
const MAX_UNANSWERED: u32 = 10;

/// The most probes without a slot that are kept. More would be leaked futures, which must not fill memory.
const MAX_WITHOUT_SLOT: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct HalfOpen {
    /// This many answers close the breaker, if enough of them are good.
    required: u32,
    answered: u32,
    failures: u32,
    slow: u32,
    /// Answers that did not fail, and were not slow where slowness counts.
    good: u32,
    /// Consecutive probes that ended without an answer.
    unanswered: u32,
    /// No probe has proved anything but that its connection was refused.
    is_unreachable: bool,
    probes: Vec<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    stage: ProbeStage,
    /// When the probe was first sent; before that, when it was admitted.
    since: Instant,
    was_sent: bool,
    holds_slot: bool,
    /// The dependency has been processing it for the slow threshold, without a pause.
    is_overdue: bool,
}

/// The stage of a probe, with its start where that matters.
#[derive(Clone, Copy, Debug)]
enum ProbeStage {
    /// Not polled yet, or waiting in a queue of seawall or for the producer of its upload.
    Idle,
    /// The dependency is processing it.
    Sent(Instant),
    /// The head of its answer has arrived.
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
    pub(super) fn new(policy: &BreakerPolicy) -> Self {
        // 1 + 2 + 4 + …
        let required = 1_u32.checked_shl(policy.rounds.max(1)).map_or(u32::MAX, |sum| sum - 1);
        Self {
            required,
            answered: 0,
            failures: 0,
            slow: 0,
            good: 0,
            unanswered: 0,
            is_unreachable: true,
            probes: Vec::new(),
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.probes.len() as u32
    }

    /// Whether a probe was answered in time, well or badly.
    pub(super) fn has_quick_answer(&self) -> bool {
        self.good > 0 || self.answered > self.slow
    }

    pub(super) fn has_answers(&self) -> bool {
        self.answered > 0
    }

    /// Whether all that the probes have shown is that connections are refused.
    pub(super) fn is_unreachable(&self) -> bool {
        self.is_unreachable && self.unanswered > 0
    }

    pub(super) fn has_probe(&self, id: u64) -> bool {
        self.probes.iter().any(|probe| probe.id == id)
    }

    pub(super) fn has_free_slot(&self) -> bool {
        let holding = self.count_probes(|probe| probe.holds_slot);
        // No more probes than a judgement either way needs.
        let left = if self.good == 0 {
            let failed = self.answered.saturating_add(self.unanswered).saturating_add(self.slow_in_flight());
            MAX_FAILED_WITHOUT_GOOD.saturating_sub(failed).min(self.required.saturating_sub(self.answered))
        } else {
            self.required.saturating_sub(self.answered)
        };
        holding <= self.good && holding < left
    }

    /// Sent probes past the slow threshold.
    fn slow_in_flight(&self) -> u32 {
        self.count_probes(|probe| probe.is_overdue && matches!(probe.stage, ProbeStage::Sent(_)))
    }

    fn count_probes(&self, wanted: impl Fn(&InFlight) -> bool) -> u32 {
        self.probes.iter().filter(|probe| wanted(probe)).count() as u32
    }

    /// Adds a probe, which has not been polled yet.
    pub(super) fn admit(&mut self, id: u64, now: Instant) {
        self.probes.push(InFlight {
            id,
            stage: ProbeStage::Idle,
            since: now,
            was_sent: false,
            holds_slot: true,
            is_overdue: false,
        });
    }

    /// Records whether the dependency is processing the probe.
    pub(super) fn set_sent(&mut self, id: u64, sent: bool, now: Instant) {
        let Some(probe) = self.find(id) else { return };
        match (probe.stage, sent) {
            // An upload may continue after the head has arrived; the probe stays answered.
            (ProbeStage::Answered(..), _) | (ProbeStage::Sent(_), true) => {}
            (ProbeStage::Idle | ProbeStage::Sent(_), false) => {
                probe.stage = ProbeStage::Idle;
                probe.is_overdue = false;
            }
            (ProbeStage::Idle, true) => {
                probe.stage = ProbeStage::Sent(now);
                if !probe.was_sent {
                    probe.was_sent = true;
                    probe.since = now;
                }
            }
        }
    }

    /// The head of the probe's answer has arrived, with this evidence.
    pub(super) fn set_head(&mut self, id: u64, evidence: Evidence, now: Instant) {
        if let Some(probe) = self.find(id) {
            probe.stage = ProbeStage::Answered(now, evidence);
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut InFlight> {
        self.probes.iter_mut().find(|probe| probe.id == id)
    }

    /// Records the end of a probe. An unknown probe was judged before, and does nothing.
    pub(super) fn record(
        &mut self,
        id: u64,
        end: Evidence,
        thresholds: &Thresholds,
        policy: &BreakerPolicy,
    ) -> Judgement {
        let Some(index) = self.probes.iter().position(|probe| probe.id == id) else { return Judgement::Undecided };
        self.probes.swap_remove(index);
        self.count(end, thresholds, policy);
        self.judge(policy)
    }

    /// Judges probes by the time they have been in flight.
    pub(super) fn check(&mut self, thresholds: &Thresholds, policy: &BreakerPolicy, now: Instant) -> Judgement {
        let mut over = Vec::new();
        self.probes.retain_mut(|probe| match probe.stage {
            ProbeStage::Answered(since, evidence) if now.since(since) >= thresholds.slot_timeout => {
                over.push(evidence);
                false
            }
            ProbeStage::Sent(since) if now.since(since) >= thresholds.hang_timeout => {
                over.push(Evidence::TimedOut);
                false
            }
            ProbeStage::Sent(since) => {
                probe.is_overdue |= now.since(since) >= thresholds.slot_timeout;
                probe.holds_slot &= now.since(probe.since) < thresholds.slot_timeout;
                true
            }
            ProbeStage::Idle => {
                probe.holds_slot &= now.since(probe.since) < thresholds.slot_timeout;
                true
            }
            ProbeStage::Answered(..) => true,
        });
        for end in over {
            self.count(end, thresholds, policy);
        }
        self.drop_leaked();
        self.judge(policy)
    }

    /// The next instant at which [`Self::check`] may change something.
    pub(super) fn next_check(&self, thresholds: &Thresholds) -> Option<Instant> {
        let next = |probe: &InFlight| {
            let decided = match probe.stage {
                ProbeStage::Answered(since, _) => return Some(since + thresholds.slot_timeout),
                ProbeStage::Sent(since) if probe.is_overdue => Some(since + thresholds.hang_timeout),
                ProbeStage::Sent(since) => Some(since + thresholds.slot_timeout.min(thresholds.hang_timeout)),
                ProbeStage::Idle => None,
            };
            let release = probe.holds_slot.then(|| probe.since + thresholds.slot_timeout);
            decided.into_iter().chain(release).min()
        };
        self.probes.iter().filter_map(next).min()
    }

    /// Drops the oldest probes without a slot. Leaked futures never return theirs, and would fill memory.
    fn drop_leaked(&mut self) {
        while self.probes.len() > MAX_WITHOUT_SLOT {
            let Some(oldest) = self.probes.iter().position(|probe| !probe.holds_slot) else { return };
            self.probes.remove(oldest);
        }
    }

    fn count(&mut self, end: Evidence, thresholds: &Thresholds, policy: &BreakerPolicy) {
        let (failed, slow) = match end {
            Evidence::Good(took) => (false, took >= thresholds.slow),
            Evidence::Alive => (false, false),
            Evidence::Bad(took) => (true, took >= thresholds.slow),
            Evidence::TimedOut | Evidence::GivenUpLate => (true, true),
            Evidence::Unanswered | Evidence::Unsent | Evidence::Unreachable(_) => {
                self.is_unreachable &= matches!(end, Evidence::Unreachable(took) if took < thresholds.slot_timeout);
                self.unanswered = self.unanswered.saturating_add(1);
                return;
            }
            Evidence::Nothing => return,
        };
        self.unanswered = 0;
        self.is_unreachable = false;
        self.answered = self.answered.saturating_add(1);
        self.failures += u32::from(failed);
        self.slow += u32::from(slow);
        self.good += u32::from(!(failed || slow && policy.slow_rate.is_some()));
    }

    fn judge(&self, policy: &BreakerPolicy) -> Judgement {
        let failed = self.good == 0 && self.answered.saturating_add(self.unanswered) >= MAX_FAILED_WITHOUT_GOOD;
        // Rates are over the planned size of the phase, not over the answers so far: it has failed once the missing answers cannot
        // lower the rate enough. Once there is a good answer, a sent probe past the slow threshold already counts as slow.
        let required = f64::from(self.required);
        let slow = self.slow + if self.good == 0 { 0 } else { self.slow_in_flight() };
        if failed
            || self.unanswered >= MAX_UNANSWERED
            || policy.too_many_failures(f64::from(self.failures), required)
            || policy.too_many_slow(f64::from(slow), required)
        {
            Judgement::Failed
        } else if self.answered >= self.required {
            Judgement::Good
        } else {
            Judgement::Undecided
        }
    }
}
