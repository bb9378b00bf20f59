//! The limit from two points.

mod ceiling;
mod cycle;
mod guard;
mod levels;
mod window;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use self::ceiling::Ceiling;
use self::cycle::{Cycle, Ratio};
use self::guard::{Action, Guard};
use self::levels::{ERROR, LOWER, Levels};
use self::window::{Summary, Window};
use super::{Outcome, Ticket, saturate};
use crate::ground::time::nanos;

/// The smallest window: with fewer calls their variance is unknown.
const MIN_WINDOW: f64 = 24.0;

/// The largest window because of noise.
const MAX_WINDOW: f64 = 2000.0;

/// The variance of a single time, until it is known: that of exponential times.
const PRIOR_NOISE: f64 = 1.0;

/// A limit or its ceiling is never above this.
const MAX_LIMIT: usize = 1 << 30;

/// What a limit is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) start: usize,
    pub(crate) max: usize,
    /// A call that takes longer is too slow; see [`guard`].
    pub(crate) objective: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { start: 16, max: MAX_LIMIT, objective: None }
    }
}

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
    /// Counts the changes of the limit. A call that was admitted before the last one proves nothing.
    epoch: u32,
    /// The admissions of this epoch.
    admitted: u32,
    phase: Phase,
    window: Window,
    levels: Levels,
    /// The variance of a single time, as a logarithm.
    noise: f64,
    /// The usual time, in nanoseconds; zero if unknown.
    usual: f64,
    ceiling: Ceiling,
    guard: Guard,
}

impl TwoPoint {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let max = bounds.max.clamp(1, MAX_LIMIT);
        let limit = bounds.start.clamp(1, max);
        let mut new = Self {
            max: max as f64,
            objective: bounds.objective.map_or(f64::INFINITY, |objective| nanos(objective) as f64),
            limit,
            epoch: 0,
            admitted: 0,
            phase: Phase::High,
            window: Window::new(0, 1, 0.0),
            levels: Levels::new(limit as f64),
            noise: PRIOR_NOISE,
            usual: 0.0,
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
        let ticket = Ticket::new(in_flight, self.limit, self.epoch, self.admitted);
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
        if ticket.epoch != self.epoch {
            return false;
        }
        let before = self.limit;
        if outcome == Outcome::NoRoom {
            if let Some(pool) = self.ceiling.refused(in_flight, took, self.usual) {
                self.restart_below(pool.max(LOWER * before as f64));
                return self.limit != before;
            }
        }
        let full = in_flight >= 0.95 * f64::from(ticket.limit);
        let unanswered = outcome == Outcome::Late && took >= 0.5 * self.usual;
        let slow = full && (unanswered || took > self.objective);
        self.window.record(ticket.index, took, outcome, full, slow);
        if !self.window.is_over() {
            return false;
        }
        self.finish_window();
        self.limit != before
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
        if self.window.is_slow() {
            match self.guard.too_slow(self.limit as f64, self.usual) {
                Action::Lower => return self.restart_below(LOWER * self.limit as f64),
                Action::Restore(level) => {
                    self.ceiling.lift();
                    self.levels.jump_to(level);
                    return self.start_cycle();
                }
                Action::Nothing => {}
            }
        } else {
            self.guard.in_time();
        }
        let Some(summary) = self.window.summary().filter(|_| self.window.is_full()) else {
            return self.skip_window();
        };
        // A queue in the service hides the noise of its times. So what was known about it is forgotten slowly.
        let noise = summary.noise.min(MAX_WINDOW * ERROR * ERROR / 2.5);
        self.noise += (noise - self.noise) * if noise > self.noise { 0.5 } else { 0.25 };
        match self.phase {
            Phase::Hold { left, base } => self.hold_on(left, base.unwrap_or(summary), summary),
            Phase::High if self.levels.lower() >= self.levels.upper() => self.start_cycle(),
            Phase::High => self.measure(Phase::Low { high: summary }, self.levels.lower()),
            Phase::Low { high } => match self.ratio(high, summary, None) {
                Some(ratio) if ratio.is_certain() => {
                    self.levels.descend();
                    if self.levels.patience() > 0 {
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
            Phase::Hold { .. } => self.apply(self.limit as f64, self.usual),
            Phase::High => self.start_cycle(),
            Phase::Low { .. } | Phase::Again { .. } => self.hold(),
        }
    }

    fn hold_on(&mut self, left: u32, base: Summary, now: Summary) {
        let drift = (now.mean - base.mean).abs() / base.slope;
        let error = (self.noise / now.count + self.noise / base.count).sqrt();
        if drift > (4.0 * error).max(0.2) {
            self.levels.distrust();
            self.start_cycle();
        } else if left <= 1 {
            self.start_cycle();
        } else {
            self.phase = Phase::Hold { left: left - 1, base: Some(base) };
            self.apply(self.limit as f64, self.window.scale());
        }
    }

    fn ratio(&self, high: Summary, low: Summary, again: Option<Summary>) -> Option<Ratio> {
        let most = (self.levels.upper() / self.levels.lower()).ln();
        Cycle { high, low, again, most, noise: self.noise }.ratio()
    }

    /// What the upper level must not exceed.
    fn most(&self) -> f64 {
        if self.guard.is_resting() { self.levels.upper() } else { self.max.min(self.ceiling.level()) }
    }

    /// The limit was too high for a reason that the two points do not show.
    fn restart_below(&mut self, level: f64) {
        self.ceiling.lower_to(level);
        self.levels.jump_to(level);
        self.start_cycle();
    }

    /// As many windows as the last decision allows, and the next cycle.
    fn hold(&mut self) {
        if self.levels.patience() == 0 {
            return self.start_cycle();
        }
        self.phase = Phase::Hold { left: self.levels.patience(), base: None };
        self.apply(self.levels.work(), self.usual);
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
        // With these sizes the standard error of a cycle is just `ERROR`.
        let calls = if matches!(self.phase, Phase::Low { .. }) { 1.25 } else { 2.5 } * self.noise / (ERROR * ERROR);
        let size = calls.clamp(MIN_WINDOW, MAX_WINDOW).max(self.limit as f64);
        self.window = Window::new(first, size as u32, scale);
    }
}
