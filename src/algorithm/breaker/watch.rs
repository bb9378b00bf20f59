//! The path of a call while all is well, without a lock; and of a call that is refused.
//!
//! Five signs are watched for. Over the window: too many failures; too many slow calls, among which calls in flight past the
//! threshold count. Since the last good answer: so many failures in a row; *silence*, that is as many calls as a rate needs that
//! ended without any answer, and nothing good for as long as the slow threshold; and the *stall*: as many calls are unanswered past
//! the threshold, and nothing good has come for as long. A window filled by better days would outvote a dependency that hangs for
//! most of its length; silence and stall are seen at once.
//!
//! What calls in flight say is looked at by the first call of each cohort, and by a timer while any are in flight. It has to be
//! seen twice, an eighth of the threshold apart at least: after a hiccup of our own process the answers are all there, only
//! unread, and must not be taken for a hiccup of the dependency. Two looks far apart prove nothing either: the process stood still
//! between them.

use std::time::Duration;

use super::detect::{self, Detection};
use super::machine::{Machine, Moment, Notice, Probe};
use super::mode::Mode;
use super::policy::{Pace, Policy};
use super::row::{Length, Row};
use super::time_left::TimeLeft;
use crate::algorithm::ages::{Age, Ages};
use crate::algorithm::evidence::Evidence;
use crate::algorithm::median::Median;
use crate::algorithm::window::{Counts, Outcome, Span, Window};
use crate::ground::error::Trip;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{self, Instant};

/// What a call is met with.
#[derive(Debug)]
#[must_use]
pub(crate) enum Entry {
    /// It passes and is counted.
    Closed(Seat),
    /// It passes.
    Free,
    /// It does not pass; when another try has a chance, if that is known.
    Refused(Option<Duration>),
    /// Something is to be decided: ask the machine.
    Ask { may_probe: bool, refused_enough: bool },
    /// The callee hangs: trip the machine, and ask again.
    Trip(Detection),
}

/// The seat of a call that was admitted while closed. To be given back once.
#[derive(Debug)]
#[must_use]
pub(crate) struct Seat {
    word: Word,
    age: Option<Age>,
}

/// What a call that may pass is given. To be given back once.
#[derive(Debug)]
#[must_use]
pub(crate) enum Pass {
    Closed(Seat),
    Probe(Probe),
    /// It is nothing to the breaker how it ends.
    Free,
}

/// The state as calls see it, in one word: what to do, the era, the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

const CLOSED: u64 = 0;
const FREE: u64 = 1;
/// Refused, for nobody knows how long.
const SHUT: u64 = 2;
/// Refused until an instant.
const REFUSE: u64 = 3;
/// Free until an instant, and then to be asked.
const PASS: u64 = 4;
const ASK: u64 = 5;

const SIGN_BITS: u32 = 3;
const ERA_BITS: u32 = 8;

/// So many refused calls are enough for a break that is longer than the first: probes of a dependency that does not answer
/// are three a break, so they are no more than about one in a hundred calls.
const REFUSED_ENOUGH: u64 = 300;

/// No instant.
const NEVER: u64 = u64::MAX;

impl Word {
    fn new(sign: u64, era: u8, generation: u64) -> Self {
        Self(generation << (SIGN_BITS + ERA_BITS) | u64::from(era) << SIGN_BITS | sign)
    }

    #[inline]
    fn sign(self) -> u64 {
        self.0 & ((1 << SIGN_BITS) - 1)
    }

    #[inline]
    fn era(self) -> u8 {
        (self.0 >> SIGN_BITS) as u8
    }

    #[inline]
    fn generation(self) -> u64 {
        self.0 >> (SIGN_BITS + ERA_BITS)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    word: AtomicU64,
    /// Of [`REFUSE`] and [`PASS`], in nanoseconds.
    until: AtomicU64,
    /// From when on enough refused calls end a break, in nanoseconds.
    earliest: AtomicU64,
    /// How many calls were refused in this break.
    refused: AtomicU64,
    /// After how long another try is worth it at the latest, in nanoseconds: probes may be answered long before `until`.
    try_again: AtomicU64,
    time_left: TimeLeft,
    window: Window,
    ages: Ages,
    median: Median,
    /// No call that took less is slow, whatever is usual; in nanoseconds. So most calls need no more of the settings when they end.
    floor: AtomicU64,
    row: Row,
    /// Nanoseconds, a millisecond or so behind.
    last_good: AtomicU64,
    /// When a call was bad last, or will a break have ended; in nanoseconds, zero: never.
    last_bad: AtomicU64,
    /// Since when the calls in flight have looked like those of a dependency that hangs, in nanoseconds; zero: they do not.
    suspicious_since: AtomicU64,
}

/// How exactly the last good answer is noted: not every answer needs to write.
const LAST_GOOD_SHIFT: u32 = 20;

/// No two looks that are closer than this apart are too far apart, however short the threshold.
const LOOKS_TOGETHER: Duration = Duration::from_millis(100);

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
            row: Row::new(),
            last_good: AtomicU64::new(0),
            last_bad: AtomicU64::new(0),
            suspicious_since: AtomicU64::new(0),
        };
        watch.publish(machine, moment);
        watch
    }

    /// Whether the machine has moved to another state since it was shown to the calls. Under its lock.
    pub(crate) fn is_behind(&self, machine: &Machine) -> bool {
        self.load().generation() != machine.generation()
    }

    /// Shows the machine's state to the calls. Under the machine's lock, after every move of it.
    pub(crate) fn publish(&self, machine: &Machine, moment: &Moment<'_>) {
        let (before, now) = (self.load(), moment.now);
        if before.era() != machine.era() {
            self.window.begin(machine.era());
            self.ages.begin_era(machine.era());
            self.row.begin_era(machine.era());
            self.last_good.store(now.as_nanos(), Ordering::Relaxed);
            self.suspicious_since.store(0, Ordering::Relaxed);
        }
        if let Some(until) = machine.open_until().filter(|_| before.generation() != machine.generation()) {
            self.refused.store(0, Ordering::Relaxed);
            let threshold = moment.policy.pace().slow_or_floor(moment.median);
            let length = until.since(now).max(threshold).saturating_mul(2);
            self.time_left.begin_break(before.sign() == CLOSED, until, length);
        }
        if let Some(until) = machine.open_until() {
            self.last_bad.fetch_max(until.as_nanos(), Ordering::Relaxed);
        }
        let (sign, until, earliest) = match machine.notice(moment) {
            Notice::Closed => (CLOSED, 0, None),
            Notice::Free => (FREE, 0, None),
            Notice::Shut => (SHUT, 0, None),
            Notice::Refuse { until, earliest } => (REFUSE, until.as_nanos(), earliest),
            Notice::Pass { until } => (PASS, until.as_nanos(), None),
            Notice::Ask if machine.mode() == Mode::Observing => (PASS, 0, None),
            Notice::Ask => (ASK, 0, None),
        };
        self.floor.store(time::nanos(moment.policy.pace().floor()), Ordering::Release);
        let try_again = if machine.open_until().is_some() { NEVER } else { time::nanos(moment.policy.break_for) };
        self.try_again.store(try_again, Ordering::Relaxed);
        // A call that finds the instants of another moment than its word asks the machine too early, or is refused once too often.
        self.until.store(until, Ordering::Release);
        self.earliest.store(earliest.map_or(NEVER, Instant::as_nanos), Ordering::Release);
        self.word.store(Word::new(sign, machine.era(), machine.generation()).0, Ordering::Release);
    }

    /// Looks back on something else. Under the machine's lock, after it was told to count anew and before that is published.
    pub(crate) fn set_span(&self, span: Span) {
        self.window.set_span(span);
    }

    /// A call comes, with so much time left. The whole policy is asked for only when there may be something to decide.
    #[inline]
    pub(crate) fn enter(&self, pace: &Pace, policy: impl FnOnce() -> Policy, left: Duration, now: Instant) -> Entry {
        let word = self.load();
        match word.sign() {
            CLOSED => {
                let threshold = self.overdue_after(pace);
                let Some((age, first)) = self.ages.begin(word.era(), now, threshold) else {
                    return Entry::Closed(Seat { word, age: None });
                };
                if first {
                    if let Some(trip) = self.hangs(word.era(), &policy(), now, threshold) {
                        self.ages.end(age);
                        return Entry::Trip(Detection { generation: word.generation(), trip });
                    }
                }
                Entry::Closed(Seat { word, age: Some(age) })
            }
            FREE => Entry::Free,
            _ => self.enter_unclosed(word, pace, left, now),
        }
    }

    /// Whether a call with so much time left would be refused now, and when another try has a chance. It counts as refused then.
    pub(crate) fn would_refuse(&self, pace: &Pace, left: Duration, now: Instant) -> Option<Option<Duration>> {
        let word = self.load();
        if matches!(word.sign(), CLOSED | FREE) {
            return None;
        }
        match self.enter_unclosed(word, pace, left, now) {
            Entry::Refused(wait) => Some(wait),
            _ => None,
        }
    }

    /// Neither a lock nor work that grows with anything.
    fn enter_unclosed(&self, word: Word, pace: &Pace, left: Duration, now: Instant) -> Entry {
        if word.sign() == SHUT {
            return Entry::Refused(None);
        }
        self.time_left.note(left);
        let until = Instant::from_nanos(self.until.load(Ordering::Acquire));
        let early = now < until;
        let refused_enough = word.sign() == REFUSE && self.is_refused_enough(now);
        if early && word.sign() == PASS {
            return Entry::Free;
        }
        if early && word.sign() == REFUSE && !refused_enough {
            return self.refused(until.since(now));
        }
        let threshold = pace.slow_or_floor(self.median(pace));
        let may_probe = self.time_left.is_enough(left, threshold, now);
        if !may_probe && word.sign() != PASS {
            return self.refused(threshold);
        }
        Entry::Ask { may_probe, refused_enough }
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
        match self.load().sign() {
            SHUT => Some(Instant::MAX),
            REFUSE => Some(Instant::from_nanos(self.until.load(Ordering::Acquire))).filter(|until| *until > now),
            _ => None,
        }
    }

    /// A look at the calls in flight, while none may come. `Some`: trip the machine.
    pub(crate) fn look(&self, pace: &Pace, policy: impl FnOnce() -> Policy, now: Instant) -> Option<Detection> {
        let word = self.load();
        if word.sign() != CLOSED {
            return None;
        }
        let trip = self.hangs(word.era(), &policy(), now, self.overdue_after(pace))?;
        Some(Detection { generation: word.generation(), trip })
    }

    /// When another look is due; `None`: nothing is in flight that a look could find overdue.
    pub(crate) fn next_look(&self, pace: &Pace, now: Instant) -> Option<Instant> {
        let word = self.load();
        let oldest = if word.sign() == CLOSED { self.ages.oldest(word.era(), now) } else { None };
        let threshold = self.overdue_after(pace);
        let is_suspicious = self.suspicious_since.load(Ordering::Relaxed) != 0;
        let soon = now + if is_suspicious { confirmed_after(threshold) } else { threshold / 4 };
        // The threshold may get much shorter with the first answers.
        let late = now + pace.slow_or_floor(self.median(pace));
        oldest.map(|oldest| if is_suspicious { soon } else { (oldest + threshold).clamp(soon.min(late), late) })
    }

    /// The dependency has answered, or has not been asked yet: from now on the call does not age.
    #[inline]
    pub(crate) fn stop_aging(&self, seat: &mut Seat) {
        if let Some(age) = seat.age.take() {
            // There are fewer eras than generations: after so many of these, an era of that number may be another one.
            if self.load().generation().wrapping_sub(seat.word.generation()) <= u64::from(u8::MAX) {
                self.ages.end(age);
            }
        }
    }

    /// The dependency is (again) at work on the call.
    pub(crate) fn start_aging(&self, seat: &mut Seat, pace: &Pace, now: Instant) {
        if seat.age.is_none() && self.load() == seat.word {
            seat.age = self.ages.begin(seat.word.era(), now, self.overdue_after(pace)).map(|(age, _)| age);
        }
    }

    /// A call is over. `Some`: that was enough, trip the machine. It is judged by the `policy` of now.
    #[inline]
    pub(crate) fn leave(
        &self,
        mut seat: Seat,
        end: Evidence,
        policy: impl Fn() -> Policy,
        now: Instant,
    ) -> Option<Detection> {
        self.stop_aging(&mut seat);
        let word = seat.word;
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
        let row_trips = match end {
            Evidence::Good(_) | Evidence::Alive => {
                self.note_good(word.era(), now);
                None
            }
            Evidence::Bad(_) | Evidence::TimedOut => {
                let row = self.row.add_bad(word.era(), now);
                policy().pace().is_row_too_long(row.bad).then(|| detect::consecutive(row))
            }
            // A crowd of callers that hangs up all at once, or a connection that takes its calls along, leaves a row of its own
            // between one good answer and the next.
            _ => {
                let row = self.row.add_silent(word.era(), now);
                let pace = &policy().pace();
                let is_silent =
                    pace.is_row_of_silence(row.total()) && self.is_silent(now, pace.slow_or_floor(self.median(pace)));
                is_silent.then(|| detect::unanswered(row))
            }
        };
        let anything_bad = outcome.is_some_and(|outcome| self.window.add(word.era(), now, outcome));
        let rates = || detect::rates(self.window.counts(word.era(), now), &policy());
        let trip = row_trips.or_else(|| anything_bad.then(rates).flatten())?;
        Some(Detection { generation: word.generation(), trip })
    }

    /// A probe was good. What was measured before the break is of another time, so the first answer begins the measure anew.
    pub(crate) fn measure_probe(&self, took: Duration, first: bool) {
        if first {
            self.median.restart(took);
        } else {
            self.median.record(took);
        }
    }

    /// The median success, once there were enough to call it so.
    #[inline]
    pub(crate) fn median(&self, pace: &Pace) -> Option<Duration> {
        self.median.after(pace.minimum_calls)
    }

    #[inline]
    fn is_slow(&self, took: Duration, pace: impl FnOnce() -> Pace) -> bool {
        time::nanos(took) >= self.floor.load(Ordering::Acquire)
            && self.slow_after(&pace()).is_some_and(|after| took >= after)
    }

    /// From when on a call is slow; `None`: not known yet.
    #[inline]
    pub(crate) fn slow_after(&self, pace: &Pace) -> Option<Duration> {
        pace.slow_after(self.median(pace))
    }

    /// The calls of the window.
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        self.window.counts(self.load().era(), now)
    }

    /// Whether nothing that would be lost with this breaker is younger than the longest break: neither an open state nor a bad
    /// outcome. What only good calls have taught it is not missed.
    pub(crate) fn is_as_new(&self, policy: &Policy, now: Instant) -> bool {
        let last_bad = self.last_bad.load(Ordering::Relaxed);
        last_bad == 0 || now.since(Instant::from_nanos(last_bad)) > policy.max_break.max(self.window.length())
    }

    /// How many calls are with the callee, and how many of them are overdue.
    pub(crate) fn in_flight(&self, pace: &Pace, now: Instant) -> (u64, u64) {
        let era = self.load().era();
        (self.ages.in_flight(era), self.ages.overdue(era, now, self.overdue_after(pace)))
    }

    #[inline]
    fn load(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    #[inline]
    fn overdue_after(&self, pace: &Pace) -> Duration {
        pace.overdue_after(self.median(pace))
    }

    #[inline]
    fn note_good(&self, era: u8, now: Instant) {
        let nanos = now.as_nanos();
        if nanos >> LAST_GOOD_SHIFT > self.last_good.load(Ordering::Relaxed) >> LAST_GOOD_SHIFT {
            self.last_good.store(nanos, Ordering::Relaxed);
        }
        self.row.end(era);
    }

    /// What the calls in flight say, if it is that the dependency hangs.
    fn hangs(&self, era: u8, policy: &Policy, now: Instant, threshold: Duration) -> Option<Trip> {
        policy.slow_rate?;
        let overdue = self.ages.overdue(era, now, threshold);
        let suspicious = match overdue {
            0 => None,
            _ => detect::overdue(self.window.counts(era, now), overdue, policy)
                .or_else(|| self.stalls(era, overdue, policy, now, threshold)),
        };
        if suspicious.is_none() {
            self.suspicious_since.store(0, Ordering::Relaxed);
            return None;
        }
        let since = self.suspicious_since.load(Ordering::Relaxed);
        let apart = now.since(Instant::from_nanos(since));
        let is_first = since == 0 || apart > (threshold / 2).max(LOOKS_TOGETHER);
        if is_first {
            self.suspicious_since.store(now.as_nanos(), Ordering::Relaxed);
        }
        suspicious.filter(|_| !is_first && apart >= confirmed_after(threshold))
    }

    fn stalls(&self, era: u8, overdue: u64, policy: &Policy, now: Instant, threshold: Duration) -> Option<Trip> {
        // A row of moments, such as the calls that a closing connection takes along, is no part of a stall.
        let row = if self.row.age(now) >= threshold { self.row.length(era) } else { Length::default() };
        let stalls = overdue + row.total() >= u64::from(policy.minimum_calls) && self.since_last_good(now) >= threshold;
        stalls.then(|| detect::stall(overdue, row))
    }

    /// Whether there has been a row for that long, which is not empty.
    fn is_silent(&self, now: Instant, threshold: Duration) -> bool {
        self.row.age(now) >= threshold && self.since_last_good(now) >= threshold
    }

    fn since_last_good(&self, now: Instant) -> Duration {
        now.since(Instant::from_nanos(self.last_good.load(Ordering::Relaxed)))
    }
}

/// How far apart two looks are at least of which the second confirms the first.
fn confirmed_after(threshold: Duration) -> Duration {
    (threshold / 8).max(Duration::from_millis(1))
}
