//! A limit from two points: how much longer do calls take at the limit than at a lower one?
//!
//! Calls take longer at a limit `H` than at a lower limit `B` only if they queue inside the service. Let `q` be how many times longer,
//! from 1 to `H / B`. Then the *knee*, the number of calls that the service can work on at once, is `H / q`. If the knee is below both
//! points, `q` is `H / B` and the result is `B`; if it is above both, `q` is 1 and the result is `H`; between them it is exact. The
//! limit needs no lowest time and no target: a service that becomes four times slower for its own reasons is slower at both points,
//! and the limit stays.
//!
//! # The law
//! ```text
//!  ┌──▶ High ─────▶ Low ─────▶ Again ──┐        one window each: at H, at B = 0.65 H, and at H again
//!  │     ▲           │ certain         │ decide
//!  │     └─ B is H ◀─┘                 ▼
//!  └─────────────────────────────── Hold        up to 24 windows at the knee and a little more
//! ```
//! - **Measure** ([`window`], [`cycle`]). The logarithm of `q` is the mean of the logarithmic times at `H`, before and after, less the
//!   one at `B`. The variance of the times gives its standard error, and the windows are sized so that the error is 0.1: with
//!   exponential times 250 calls, with steady ones 24.
//! - **Decide** ([`levels`]). The next `H` is a third above the knee, so that the knee lies between the points. It moves there by the share
//!   `1 / (1 + (error / 0.1)²)` of the way: half of it for exponential times, nearly all of it for steady ones.
//!   - No queue at `H`: it rises by this slack, by twice as much in the next such cycle, and so on. Before the first queue is seen it
//!     doubles (slow start).
//!   - A queue at both: the limit falls to just above `B`, and after two such cycles `B` is half of `H`. If the measurement leaves
//!     no doubt, `B` becomes `H` at once, and its window is the first of the next cycle: so a limit that is far too high is halved
//!     with each window.
//! - **Hold**. Between two cycles the limit is at the knee and 1.5 standard errors, or at 1.66 times the knee where calls have ample
//!   time: most of those that are admitted could take twice as long without being [short](shortage) of time. Each cycle that confirms
//!   the knee, within two standard errors, doubles the hold, up to 24 windows; after any other the next cycle follows at once. So it does when the times change by
//!   a fifth and by four standard errors, and if they became longer by half, with `B` at half of `H`.
//!
//! Nothing is measured unless the limit is in use all the time, and calls are short of time ([`shortage`]); at the maximum, only where
//! [`crowding`] was seen. With room to spare the limit stays as it is: it cannot be wrong, and no call is refused to find out. A window
//! counts the calls that were admitted in it. What was admitted before a change of the limit, and as many calls after it as the limit
//! allows, still meet the queue of the old limit, and are skipped.
//!
//! [`crowding`] also shows a limit that is too high though it is not in use, and where the knee should be. If a short window at half of
//! the calls in flight shows a queue, the next one is at that knee: far apart, few calls tell the two points apart, and the limit goes to
//! what they show at once.
//!
//! If that is not certain, the limit is the maximum again, and there is no other question for the next 1,024 calls. After the second
//! measurement in vain it is 4,096 calls, and then 16,384, until calls have time enough again.
//!
//! When 64 times as many calls as the limit have had time enough, in a row, it is the maximum again.
//!
//! Two points do not show everything. A [`ceiling`] follows refusals of the service, and a [`guard`] acts when most calls get no answer,
//! or take longer than an objective.
//!
//! # Why it is stable
//! One cycle moves the limit to between `B` and `2 H`, usually by less than a third, whatever it has measured, and the next cycle
//! measures again: there is no state without a way back. Where `H` is a third above the knee the measured ratio is in the middle of its
//! range, so noise in either direction is noticed, and cancels over the cycles. A drift of the service cancels between the windows
//! before and after; where these differ too much the cycle is void, and where they differ less the error grows.
//!
//! # Constants
//! | constant | why |
//! |---|---|
//! | start at the maximum | no call is refused before it is known to be one too many; the simulations of this page start at 16 |
//! | lower point 0.65, slack 0.33 | the range of the logarithm is 0.43, its usual value 0.29: `B` is just below the knee, so a low window costs little, and no queue and a queue at both points are still told apart. Shares of 0.7 and 0.75 give more false alarms, 0.6 costs more in each low window |
//! | error 0.1 | smaller: slower by the square; larger: both ends of the range come within one error |
//! | 1.5 errors above the knee while holding | 0.6 loses 1 % of throughput, 1.7 adds 2 % to the times |
//! | 1.66 times the knee with ample time | three stages of 10, 10 and 3 slots with exponential times: .92 of the throughput at the knee, .97 with 1.5 errors, 1.00 here |
//! | 24 windows | a low window costs up to a fifth of throughput while it lasts; 48 windows follow a rise of capacity later |
//! | certain: 2.5 errors | 2 lowers the limit by mistake at noise 0.5; 3 takes longer from far above |
//! | a hold has 6,000 calls at most | with very uneven times a window has more than 250, but watching needs fewer than measuring |
//! | noise falls by a quarter, rises by half | where calls queue, the times are smoother than the service is, and a limit far too high would trust them |
//! | 16 refusals, 4 steps, 24 windows of rest | see [`ceiling`] and [`guard`] |
//!
//! # What it does
//! On a model (capacity 50 unless said, 10 ms, demand without end, lognormal noise with this deviation, three seeds that were not used
//! for choosing): throughput as a share of the capacity, and times as a multiple of those of a free service.
//!
//! | | noise 0 | 0.2 | 0.5 |
//! |---|---|---|---|
//! | full load | .99, 1.04 | .99, 1.10 | .99, 1.17 |
//! | four times slower for 300 s, 2,000 windows and more | .99, 1.04 | .99, 1.10 | .99, 1.17 |
//! | capacity falls to 12, from 5 s after | .99, 1.03 | .99, 1.11 | .99, 1.18 |
//! | and rises to 50: the first 20 s | .97, 1.05 | .97, 1.10 | .94, 1.15 |
//! | one call in a hundred takes a hundred times as long | .98, 1.05 | .98, 1.11 | .98, 1.19 |
//! | capacity 3 | 1.00, 1.03 | .98, 1.09 | .99, 1.28 |
//! | capacity 10 | .99, 1.03 | .99, 1.11 | .99, 1.20 |
//! | capacity 500 | .99, 1.04 | .99, 1.06 | .99, 1.10 |
//! | from 256 at capacity 10, 5 to 15 s | .99, 1.03 | .99, 1.14 | .99, 1.20 |
//! | 70 % need 10 ms of a slot, 30 % wait 40 ms elsewhere | .99, 1.18 | .99, 1.13 | .98, 1.14 |
//! | one call a second at capacity 3, after 5 minutes | .96, 1.24 | .97, 1.24 | .97, 1.34 |
//! | Gradient2 at full load | .83, 1.69 | .81, 1.18 | .41, 1.00 |
//! | Vegas at full load | .77, 1.43 | .24, 1.00 | .14, 1.00 |
//!
//! First come, first served with exponential times: .99, 1.10 at 10 slots and .98, 1.12 at 50, and .96, 1.13 at 10 slots if only 1.2
//! times as many calls arrive as fit. If one call in ten takes 20 times as long as the others: .97, 1.09 and .93, 1.07.
//!
//! On average the limit is within 1.2 times the knee. Single windows reach from a third of the knee to twice the knee.
//!
//! # What it cannot do
//! - It follows a rise of capacity only after its hold, which takes 24 windows, up to 6,000 calls.
//! - At capacity 3 a whole number is a third: noisy times take 28 % longer there.
//! - Calls that queue elsewhere than in this service, or because of other clients, take as long at both points: see [`guard`].
//! - Clients of one service that all use this law measure each other's probes as noise.
//! - Far above the capacity each call waits for the same others, so a window says less than its error: from 256 at 3 exponential slots
//!   the way down takes some ten seconds.
//! - A service that is full, but whose callers do not wait for permits, shows nothing, and the limit stays.

mod bounds;
mod ceiling;
mod crowding;
mod cycle;
mod guard;
mod levels;
mod noise;
mod shortage;
mod window;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

pub(crate) use self::bounds::Bounds;
use self::ceiling::Ceiling;
use self::crowding::Crowding;
use self::cycle::{Cycle, Ratio};
use self::guard::{Action, Guard};
use self::levels::{LOWER, Levels};
use self::noise::{MIN_WINDOW, Noise};
use self::shortage::Shortage;
pub(crate) use self::shortage::{is_ample, is_short};
use self::window::{Summary, Window};
use super::ticket::{Outcome, Ticket, saturate};
use crate::ground::time::nanos;

/// Where times become longer by this factor, as a logarithm, the knee may be far below.
const FAR: f64 = 0.4;

/// No further question about crowding for so many calls after the first one in vain, the second, and all later ones.
const RESTS: [u32; 3] = [1024, 4096, 16_384];

/// The size of the windows that only ask whether calls queue at all: half of the precision is enough.
const ROUGH: f64 = 0.25;

/// What the present window is for.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Works at a level that is known, for so many more windows, and compares them with the first one.
    Hold { left: u32, base: Option<Summary> },
    /// At the upper level.
    High,
    /// At the lower level.
    Low { high: Summary },
    /// At the upper level again.
    Again { high: Summary, low: Summary },
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct TwoPoint {
    max: f64,
    /// In nanoseconds.
    objective: f64,
    limit: usize,
    /// The calls in flight when the last call began, that call included.
    in_flight: u32,
    /// Counts the changes of the limit. A call that was admitted before the last one proves nothing.
    epoch: u32,
    /// The admissions of this epoch.
    admitted: u32,
    phase: Phase,
    window: Window,
    levels: Levels,
    noise: Noise,
    /// The usual time, in nanoseconds; zero if unknown.
    usual: f64,
    crowding: Crowding,
    /// No question about crowding for so many more calls.
    rest: u32,
    /// The measurements in vain, in a row.
    in_vain: usize,
    shortage: Shortage,
    ceiling: Ceiling,
    guard: Guard,
}

impl TwoPoint {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let max = bounds.max();
        let limit = bounds.start.clamp(1, max);
        let mut new = Self {
            max: max as f64,
            objective: bounds.objective(),
            limit,
            in_flight: 0,
            epoch: 0,
            admitted: 0,
            phase: Phase::High,
            window: Window::new(0, 1, 0.0),
            levels: Levels::new(limit as f64),
            noise: Noise::new(),
            usual: 0.0,
            crowding: Crowding::default(),
            rest: 0,
            in_vain: 0,
            shortage: Shortage::default(),
            ceiling: Ceiling::new(),
            guard: Guard::new(),
        };
        new.start_cycle();
        new
    }

    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// See [`Limit::begin`](super::Limit::begin).
    #[inline]
    pub(crate) fn begin(&mut self, in_flight: usize) -> Ticket {
        let ticket = Ticket::new(in_flight, self.epoch, self.admitted);
        self.in_flight = saturate(in_flight);
        self.admitted = self.admitted.saturating_add(1);
        ticket
    }

    /// See [`Limit::end`](super::Limit::end).
    #[inline]
    pub(crate) fn end(&mut self, ticket: Ticket, took: Duration, outcome: Outcome) -> bool {
        let took = nanos(took).max(1) as f64;
        let in_flight = f64::from(ticket.in_flight);
        if self.usual == 0.0 {
            self.set_scale(took, outcome);
        }
        match outcome {
            Outcome::Good => {
                self.learn_usual(took);
                self.ceiling.answered(in_flight);
            }
            Outcome::Late => self.learn_usual(took),
            Outcome::Failed | Outcome::NoRoom => {}
        }
        let before = self.limit;
        if let Some(longer) = self.crowded(ticket, took, outcome) {
            let crowded = f64::from(ticket.among);
            // If calls queue, the knee is about where they would take as long as among few.
            self.levels = Levels::crowded(crowded, crowded / longer.exp());
            self.start_cycle();
            return self.limit != before;
        }
        let full = in_flight >= 0.95 * self.limit as f64;
        if outcome == Outcome::NoRoom && full {
            self.shortage.record(true);
        }
        let most = self.max.min(self.ceiling.level());
        let is_lowered = (self.limit as f64) < most.floor() || self.levels.is_rough();
        if is_lowered && self.shortage.is_over(self.limit) {
            self.levels = Levels::new(most);
            self.start_cycle();
            return self.limit != before;
        }
        if ticket.is_quiet || ticket.epoch != self.epoch {
            return false;
        }
        // With room to spare, a quick failure says nothing about the limit.
        if outcome == Outcome::NoRoom && full {
            if let Some((pool, is_exact)) = self.ceiling.refused(in_flight, took, self.usual) {
                self.restart_below(if is_exact { pool } else { pool.max(LOWER * before as f64) });
                return self.limit != before;
            }
        }
        let unanswered = outcome == Outcome::Late && took >= 0.5 * self.usual;
        let slow = full && (unanswered || took > self.objective);
        self.window.record(ticket.index, took, outcome, full, slow);
        if !self.window.is_over() {
            return false;
        }
        self.finish_window();
        self.limit != before
    }

    /// If calls seem to queue inside the service, though the limit is not in use, by how much longer they take, as a logarithm.
    fn crowded(&mut self, ticket: Ticket, took: f64, outcome: Outcome) -> Option<f64> {
        self.rest = self.rest.saturating_sub(1);
        // A call without an answer may have hung.
        if outcome != Outcome::Good {
            return None;
        }
        let longer = self.crowding.record(ticket.among, took);
        let is_open = self.rest == 0 && self.limit as f64 >= self.max && !self.levels.is_rough();
        // While the calls in flight become more, their number says nothing about the service.
        let is_steady = f64::from(ticket.among) >= 0.7 * f64::from(self.in_flight);
        longer.filter(|_| is_open && is_steady && self.shortage.is_grave())
    }

    /// Whether the limit may be wrong, so that it is worth a measurement. At its maximum, which somebody has chosen, only crowding shows that.
    fn is_questioned(&self) -> bool {
        let is_max = self.limit as f64 >= self.max;
        self.shortage.is_likely() && (!is_max || self.levels.is_rough())
    }

    /// See [`Limit::is_quiet`](super::Limit::is_quiet).
    pub(crate) fn is_quiet(&self) -> bool {
        self.limit as f64 >= self.max
            && self.objective.is_infinite()
            && !self.levels.is_rough()
            && self.shortage.have_time()
    }

    /// See [`Limit::note_time`](super::Limit::note_time).
    #[inline]
    pub(crate) fn note_time(&mut self, is_short: bool) {
        self.shortage.record(is_short);
        if self.rest > 0 && self.shortage.is_over(self.limit) {
            // What was in vain in this overload may not be in the next one.
            (self.rest, self.in_vain) = (0, 0);
        }
    }

    /// Uses these bounds from now on; the start applies to new limits only. Returns whether the limit has changed.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) -> bool {
        let before = self.limit;
        self.max = bounds.max() as f64;
        self.objective = bounds.objective();
        self.start_cycle();
        self.limit != before
    }

    /// See [`Limit::note_ample`](super::Limit::note_ample).
    #[inline]
    pub(crate) fn note_ample(&mut self, is_ample: bool) {
        self.shortage.record_ample(is_ample);
    }

    /// The first time is the scale of the first window.
    fn set_scale(&mut self, took: f64, outcome: Outcome) {
        if matches!(outcome, Outcome::Good | Outcome::Late) {
            self.usual = took;
            self.open_window(saturate(self.limit), took);
        }
    }

    #[inline]
    fn learn_usual(&mut self, took: f64) {
        self.usual += (took.min(16.0 * self.usual) - self.usual) / 64.0;
    }

    fn finish_window(&mut self) {
        let level = self.levels.upper().max(self.limit as f64);
        let action = match self.window.is_slow() {
            true => self.guard.too_slow(level, self.usual),
            false => self.guard.in_time(level, self.usual),
        };
        match action {
            Action::Lower => return self.restart_below(LOWER * self.limit as f64),
            Action::Restore(level) => {
                self.ceiling.lift();
                self.levels.jump_to(level);
                return self.start_cycle();
            }
            Action::Nothing => {}
        }
        let Some(summary) = self.window.summary().filter(|_| self.window.is_full() && self.is_questioned()) else {
            return self.skip_window();
        };
        if !matches!(self.phase, Phase::Hold { .. }) {
            self.noise.learn(summary.noise);
        }
        match self.phase {
            Phase::Hold { left, base } => self.hold_on(left, base.unwrap_or(summary), summary),
            Phase::High if self.levels.lower() >= self.levels.upper() => self.start_cycle(),
            Phase::High => self.measure(Phase::Low { high: summary }, self.levels.lower()),
            Phase::Low { high } => match self.ratio(high, summary, None) {
                Some(ratio) if self.levels.is_rough() && ratio.is_queue() => {
                    if self.levels.confirm() {
                        self.measure(Phase::Low { high }, self.levels.lower());
                    } else {
                        self.levels.decide(ratio, self.most());
                        if self.levels.is_rough() {
                            // The knee is at the upper level or above it.
                            return self.dismiss_measured();
                        }
                        // It has been answered, and what some groups remember may be wrong.
                        (self.in_vain, self.crowding) = (0, Crowding::default());
                        self.hold();
                    }
                }
                _ if self.levels.is_rough() => self.dismiss_measured(),
                Some(ratio) if ratio.is_certain() => {
                    self.levels.descend();
                    if self.levels.hold() > 0 {
                        self.hold();
                    } else {
                        // This window is the upper one of the next cycle.
                        self.measure(Phase::Low { high: summary }, self.levels.lower());
                    }
                }
                _ => self.measure(Phase::Again { high, low: summary }, self.levels.upper()),
            },
            Phase::Again { high, low } => {
                match self.ratio(high, low, Some(summary)) {
                    Some(ratio) => self.levels.decide(ratio, self.most()),
                    None => self.levels.distrust(),
                }
                self.hold();
            }
        }
    }

    /// There was room to spare, or there were only errors: nothing to learn.
    fn skip_window(&mut self) {
        match self.phase {
            _ if self.levels.is_rough() => self.dismiss(),
            Phase::Hold { .. } => self.apply(self.limit as f64, self.usual),
            Phase::High => self.start_cycle(),
            Phase::Low { .. } | Phase::Again { .. } => self.hold(),
        }
    }

    /// A measurement has not shown for certain that calls queue.
    fn dismiss_measured(&mut self) {
        self.in_vain += 1;
        self.dismiss();
        if self.in_vain > RESTS.len() {
            // What some groups remember is no longer true.
            (self.in_vain, self.crowding) = (0, Crowding::default());
        }
    }

    /// The limit is the maximum again, and the next question comes later.
    fn dismiss(&mut self) {
        self.rest = RESTS.get(self.in_vain.saturating_sub(1)).copied().unwrap_or(RESTS[2]);
        self.levels = Levels::new(self.max);
        self.start_cycle();
    }

    fn hold_on(&mut self, left: u32, base: Summary, now: Summary) {
        let drift = (now.mean - base.mean) / base.slope;
        let error = (self.noise.variance() / now.count + self.noise.variance() / base.count).sqrt();
        if drift.abs() > (4.0 * error).max(0.2) {
            if drift > FAR {
                self.levels.suspect()
            } else {
                self.levels.distrust()
            }
            return self.start_cycle();
        }
        self.noise.learn(now.noise);
        if left <= 1 {
            self.start_cycle();
        } else {
            self.phase = Phase::Hold { left: left - 1, base: Some(base) };
            self.apply(self.limit as f64, self.window.scale());
        }
    }

    fn ratio(&self, high: Summary, low: Summary, again: Option<Summary>) -> Option<Ratio> {
        let most = (self.levels.upper() / self.levels.lower()).ln();
        Cycle { high, low, again, most, noise: self.noise.variance() }.ratio()
    }

    /// What the upper level must not exceed.
    fn most(&self) -> f64 {
        if self.guard.is_slow() { self.levels.upper() } else { self.max.min(self.ceiling.level()) }
    }

    /// The limit was too high for a reason that the two points do not show.
    fn restart_below(&mut self, level: f64) {
        self.ceiling.lower_to(level);
        self.levels.jump_to(level);
        self.start_cycle();
    }

    /// As many windows as the last decision allows, and the next cycle.
    fn hold(&mut self) {
        if self.levels.hold() == 0 {
            return self.start_cycle();
        }
        self.phase = Phase::Hold { left: self.levels.hold(), base: None };
        let work = if self.shortage.is_ample() { self.levels.ample_work() } else { self.levels.work() };
        // A ceiling, or calls that are too slow, count more than a margin.
        self.apply(work.min(self.most()), self.usual);
    }

    fn start_cycle(&mut self) {
        self.levels.bound(self.max.min(self.ceiling.level()));
        self.phase = Phase::High;
        self.apply(self.levels.upper(), self.usual);
    }

    /// The next window of a cycle: the scale stays.
    fn measure(&mut self, phase: Phase, level: f64) {
        self.phase = phase;
        self.apply(level, self.window.scale());
    }

    /// Opens a window at this limit. If it is a new one, the calls that were admitted before are skipped, and as many after them as
    /// the limit allows: they meet the queue of the old one.
    fn apply(&mut self, limit: f64, scale: f64) {
        let limit = limit.clamp(1.0, self.max).round() as usize;
        if limit == self.limit && self.admitted < u32::MAX / 2 {
            self.open_window(self.admitted, scale);
        } else {
            self.limit = limit;
            self.epoch = self.epoch.wrapping_add(1);
            self.admitted = 0;
            self.open_window(saturate(limit), scale);
        }
    }

    fn open_window(&mut self, first: u32, scale: f64) {
        let calls = match self.phase {
            Phase::High | Phase::Again { .. } => self.noise.upper_window(),
            Phase::Low { .. } => self.noise.lower_window(),
            Phase::Hold { .. } => self.noise.hold_window(),
        };
        let calls = if self.levels.is_rough() { (calls * ROUGH).max(MIN_WINDOW) } else { calls };
        let size = calls.max(self.limit as f64);
        self.window = Window::new(first, size as u32, scale);
    }
}
