//! The lock-free path of calls: admission and records while closed, and refusals while open.
//!
//! Five conditions open the breaker. Two are over the window: too many failures, and too many slow calls (calls in flight past the
//! threshold included). Three are over the time since the last good answer: a streak of failures; *no answers*, which is as many
//! unanswered calls as a rate needs, and nothing good for the slow threshold; and a *stall*, which is as many calls in flight past
//! the threshold, and nothing good for as long. No answers and a stall are detected at once: a window full of earlier good calls
//! would outvote a dependency that confirmed_hang for most of its length.
//!
//! The first call of each cohort checks the calls in flight, and so does a timer while any are in flight. A hang needs two checks,
//! at least an eighth of the threshold apart: after a pause of this process the answers have arrived but are not read yet, and must
//! not check like a hang of the dependency. Two checks far apart prove nothing either, since the process may have stood still
//! between them.

use std::time::Duration;

use super::detect::{self, Detection};
use super::machine::{FastPath, Machine, Moment, Probe};
use super::mode::Mode;
use super::policy::{Pace, Policy};
use super::streak::{Length, Streak};
use super::time_left::TimeLeft;
use crate::algorithm::ages::{Age, Ages};
use crate::algorithm::evidence::Evidence;
use crate::algorithm::median::Median;
use crate::algorithm::window::{Counts, Outcome, Span, Window};
use crate::ground::error::Trip;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// The decision for a call that enters.
#[derive(Debug)]
#[must_use]
pub(crate) enum Entry {
    /// The call passes and is counted.
    Closed(ClosedCall),
    /// The call passes.
    Free,
    /// The call does not pass. The duration is the time until another try may pass, if that is known.
    Refused(Option<Duration>),
    /// The machine has to decide.
    Decide { may_probe: bool, refused_enough: bool },
    /// The dependency confirmed_hang: trip the machine, and enter again.
    Trip(Detection),
}

/// A call that was admitted while closed. It must be returned once, to [`Watch::leave`].
#[derive(Debug)]
#[must_use]
pub(crate) struct ClosedCall {
    word: StateWord,
    age: Option<Age>,
}

/// The pass of an admitted call. It must be returned once.
#[derive(Debug)]
#[must_use]
pub(crate) enum Pass {
    Closed(ClosedCall),
    Probe(Probe),
    /// The end of the call is not recorded.
    Free,
}

/// The published state in one word: what to do, the era, the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StateWord(u64);

const CLOSED: u64 = 0;
const FREE: u64 = 1;
/// Refused, for an unknown time.
const FORCED_OPEN: u64 = 2;
/// Refused until an instant.
const REFUSE_UNTIL: u64 = 3;
/// Free until an instant; after that the machine decides.
const FREE_UNTIL: u64 = 4;
const DECIDE: u64 = 5;

const KIND_BITS: u32 = 3;
const ERA_BITS: u32 = 8;

/// This many refused calls end a break that is longer than the first. A dependency that does not answer gets three probes a break,
/// so probes are at most about one in a hundred calls.
const REFUSED_ENOUGH: u64 = 300;

/// No instant.
const NEVER: u64 = u64::MAX;

impl StateWord {
    fn new(kind: u64, era: u8, generation: u64) -> Self {
        Self(generation << (KIND_BITS + ERA_BITS) | u64::from(era) << KIND_BITS | kind)
    }

    #[inline]
    fn kind(self) -> u64 {
        self.0 & ((1 << KIND_BITS) - 1)
    }

    #[inline]
    fn era(self) -> u8 {
        (self.0 >> KIND_BITS) as u8
    }

    #[inline]
    fn generation(self) -> u64 {
        self.0 >> (KIND_BITS + ERA_BITS)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    word: AtomicU64,
    /// The instant of [`REFUSE_UNTIL`] and [`FREE_UNTIL`], in nanoseconds.
    until: AtomicU64,
    /// The instant from which enough refused calls end a break, in nanoseconds.
    earliest: AtomicU64,
    /// Calls refused in this break.
    refused: AtomicU64,
    /// The longest retry-after, in nanoseconds: probes may be answered long before `until`.
    try_again: AtomicU64,
    time_left: TimeLeft,
    window: Window,
    ages: Ages,
    median: Median,
    /// No call that took less is slow; in nanoseconds. So the end of most calls does not read the settings.
    floor: AtomicU64,
    streak: Streak,
    /// Nanoseconds, up to about a millisecond old.
    last_good: AtomicU64,
    /// The last bad call or the end of the last break, whichever is later; in nanoseconds, zero: never.
    last_bad: AtomicU64,
    /// Since when checks of the calls in flight have suspected a hang, in nanoseconds; zero: no suspicion.
    suspicious_since: AtomicU64,
}

/// The resolution of `last_good`, so that not every answer has to write it.
const LAST_GOOD_SHIFT: u32 = 20;

/// Two checks that are at most this far apart can confirm a hang, however short the threshold.
const MAX_CHECK_GAP: Duration = Duration::from_millis(100);

impl Watch {
    pub(crate) fn new(window: Window, machine: &Machine, moment: &Moment<'_>) -> Self {
        let watch = Self {
            word: AtomicU64::new(0),
            until: AtomicU64::new(0),
            earliest: AtomicU64::new(NEVER),
            refused: AtomicU64::new(0),
            try_again: AtomicU64::new(NEVER),
            time_left: TimeLeft::new(),
            window,
            ages: Ages::new(),
            median: Median::new(),
            floor: AtomicU64::new(0),
            streak: Streak::new(),
            last_good: AtomicU64::new(0),
            last_bad: AtomicU64::new(0),
            suspicious_since: AtomicU64::new(0),
        };
        watch.publish(machine, moment);
        watch
    }

    /// Whether the machine's state has changed since it was last published. Call it under the machine's lock.
    pub(crate) fn is_behind(&self, machine: &Machine) -> bool {
        self.load().generation() != machine.generation()
    }

    /// Publishes the machine's state to calls. Call it under the machine's lock, after each transition.
    pub(crate) fn publish(&self, machine: &Machine, moment: &Moment<'_>) {
        let (before, now) = (self.load(), moment.now);
        if before.era() != machine.era() {
            self.window.begin(machine.era());
            self.ages.begin_era(machine.era());
            self.streak.begin_era(machine.era());
            self.last_good.store(now.as_nanos(), Ordering::Relaxed);
            self.suspicious_since.store(0, Ordering::Relaxed);
        }
        if let Some(until) = machine.open_until().filter(|_| before.generation() != machine.generation()) {
            self.refused.store(0, Ordering::Relaxed);
            let threshold = moment.policy.pace().slow_or_floor(moment.median);
            let length = until.since(now).max(threshold).saturating_mul(2);
            self.time_left.begin_break(before.kind() == CLOSED, until, length);
        }
        if let Some(until) = machine.open_until() {
            self.last_bad.fetch_max(until.as_nanos(), Ordering::Relaxed);
        }
        let (kind, until, earliest) = match machine.fast_path(moment) {
            FastPath::Closed => (CLOSED, 0, None),
            FastPath::Free => (FREE, 0, None),
            FastPath::ForcedOpen => (FORCED_OPEN, 0, None),
            FastPath::RefuseUntil { until, earliest } => (REFUSE_UNTIL, until.as_nanos(), earliest),
            FastPath::FreeUntil { until } => (FREE_UNTIL, until.as_nanos(), None),
            FastPath::Decide if machine.mode() == Mode::Observing => (FREE_UNTIL, 0, None),
            FastPath::Decide => (DECIDE, 0, None),
        };
        self.floor.store(time::nanos(moment.policy.pace().floor()), Ordering::Release);
        let try_again = if machine.open_until().is_some() { NEVER } else { time::nanos(moment.policy.break_for) };
        self.try_again.store(try_again, Ordering::Relaxed);
        // A call that reads the instants of another publication than its word asks the machine too early, or is refused once more.
        self.until.store(until, Ordering::Release);
        self.earliest.store(earliest.map_or(NEVER, Instant::as_nanos), Ordering::Release);
        self.word.store(StateWord::new(kind, machine.era(), machine.generation()).0, Ordering::Release);
    }

    /// Changes the span of the window. Call it under the machine's lock, between [`Machine::clear_counts`] and [`Self::publish`].
    pub(crate) fn set_span(&self, span: Span) {
        self.window.set_span(span);
    }

    /// Decides about a new call with this much time left. `policy` is called only when a trip may be due.
    #[inline]
    pub(crate) fn enter(
        &self,
        pace: &Pace,
        policy: impl FnOnce() -> Policy,
        time_left: Duration,
        now: Instant,
    ) -> Entry {
        let word = self.load();
        match word.kind() {
            CLOSED => {
                let threshold = self.overdue_after(pace);
                let Some((age, first)) = self.ages.begin(word.era(), now, threshold) else {
                    return Entry::Closed(ClosedCall { word, age: None });
                };
                if first {
                    if let Some(trip) = self.confirmed_hang(word.era(), &policy(), now, threshold) {
                        self.ages.end(age);
                        return Entry::Trip(Detection { generation: word.generation(), trip });
                    }
                }
                Entry::Closed(ClosedCall { word, age: Some(age) })
            }
            FREE => Entry::Free,
            _ => self.enter_unclosed(word, pace, time_left, now),
        }
    }

    /// `Some` if a call with this much time left would be refused now, with the time until another try may pass. The call then
    /// counts as refused.
    pub(crate) fn would_refuse(&self, pace: &Pace, time_left: Duration, now: Instant) -> Option<Option<Duration>> {
        let word = self.load();
        if matches!(word.kind(), CLOSED | FREE) {
            return None;
        }
        match self.enter_unclosed(word, pace, time_left, now) {
            Entry::Refused(wait) => Some(wait),
            _ => None,
        }
    }

    /// Takes no lock, in constant time.
    fn enter_unclosed(&self, word: StateWord, pace: &Pace, time_left: Duration, now: Instant) -> Entry {
        if word.kind() == FORCED_OPEN {
            return Entry::Refused(None);
        }
        self.time_left.record(time_left);
        let until = Instant::from_nanos(self.until.load(Ordering::Acquire));
        let early = now < until;
        let refused_enough = word.kind() == REFUSE_UNTIL && self.is_refused_enough(now);
        if early && word.kind() == FREE_UNTIL {
            return Entry::Free;
        }
        if early && word.kind() == REFUSE_UNTIL && !refused_enough {
            return self.refused(until.since(now));
        }
        let threshold = pace.slow_or_floor(self.median(pace));
        let may_probe = self.time_left.is_enough(time_left, threshold, now);
        if !may_probe && word.kind() != FREE_UNTIL {
            return self.refused(threshold);
        }
        Entry::Decide { may_probe, refused_enough }
    }

    fn refused(&self, wait: Duration) -> Entry {
        Entry::Refused(Some(wait.min(Duration::from_nanos(self.try_again.load(Ordering::Relaxed)))))
    }

    fn is_refused_enough(&self, now: Instant) -> bool {
        let earliest = self.earliest.load(Ordering::Acquire);
        earliest != NEVER
            && self.refused.fetch_add(1, Ordering::Relaxed) >= REFUSED_ENOUGH
            && now.as_nanos() >= earliest
    }

    /// Until when no call passes, as far as time alone decides.
    pub(crate) fn refuses_until(&self, now: Instant) -> Option<Instant> {
        match self.load().kind() {
            FORCED_OPEN => Some(Instant::MAX),
            REFUSE_UNTIL => Some(Instant::from_nanos(self.until.load(Ordering::Acquire))).filter(|until| *until > now),
            _ => None,
        }
    }

    /// Checks the calls in flight, for a timer. `Some`: trip the machine.
    pub(crate) fn check(&self, pace: &Pace, policy: impl FnOnce() -> Policy, now: Instant) -> Option<Detection> {
        let word = self.load();
        if word.kind() != CLOSED {
            return None;
        }
        let trip = self.confirmed_hang(word.era(), &policy(), now, self.overdue_after(pace))?;
        Some(Detection { generation: word.generation(), trip })
    }

    /// When the next check is due; `None`: no call in flight can become overdue.
    pub(crate) fn next_check(&self, pace: &Pace, now: Instant) -> Option<Instant> {
        let word = self.load();
        let oldest = if word.kind() == CLOSED { self.ages.oldest(word.era(), now) } else { None };
        let threshold = self.overdue_after(pace);
        let is_suspicious = self.suspicious_since.load(Ordering::Relaxed) != 0;
        let soon = now + if is_suspicious { confirmed_after(threshold) } else { threshold / 4 };
        // The first answers may shorten the threshold a lot.
        let late = now + pace.slow_or_floor(self.median(pace));
        oldest.map(|oldest| if is_suspicious { soon } else { (oldest + threshold).clamp(soon.min(late), late) })
    }

    /// Stops the age of a call that the dependency has answered, or that has not been sent yet.
    #[inline]
    pub(crate) fn stop_aging(&self, call: &mut ClosedCall) {
        if let Some(age) = call.age.take() {
            // Eras wrap after 256 generations; a later era of the same number must not lose a call that it never counted.
            if self.load().generation().wrapping_sub(call.word.generation()) <= u64::from(u8::MAX) {
                self.ages.end(age);
            }
        }
    }

    /// Starts the age of a call that the dependency is processing (again).
    pub(crate) fn start_aging(&self, call: &mut ClosedCall, pace: &Pace, now: Instant) {
        if call.age.is_none() && self.load() == call.word {
            call.age = self.ages.begin(call.word.era(), now, self.overdue_after(pace)).map(|(age, _)| age);
        }
    }

    /// Records the end of a call. `Some`: trip the machine. The call is judged by the current `policy`.
    #[inline]
    pub(crate) fn leave(
        &self,
        mut call: ClosedCall,
        end: Evidence,
        policy: impl Fn() -> Policy,
        now: Instant,
    ) -> Option<Detection> {
        self.stop_aging(&mut call);
        let word = call.word;
        if self.load() != word {
            return None;
        }
        if let Evidence::Good(took) = end {
            self.median.record(took);
        }
        let slow = |took| self.is_slow(took, || policy().pace());
        let outcome = match end {
            Evidence::Good(took) => Some(Outcome { failure: false, slow: slow(took) }),
            Evidence::Bad(took) => Some(Outcome { failure: true, slow: slow(took) }),
            Evidence::TimedOut => Some(Outcome { failure: true, slow: true }),
            Evidence::GivenUpLate => Some(Outcome { failure: false, slow: true }),
            Evidence::Alive | Evidence::Unanswered | Evidence::Unsent => None,
            Evidence::Nothing => return None,
        };
        let is_good = matches!(end, Evidence::Good(_) | Evidence::Alive);
        if !is_good || outcome.is_some_and(Outcome::is_bad) {
            self.last_bad.fetch_max(now.as_nanos(), Ordering::Relaxed);
        }
        let streak_trip = match end {
            Evidence::Good(_) | Evidence::Alive => {
                self.record_good(word.era(), now);
                None
            }
            Evidence::Bad(_) | Evidence::TimedOut => {
                let streak = self.streak.add_bad(word.era(), now);
                policy().pace().is_failure_streak(streak.bad).then(|| detect::consecutive(streak))
            }
            // Many callers that give up at the same time, or a connection that closes with its calls, leave such a streak between
            // two good answers.
            _ => {
                let streak = self.streak.add_unanswered(word.era(), now);
                let pace = &policy().pace();
                let has_no_answers = pace.is_unanswered_streak(streak.total())
                    && self.has_no_answers(now, pace.slow_or_floor(self.median(pace)));
                has_no_answers.then(|| detect::unanswered(streak))
            }
        };
        let anything_bad = outcome.is_some_and(|outcome| self.window.add(word.era(), now, outcome));
        let rates = || detect::rates(self.window.counts(word.era(), now), &policy());
        let trip = streak_trip.or_else(|| anything_bad.then(rates).flatten())?;
        Some(Detection { generation: word.generation(), trip })
    }

    /// Records the latency of a good probe. Samples from before the break are stale, so the first good probe restarts the median.
    pub(crate) fn measure_probe(&self, took: Duration, first: bool) {
        if first {
            self.median.restart(took);
        } else {
            self.median.record(took);
        }
    }

    /// The median success; `None` with too few samples.
    #[inline]
    pub(crate) fn median(&self, pace: &Pace) -> Option<Duration> {
        self.median.after(pace.minimum_calls)
    }

    #[inline]
    fn is_slow(&self, took: Duration, pace: impl FnOnce() -> Pace) -> bool {
        time::nanos(took) >= self.floor.load(Ordering::Acquire)
            && self.slow_after(&pace()).is_some_and(|after| took >= after)
    }

    /// The slow threshold; `None`: not known yet.
    #[inline]
    pub(crate) fn slow_after(&self, pace: &Pace) -> Option<Duration> {
        pace.slow_after(self.median(pace))
    }

    /// The calls of the window.
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        self.window.counts(self.load().era(), now)
    }

    /// Whether this breaker can be dropped without loss: no open state and no bad outcome is younger than the longest break. Good
    /// calls alone are no loss.
    pub(crate) fn is_as_new(&self, policy: &Policy, now: Instant) -> bool {
        let last_bad = self.last_bad.load(Ordering::Relaxed);
        last_bad == 0 || now.since(Instant::from_nanos(last_bad)) > policy.max_break.max(self.window.length())
    }

    /// The calls that the dependency is processing, and how many of them are overdue.
    pub(crate) fn in_flight(&self, pace: &Pace, now: Instant) -> (u64, u64) {
        let era = self.load().era();
        (self.ages.in_flight(era), self.ages.overdue(era, now, self.overdue_after(pace)))
    }

    #[inline]
    fn load(&self) -> StateWord {
        StateWord(self.word.load(Ordering::Acquire))
    }

    #[inline]
    fn overdue_after(&self, pace: &Pace) -> Duration {
        pace.overdue_after(self.median(pace))
    }

    #[inline]
    fn record_good(&self, era: u8, now: Instant) {
        let nanos = now.as_nanos();
        if nanos >> LAST_GOOD_SHIFT > self.last_good.load(Ordering::Relaxed) >> LAST_GOOD_SHIFT {
            self.last_good.store(nanos, Ordering::Relaxed);
        }
        self.streak.end(era);
    }

    /// The trip by the calls in flight, if two checks agree that the dependency confirmed_hang.
    fn confirmed_hang(&self, era: u8, policy: &Policy, now: Instant, threshold: Duration) -> Option<Trip> {
        policy.slow_rate?;
        let overdue = self.ages.overdue(era, now, threshold);
        let suspicious = match overdue {
            0 => None,
            _ => detect::overdue(self.window.counts(era, now), overdue, policy)
                .or_else(|| self.stall(era, overdue, policy, now, threshold)),
        };
        if suspicious.is_none() {
            self.suspicious_since.store(0, Ordering::Relaxed);
            return None;
        }
        let since = self.suspicious_since.load(Ordering::Relaxed);
        let apart = now.since(Instant::from_nanos(since));
        let is_first = since == 0 || apart > (threshold / 2).max(MAX_CHECK_GAP);
        if is_first {
            self.suspicious_since.store(now.as_nanos(), Ordering::Relaxed);
        }
        suspicious.filter(|_| !is_first && apart >= confirmed_after(threshold))
    }

    fn stall(&self, era: u8, overdue: u64, policy: &Policy, now: Instant, threshold: Duration) -> Option<Trip> {
        // A streak younger than the threshold, such as the calls of a closing connection, is no part of a stall.
        let streak = if self.streak.age(now) >= threshold { self.streak.length(era) } else { Length::default() };
        let stall =
            overdue + streak.total() >= u64::from(policy.minimum_calls) && self.since_last_good(now) >= threshold;
        stall.then(|| detect::stall(overdue, streak))
    }

    /// Whether the streak is not empty, and nothing good has come for the threshold.
    fn has_no_answers(&self, now: Instant, threshold: Duration) -> bool {
        self.streak.age(now) >= threshold && self.since_last_good(now) >= threshold
    }

    fn since_last_good(&self, now: Instant) -> Duration {
        now.since(Instant::from_nanos(self.last_good.load(Ordering::Relaxed)))
    }
}

/// The least distance of two checks of which the second confirms the first.
fn confirmed_after(threshold: Duration) -> Duration {
    (threshold / 8).max(Duration::from_millis(1))
}
