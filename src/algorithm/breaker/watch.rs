//! What a breaker counts of its calls, and which counts open it while it is closed.
//!
//! The page of the [module above](super) has the five conditions.
//!
//! The first call of each cohort checks the calls in flight, and so does a timer while any are in flight. A hang needs two checks,
//! at least an eighth of the threshold apart: after a pause of this process the answers have arrived but are not read yet, and must
//! not look like a hang of the dependency. Two checks far apart prove nothing either, since the process may have stood still
//! between them.

use std::time::Duration;

use super::ages::{Age, Ages};
use super::detect;
use super::median::Median;
use super::policy::BreakerPolicy;
use super::streak::{Length, Streak};
use super::window::{CallOutcome, OutcomeCounts, OutcomeWindow, Span};
use crate::algorithm::evidence::Evidence;
use crate::ground::error::Trip;
use crate::ground::time::Instant;

/// So many calls in a row that an endpoint among others did not take, over so long, open its breaker. A connection that ends gracefully
/// gives back many calls at one moment, and the next call finds a new connection.
const UNREACHABLE_STREAK: u64 = 5;
const UNREACHABLE_FOR: Duration = Duration::from_millis(100);

/// Two checks that are at most this far apart can confirm a hang, however short the threshold.
const MAX_CHECK_GAP: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    window: OutcomeWindow,
    ages: Ages,
    median: Median,
    streak: Streak,
    last_good: Option<Instant>,
    /// The last bad call or the end of the last break, whichever is later.
    last_bad: Option<Instant>,
    /// Since when checks of the calls in flight have suspected a hang.
    suspicious_since: Option<Instant>,
}

impl Watch {
    pub(super) fn new(span: Span) -> Self {
        Self {
            window: OutcomeWindow::new(span),
            ages: Ages::new(),
            median: Median::new(),
            streak: Streak::default(),
            last_good: None,
            last_bad: None,
            suspicious_since: None,
        }
    }

    /// Discards all counts. The median stays, and so does `last_bad`.
    pub(super) fn clear(&mut self, now: Instant) {
        self.window.clear();
        self.ages.clear();
        self.streak = Streak::default();
        self.last_good = Some(now);
        self.suspicious_since = None;
    }

    /// Counts calls in another window from now on. Returns the former one.
    pub(super) fn replace_window(&mut self, window: OutcomeWindow) -> OutcomeWindow {
        std::mem::replace(&mut self.window, window)
    }

    /// Counts a call that begins. The trip is set if the calls in flight show that the dependency hangs; the call is not counted
    /// then.
    #[inline]
    pub(super) fn enter(&mut self, policy: &BreakerPolicy, now: Instant) -> Result<Age, Trip> {
        // The floor is the shortest threshold, so that most calls need not know the current one.
        match self.ages.join(now, policy.floor()) {
            Some(age) => Ok(age),
            None => self.enter_and_check(policy, now),
        }
    }

    fn enter_and_check(&mut self, policy: &BreakerPolicy, now: Instant) -> Result<Age, Trip> {
        let threshold = self.overdue_after(policy);
        let (age, is_first) = self.ages.begin(now, threshold);
        if is_first {
            if let Some(trip) = self.confirmed_hang(policy, now, threshold) {
                self.ages.end(age);
                return Err(trip);
            }
        }
        Ok(age)
    }

    /// Starts the age of a call that the dependency is processing (again).
    pub(super) fn start_aging(&mut self, policy: &BreakerPolicy, now: Instant) -> Age {
        self.ages.begin(now, self.overdue_after(policy)).0
    }

    /// Stops the age of a call that the dependency has answered, or that has not been sent yet.
    #[inline]
    pub(super) fn stop_aging(&mut self, age: Age) {
        self.ages.end(age);
    }

    /// Records the end of a call. `Some`: it opens the breaker.
    #[inline]
    pub(super) fn record(&mut self, end: Evidence, policy: &BreakerPolicy, now: Instant) -> Option<Trip> {
        if let Evidence::Good(took) = end {
            self.median.record(took);
        }
        let outcome = match end {
            Evidence::Good(took) => Some(CallOutcome { failure: false, slow: self.is_slow(took, policy) }),
            Evidence::Bad(took) => Some(CallOutcome { failure: true, slow: self.is_slow(took, policy) }),
            Evidence::TimedOut => Some(CallOutcome { failure: true, slow: true }),
            Evidence::GivenUpLate => Some(CallOutcome { failure: false, slow: true }),
            Evidence::Alive | Evidence::Unanswered | Evidence::Unsent | Evidence::Unreachable(_) => None,
            Evidence::Nothing => return None,
        };
        let streak_trip = match end {
            Evidence::Good(_) | Evidence::Alive => {
                self.last_good = self.last_good.max(Some(now));
                self.streak = Streak::default();
                None
            }
            _ => self.extend_streak(end, policy, now),
        };
        if outcome.is_some_and(CallOutcome::is_bad) {
            self.set_last_bad(now);
        }
        let anything_bad = outcome.is_some_and(|outcome| self.window.add(now, outcome));
        streak_trip.or_else(|| anything_bad.then(|| detect::rates(self.window.counts(now), policy)).flatten())
    }

    /// A call without a good answer has ended.
    #[cold]
    fn extend_streak(&mut self, end: Evidence, policy: &BreakerPolicy, now: Instant) -> Option<Trip> {
        self.set_last_bad(now);
        if matches!(end, Evidence::Bad(_) | Evidence::TimedOut) {
            let streak = self.streak.add_bad(now);
            return policy.is_failure_streak(streak.bad).then(|| detect::consecutive(streak));
        }
        // Many callers that give up at the same time, or a connection that closes with its calls, leave such a streak between two
        // good answers.
        let streak = self.streak.add_unanswered(now);
        let is_unreachable = matches!(end, Evidence::Unreachable(_)) && streak.total() >= UNREACHABLE_STREAK;
        let threshold = if is_unreachable { UNREACHABLE_FOR } else { policy.slow_or_floor(self.median(policy)) };
        let has_no_answers = (is_unreachable || policy.is_unanswered_streak(streak.total()))
            && self.streak.age(now) >= threshold
            && self.since_last_good(now) >= threshold;
        has_no_answers.then(|| detect::unanswered(streak, self.is_refused_at_once(end, policy)))
    }

    /// Whether the connection was refused, rather than that nobody answered the attempt to connect.
    pub(super) fn is_refused_at_once(&self, end: Evidence, policy: &BreakerPolicy) -> bool {
        matches!(end, Evidence::Unreachable(took) if took < policy.slow_or_floor(self.median(policy)))
    }

    /// A bad call has ended, or a break ends at `at`.
    pub(super) fn set_last_bad(&mut self, at: Instant) {
        self.last_bad = self.last_bad.max(Some(at));
    }

    /// Checks the calls in flight, for a timer.
    pub(super) fn check(&mut self, policy: &BreakerPolicy, now: Instant) -> Option<Trip> {
        self.confirmed_hang(policy, now, self.overdue_after(policy))
    }

    /// When the next check is due; `None`: no call in flight can become overdue.
    pub(super) fn next_check(&self, policy: &BreakerPolicy, now: Instant) -> Option<Instant> {
        let oldest = self.ages.oldest(now)?;
        let threshold = self.overdue_after(policy);
        if self.suspicious_since.is_some() {
            return Some(now + confirmed_after(threshold));
        }
        let soon = now + threshold / 4;
        // The first answers may shorten the threshold a lot.
        let late = now + policy.slow_or_floor(self.median(policy));
        Some((oldest + threshold).clamp(soon.min(late), late))
    }

    /// Records the latency of a good probe. Samples from before the break are stale, so the first good probe restarts the median.
    pub(super) fn measure_probe(&mut self, took: Duration, first: bool) {
        if first {
            self.median.restart(took);
        } else {
            self.median.record(took);
        }
    }

    /// The median success; `None` with too few samples.
    #[inline]
    pub(super) fn median(&self, policy: &BreakerPolicy) -> Option<Duration> {
        self.median.after(policy.minimum_calls)
    }

    pub(super) fn counts_over(&self, span: Span) -> bool {
        self.window.covers(span)
    }

    /// The calls of the window.
    pub(super) fn counts(&self, now: Instant) -> OutcomeCounts {
        self.window.counts(now)
    }

    /// The calls that the dependency is processing, and how many of them are overdue.
    pub(super) fn in_flight(&self, policy: &BreakerPolicy, now: Instant) -> (u64, u64) {
        (self.ages.in_flight(), self.ages.overdue(now, self.overdue_after(policy)))
    }

    /// Whether no break and no bad outcome is younger than the longest break. Good calls alone are no loss.
    pub(super) fn is_as_new(&self, policy: &BreakerPolicy, now: Instant) -> bool {
        self.last_bad.is_none_or(|last_bad| now.since(last_bad) > policy.max_break.max(self.window.length()))
    }

    #[inline]
    fn is_slow(&self, took: Duration, policy: &BreakerPolicy) -> bool {
        took >= policy.floor() && policy.slow_after(self.median(policy)).is_some_and(|after| took >= after)
    }

    #[inline]
    fn overdue_after(&self, policy: &BreakerPolicy) -> Duration {
        policy.overdue_after(self.median(policy))
    }

    /// The trip by the calls in flight, if two checks agree that the dependency hangs.
    fn confirmed_hang(&mut self, policy: &BreakerPolicy, now: Instant, threshold: Duration) -> Option<Trip> {
        policy.slow_rate?;
        let trip = match self.ages.overdue(now, threshold) {
            0 => None,
            overdue => detect::overdue(self.window.counts(now), overdue, policy)
                .or_else(|| self.stall(overdue, policy, now, threshold)),
        };
        let Some(trip) = trip else {
            self.suspicious_since = None;
            return None;
        };
        let apart = self.suspicious_since.map(|since| now.since(since));
        let Some(apart) = apart.filter(|apart| *apart <= (threshold / 2).max(MAX_CHECK_GAP)) else {
            self.suspicious_since = Some(now);
            return None;
        };
        (apart >= confirmed_after(threshold)).then_some(trip)
    }

    fn stall(&self, overdue: u64, policy: &BreakerPolicy, now: Instant, threshold: Duration) -> Option<Trip> {
        // A streak younger than the threshold, such as the calls of a closing connection, is no part of a stall.
        let streak = if self.streak.age(now) >= threshold { self.streak.length() } else { Length::default() };
        let stall =
            overdue + streak.total() >= u64::from(policy.minimum_calls) && self.since_last_good(now) >= threshold;
        stall.then(|| detect::stall(overdue, streak))
    }

    fn since_last_good(&self, now: Instant) -> Duration {
        self.last_good.map_or(Duration::MAX, |last_good| now.since(last_good))
    }
}

/// The least distance of two checks of which the second confirms the first.
fn confirmed_after(threshold: Duration) -> Duration {
    (threshold / 8).max(Duration::from_millis(1))
}
