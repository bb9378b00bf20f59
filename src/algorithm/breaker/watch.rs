//! The path of a call while all is well, without a lock.
//!
//! Four signs are watched for. Over the window: too many failures; too many slow calls, among which calls in flight past the
//! threshold count. Since the last good answer: so many bad calls in a row; and the *stall*: as many calls as a rate needs are
//! unanswered past the threshold, and nothing good has come for as long as the threshold. A window filled by better days
//! would outvote a hanging callee for most of its length; the stall is seen at once.
//!
//! What calls in flight say is looked at by the first call of each cohort, and has to be seen twice in a row: after a hiccup
//! of our own process the answers are all there, only unread, and must not be taken for a hiccup of the callee's.

use std::time::Duration;

use super::machine::{Machine, Mode, State};
use super::policy::{Pace, Policy};
use crate::algorithm::ages::{Age, Ages};
use crate::algorithm::evidence::Evidence;
use crate::algorithm::median::Median;
use crate::algorithm::window::{Counts, Outcome, Span, Window};
use crate::ground::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::ground::time::Instant;

/// What a call is met with.
#[derive(Debug)]
#[must_use]
pub(crate) enum Entry {
    /// It passes and is counted.
    Closed(Seat),
    /// It passes.
    Free,
    /// The break lasts that long still.
    Refused(Duration),
    /// Something is to be decided: ask the machine.
    Ask,
    /// The callee hangs: trip the machine out of this generation, and ask again.
    Trip(u64),
}

/// The seat of a call that was admitted while closed. To be given back once.
#[derive(Debug)]
#[must_use]
pub(crate) struct Seat {
    word: Word,
    age: Option<Age>,
}

/// The state as calls see it, in one word: what to do, the era, the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const ASK: u64 = 2;
const FREE: u64 = 3;

impl Word {
    fn new(sign: u64, era: u8, generation: u64) -> Self {
        Self(generation << 10 | u64::from(era) << 2 | sign)
    }

    #[inline]
    fn sign(self) -> u64 {
        self.0 & 3
    }

    #[inline]
    fn era(self) -> u8 {
        (self.0 >> 2) as u8
    }

    #[inline]
    fn generation(self) -> u64 {
        self.0 >> 10
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    word: AtomicU64,
    open_until: AtomicU64,
    window: Window,
    ages: Ages,
    median: Median,
    /// Bad calls since the last good one, above their era.
    in_a_row: AtomicU64,
    /// Nanoseconds, a millisecond or so behind.
    last_good: AtomicU64,
    /// Nanoseconds; zero: never.
    last_bad: AtomicU64,
    /// Whether the calls in flight looked like those of a hanging callee, when they were looked at last.
    suspicious: AtomicBool,
}

/// How exactly the last good answer is noted: not every answer needs to write.
const LAST_GOOD_SHIFT: u32 = 20;

impl Watch {
    pub(crate) fn new(window: Window, machine: &Machine) -> Self {
        let watch = Self {
            word: AtomicU64::new(0),
            open_until: AtomicU64::new(0),
            window,
            ages: Ages::new(),
            median: Median::new(),
            in_a_row: AtomicU64::new(0),
            last_good: AtomicU64::new(0),
            last_bad: AtomicU64::new(0),
            suspicious: AtomicBool::new(false),
        };
        watch.publish(machine, Instant::from_nanos(0));
        watch
    }

    /// Shows the machine's state to the calls. Under the machine's lock, after every move of it.
    pub(crate) fn publish(&self, machine: &Machine, now: Instant) {
        let before = self.load();
        let sign = match machine.state() {
            State::Closed => CLOSED,
            State::Disabled => FREE,
            State::Open if machine.mode() == Mode::Enforcing => OPEN,
            State::Open | State::HalfOpen | State::ForcedOpen => ASK,
        };
        if before.era() != machine.era() {
            self.window.begin(machine.era());
            self.ages.begin_era(machine.era());
            self.in_a_row.swap(u64::from(machine.era()), Ordering::AcqRel);
            self.last_good.store(now.as_nanos(), Ordering::Relaxed);
            self.suspicious.store(false, Ordering::Relaxed);
        }
        if let Some(until) = machine.open_until() {
            self.open_until.store(until.as_nanos(), Ordering::Release);
        }
        self.word.store(Word::new(sign, machine.era(), machine.generation()).0, Ordering::Release);
    }

    /// Looks back on something else. Under the machine's lock, after it was told to count anew and before that is published.
    pub(crate) fn set_span(&self, span: Span) {
        self.window.set_span(span);
    }

    /// A call comes. The whole policy is asked for only when there may be something to decide.
    #[inline]
    pub(crate) fn enter(&self, pace: &Pace, policy: impl FnOnce() -> Policy, now: Instant) -> Entry {
        let word = self.load();
        match word.sign() {
            CLOSED => {
                let threshold = self.hangs_after(pace);
                let Some((age, first)) = self.ages.begin(word.era(), now, threshold) else {
                    return Entry::Closed(Seat { word, age: None });
                };
                if first && self.hangs(word.era(), &policy(), now, threshold) {
                    self.ages.end(age);
                    return Entry::Trip(word.generation());
                }
                Entry::Closed(Seat { word, age: Some(age) })
            }
            OPEN => {
                let until = Instant::from_nanos(self.open_until.load(Ordering::Acquire));
                if now < until { Entry::Refused(until.since(now)) } else { Entry::Ask }
            }
            FREE => Entry::Free,
            _ => Entry::Ask,
        }
    }

    /// The callee has answered, or has not been asked yet: from now on the call does not age.
    #[inline]
    pub(crate) fn stop_aging(&self, seat: &mut Seat) {
        if let Some(age) = seat.age.take() {
            // There are fewer eras than generations: after so many of these, an era of that number may be another one.
            if self.load().generation().wrapping_sub(seat.word.generation()) <= u64::from(u8::MAX) {
                self.ages.end(age);
            }
        }
    }

    /// The callee is (again) at work on the call.
    pub(crate) fn start_aging(&self, seat: &mut Seat, pace: &Pace, now: Instant) {
        if seat.age.is_none() && self.load() == seat.word {
            seat.age = self.ages.begin(seat.word.era(), now, self.hangs_after(pace)).map(|(age, _)| age);
        }
    }

    /// A call is over. `Some`: that was enough, trip the machine out of this generation.
    #[inline]
    pub(crate) fn leave(
        &self,
        mut seat: Seat,
        end: Evidence,
        pace: &Pace,
        policy: impl FnOnce() -> Policy,
        now: Instant,
    ) -> Option<u64> {
        self.stop_aging(&mut seat);
        let word = seat.word;
        if self.load() != word {
            return None;
        }
        if let Evidence::Good(took) = end {
            self.median.record(took);
        }
        let slow = |took| self.slow_after(pace).is_some_and(|after| took >= after);
        let (outcome, good) = match end {
            Evidence::Good(took) => (Outcome { failure: false, slow: slow(took) }, true),
            Evidence::Bad(took) => (Outcome { failure: true, slow: slow(took) }, false),
            Evidence::TimedOut => (Outcome { failure: true, slow: true }, false),
            Evidence::GivenUpLate => (Outcome { failure: false, slow: true }, false),
            Evidence::Alive | Evidence::Unanswered | Evidence::Unsent | Evidence::Nothing => return None,
        };
        let in_a_row = if good { self.note_good(word.era(), now) } else { self.note_bad(word.era()) };
        if outcome.is_bad() {
            self.last_bad.store(now.as_nanos(), Ordering::Relaxed);
        }
        let anything_bad = self.window.add(word.era(), now, outcome);
        let trips = pace.is_row_too_long(in_a_row)
            // A crowd of callers that hangs up all at once leaves a row of its own, between one good answer and the next.
            && (end != Evidence::GivenUpLate || self.is_silent(pace, now))
            || (anything_bad && self.rates_trip(word.era(), &policy(), now));
        trips.then(|| word.generation())
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
    pub(crate) fn is_as_new(&self, pace: &Pace, now: Instant) -> bool {
        let last_bad = self.last_bad.load(Ordering::Relaxed).max(self.open_until.load(Ordering::Acquire));
        last_bad == 0 || now.since(Instant::from_nanos(last_bad)) > pace.max_break().max(self.window.length())
    }

    /// How many calls are with the callee, and how many of them are overdue.
    pub(crate) fn in_flight(&self, pace: &Pace, now: Instant) -> (u64, u64) {
        let era = self.load().era();
        (self.ages.in_flight(era), self.ages.overdue(era, now, self.hangs_after(pace)))
    }

    #[inline]
    fn load(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Of a callee that never answered nothing is known, and to wait for the longest break there is errs on its side.
    #[inline]
    fn hangs_after(&self, pace: &Pace) -> Duration {
        self.slow_after(pace).unwrap_or_else(|| pace.max_break())
    }

    #[inline]
    fn note_good(&self, era: u8, now: Instant) -> u64 {
        let nanos = now.as_nanos();
        if nanos >> LAST_GOOD_SHIFT > self.last_good.load(Ordering::Relaxed) >> LAST_GOOD_SHIFT {
            self.last_good.store(nanos, Ordering::Relaxed);
        }
        if self.in_a_row.load(Ordering::Acquire) != u64::from(era) {
            let _ = self.in_a_row.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word as u8 == era).then_some(u64::from(era))
            });
        }
        0
    }

    fn note_bad(&self, era: u8) -> u64 {
        let one_more = |word: u64| (word as u8 == era).then(|| word.saturating_add(1 << 8));
        let before = self.in_a_row.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        before.map_or(0, |word| (word >> 8) + 1)
    }

    fn rates_trip(&self, era: u8, policy: &Policy, now: Instant) -> bool {
        let counts = self.window.counts(era, now);
        let enough = counts.calls >= u64::from(policy.minimum_calls);
        enough && policy.too_many_failures(counts.failures as f64, counts.calls as f64) || slow_trips(counts, 0, policy)
    }

    /// Whether the calls in flight say that the callee hangs.
    fn hangs(&self, era: u8, policy: &Policy, now: Instant, threshold: Duration) -> bool {
        if policy.slow_rate.is_none() {
            return false;
        }
        let overdue = self.ages.overdue(era, now, threshold);
        let suspicious = overdue > 0
            && (slow_trips(self.window.counts(era, now), overdue, policy)
                || self.stalls(overdue, policy, now, threshold));
        self.suspicious.swap(suspicious, Ordering::AcqRel) && suspicious
    }

    fn stalls(&self, overdue: u64, policy: &Policy, now: Instant, threshold: Duration) -> bool {
        let unanswered = overdue + (self.in_a_row.load(Ordering::Acquire) >> 8);
        unanswered >= u64::from(policy.minimum_calls) && self.since_last_good(now) >= threshold
    }

    fn is_silent(&self, pace: &Pace, now: Instant) -> bool {
        self.since_last_good(now) >= self.hangs_after(pace)
    }

    fn since_last_good(&self, now: Instant) -> Duration {
        now.since(Instant::from_nanos(self.last_good.load(Ordering::Relaxed)))
    }
}

fn slow_trips(counts: Counts, overdue: u64, policy: &Policy) -> bool {
    let calls = counts.calls + overdue;
    calls >= u64::from(policy.minimum_calls) && policy.too_many_slow((counts.slow + overdue) as f64, calls as f64)
}
