//! The state that calls read without the lock. Refusals need no more, so they wait for nobody, and their cost does not depend on
//! the number of probes.
//!
//! The owner publishes it after each step of the machine, as a whole. A call that reads a state from before a step asks the machine
//! too early, or is refused once more.

use std::time::Duration;

use super::outage::Outage;
use super::pass::LastResort;
use super::time_left::TimeLeft;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

/// This many refused calls end a break that is longer than the first. A dependency that does not answer gets three probes a break,
/// so probes are at most about one in a hundred calls.
const REFUSED_ENOUGH: u64 = 300;

/// A break in which no call passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) generation: u64,
    /// The start of the outage: of the first break since the breaker was closed.
    pub(crate) outage_since: Instant,
}

/// What calls do without asking the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FastPath {
    /// Calls pass, and are counted.
    Closed,
    /// All calls pass, and nothing is counted.
    Free,
    /// No call passes, for an unknown time.
    ForcedOpen,
    /// No call passes before `until`. From `earliest` on, enough refused calls end the break sooner.
    RefuseUntil { until: Instant, earliest: Option<Instant> },
    /// All calls pass before `until`, and nothing is counted. After that the machine decides.
    FreeUntil { until: Instant },
    /// The machine has to decide: a slot for a probe may be free. An observing breaker refuses nothing.
    Decide { may_refuse: bool },
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(super) generation: u64,
    pub(super) path: FastPath,
    /// The slow threshold: a probe has at least as much time left, if any call has.
    pub(super) threshold: Duration,
    /// The longest retry-after: probes may be answered long before the end of `path`.
    pub(super) try_again: Duration,
    pub(super) outage: Option<Outage>,
}

/// The decision for a call without the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum WithoutLock {
    /// The call passes.
    Free,
    /// The call does not pass. The duration is the time until another try may pass, if that is known.
    Refused(Option<Duration>),
    /// The machine has to decide.
    Decide { may_probe: bool, refused_enough: bool },
}

impl Published {
    /// Whether `self` follows a transition that `before` does not know.
    pub(crate) fn is_after(&self, before: &Self) -> bool {
        self.generation != before.generation
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.path == FastPath::Closed
    }

    /// Whether all calls pass.
    pub(crate) fn admits_all(&self) -> bool {
        match self.path {
            FastPath::Closed | FastPath::Free | FastPath::Decide { may_refuse: false } => true,
            // An observing breaker refuses nothing.
            FastPath::FreeUntil { .. } => true,
            FastPath::ForcedOpen | FastPath::RefuseUntil { .. } | FastPath::Decide { may_refuse: true } => false,
        }
    }

    /// The outage that refusals report.
    pub(crate) fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// Until when no call passes, as far as time alone decides.
    pub(crate) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        match self.path {
            FastPath::ForcedOpen => Some(Instant::MAX),
            FastPath::RefuseUntil { until, .. } => Some(until).filter(|until| *until > now),
            _ => None,
        }
    }

    /// The pass of a call for want of another endpoint. `None` unless calls are refused only because connections are.
    pub(crate) fn last_resort(&self) -> Option<LastResort> {
        let is_unreachable = self.outage.is_some_and(|outage| outage.is_unreachable()) && !self.admits_all();
        is_unreachable.then_some(LastResort { generation: self.generation })
    }

    /// The break that is under way. A half-open breaker is in none, and one that is forced open neither.
    pub(crate) fn current_break(&self, now: Instant) -> Option<Break> {
        match self.path {
            FastPath::RefuseUntil { until, earliest: Some(_) } if now < until => {
                Some(Break { generation: self.generation, outage_since: self.outage?.since() })
            }
            _ => None,
        }
    }

    fn refused(&self, wait: Duration) -> WithoutLock {
        WithoutLock::Refused(Some(wait.min(self.try_again)))
    }
}

/// What refused calls count.
#[derive(Debug)]
pub(crate) struct Refusals {
    /// Calls refused in this break.
    refused: AtomicU64,
    time_left: TimeLeft,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self { refused: AtomicU64::new(0), time_left: TimeLeft::new() }
    }

    /// The machine is in a new break until `until`. `first`: it was closed before.
    pub(crate) fn begin_break(&self, first: bool, until: Instant, published: &Published, now: Instant) {
        self.refused.store(0, Ordering::Relaxed);
        let length = until.since(now).max(published.threshold).saturating_mul(2);
        self.time_left.begin_break(first, until, length);
    }

    /// Decides about a call with `left` time, in constant time and without a lock.
    pub(crate) fn answer(&self, published: &Published, left: Duration, now: Instant) -> WithoutLock {
        let (mut refused_enough, mut may_refuse) = (false, true);
        match published.path {
            FastPath::Closed => return WithoutLock::Decide { may_probe: false, refused_enough },
            FastPath::Free => return WithoutLock::Free,
            FastPath::ForcedOpen => return WithoutLock::Refused(None),
            FastPath::RefuseUntil { .. } | FastPath::FreeUntil { .. } | FastPath::Decide { .. } => {
                self.time_left.record(left);
            }
        }
        match published.path {
            FastPath::FreeUntil { until } if now < until => return WithoutLock::Free,
            FastPath::FreeUntil { .. } => may_refuse = false,
            FastPath::Decide { may_refuse: decided } => may_refuse = decided,
            FastPath::RefuseUntil { until, earliest } => {
                refused_enough = earliest.is_some_and(|earliest| self.is_refused_enough(earliest, now));
                if now < until && !refused_enough {
                    return published.refused(until.since(now));
                }
            }
            FastPath::Closed | FastPath::Free | FastPath::ForcedOpen => {}
        }
        let may_probe = self.time_left.is_enough(left, published.threshold, now);
        if may_probe || !may_refuse {
            WithoutLock::Decide { may_probe, refused_enough }
        } else {
            published.refused(published.threshold)
        }
    }

    fn is_refused_enough(&self, earliest: Instant, now: Instant) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed) >= REFUSED_ENOUGH && now >= earliest
    }
}
