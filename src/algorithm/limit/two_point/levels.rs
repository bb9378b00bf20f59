//! The decision: where to measure next, and at which level to work meanwhile.

use super::cycle::{CERTAIN, Ratio, SLACK};

/// The lower level, as a share of the upper one.
pub(super) const LOWER: f64 = 0.65;

/// The same while the knee may be far below.
const FAR_LOWER: f64 = 0.5;

/// The working level is above the knee by so many standard errors.
const MARGIN: f64 = 1.5;

/// The same where calls have ample time: two slacks. The knee of a service with several stages is soft: at 1.15 times the knee, where
/// one stage is full, the others still leave it idle for a tenth of the time.
const AMPLE_MARGIN: f64 = 2.0 * SLACK;

/// The standard error at which half of a measured change is followed. The windows are sized for it.
pub(super) const ERROR: f64 = 0.1;

/// The most windows between two cycles.
const MAX_PATIENCE: u32 = 24;

/// A measurement within so many standard errors of the known knee confirms it.
const CONFIRMING: f64 = 2.0;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Levels {
    /// The upper level of the next cycle, with its fraction.
    level: f64,
    knee: f64,
    /// The level between two cycles.
    work: f64,
    /// The windows between two cycles that confirm the knee.
    patience: u32,
    /// The windows until the next cycle.
    hold: u32,
    /// No queue was seen yet.
    slow_start: bool,
    /// See [`crowded`](Self::crowded); zero otherwise.
    uncrowded: f64,
    /// Calls took less time at half of the level.
    is_confirmed: bool,
    /// Cycles in a row without a queue.
    free: u32,
    /// Cycles in a row whose lower level was above the knee, too.
    clear: u32,
}

impl Levels {
    pub(super) fn new(level: f64) -> Self {
        Self {
            level,
            knee: level,
            work: level,
            patience: 0,
            hold: 0,
            slow_start: true,
            uncrowded: 0.0,
            is_confirmed: false,
            free: 0,
            clear: 0,
        }
    }

    pub(super) fn upper(&self) -> f64 {
        self.level.round().max(1.0)
    }

    /// Equal to the upper level if that is one.
    pub(super) fn lower(&self) -> f64 {
        let is_far = self.slow_start || self.clear >= if self.uncrowded > 0.0 { 4 } else { 2 };
        let share = if is_far { FAR_LOWER } else { LOWER };
        let lower = if self.is_rough() && self.is_confirmed { self.uncrowded } else { self.upper() * share };
        lower.round().min(self.upper() - 1.0).max(1.0)
    }

    /// Calls seem to queue at this level, and not at another one. A service that is slow for its own reasons would lose most of its calls
    /// there, so half of the upper level comes first.
    pub(super) fn crowded(level: f64, uncrowded: f64) -> Self {
        Self { uncrowded: uncrowded.max(1.0), ..Self::new(level) }
    }

    /// Calls take less time at the first lower level. Returns whether the next one is far below it.
    pub(super) fn confirm(&mut self) -> bool {
        let is_next = !self.is_confirmed && self.uncrowded < self.lower();
        self.is_confirmed = true;
        is_next
    }

    /// Whether the question is only if calls queue at all.
    pub(super) fn is_rough(&self) -> bool {
        self.slow_start && self.uncrowded > 0.0
    }

    pub(super) fn work(&self) -> f64 {
        self.work
    }

    /// The level between two cycles where calls have ample time.
    pub(super) fn ample_work(&self) -> f64 {
        self.work.max(self.knee * (1.0 + AMPLE_MARGIN))
    }

    pub(super) fn hold(&self) -> u32 {
        self.hold
    }

    pub(super) fn bound(&mut self, most: f64) {
        // One call at a time has no lower level to compare with, so two are tried.
        let level = if self.level < 1.5 { 2.0 } else { self.level };
        self.level = level.min(most).max(1.0);
        self.work = self.work.min(self.level);
    }

    /// The limit is this now, for a reason that the two points do not show.
    pub(super) fn jump_to(&mut self, level: f64) {
        self.level = level.max(1.0);
        self.work = self.level;
        self.slow_start = false;
        (self.free, self.clear) = (0, 0);
        self.distrust();
    }

    /// Calls take longer than they did at the same level, so the knee may be far below.
    pub(super) fn suspect(&mut self) {
        self.distrust();
        self.clear = 2;
    }

    pub(super) fn distrust(&mut self) {
        (self.patience, self.hold) = (0, 0);
    }

    /// The lower level is certainly not below the knee, and becomes the upper one.
    pub(super) fn descend(&mut self) {
        let lower = self.lower();
        let known = (lower - self.knee).abs() < 1.0;
        // With no knee known, the next step is a wide one.
        self.clear = if self.slow_start { 2 } else { self.clear + 1 };
        self.patience = if known && self.clear < 2 {
            longer(self.patience)
        } else {
            // Nothing is below one: wait.
            u32::from(lower < 2.0)
        };
        self.hold = self.patience;
        (self.level, self.knee, self.work) = (lower, lower, lower);
        (self.slow_start, self.free) = (false, 0);
    }

    /// All windows of a cycle are there. The upper level must not exceed `most`.
    pub(super) fn decide(&mut self, ratio: Ratio, most: f64) {
        let (upper, lower) = (self.upper(), self.lower());
        let knee = upper / ratio.bounded().exp();
        let slack = (SLACK * knee).max(1.0);
        let free = ratio.is_free((slack / knee).ln_1p());
        if free && self.slow_start && most > upper {
            self.level = (2.0 * upper).min(most);
            self.hold = 0;
            return;
        }
        let was_rough = self.is_rough();
        self.slow_start = false;
        let clear = !free && !was_rough && ratio.is_clear() && lower > 1.0;
        self.free = if free { self.free + 1 } else { 0 };
        self.clear = if clear { self.clear + 1 } else { 0 };
        let step = if free {
            (slack * f64::from(self.free - 1).min(30.0).exp2()).min(upper)
        } else if clear {
            slack.min((upper - lower) * if self.clear >= 2 { 0.4 } else { 0.8 })
        } else {
            slack
        };
        let repeated = self.free >= 2 || self.clear >= 2;
        let change = ((knee + step) / self.level).ln();
        // The points of a rough measurement are far apart.
        let is_certain = was_rough && change.abs() > CERTAIN * ratio.error;
        let gain = if repeated || is_certain { 1.0 } else { 1.0 / (1.0 + (ratio.error / ERROR).powi(2)) };
        let mut level = self.level * (gain * change).exp();
        if free {
            level = level.max(upper + 1.0);
        }
        let stopped = free && level >= most;
        self.level = level.min(most).max(1.0);
        self.knee = (level - step).min(self.level).max(1.0);
        self.work = (self.knee * (1.0 + MARGIN * ratio.error)).min(self.level);
        // The limit is a whole number, and hardly any service is steadier than by a fiftieth.
        let expected = ratio.error.hypot(1.0 / upper).max(0.02);
        let confirmed = !repeated && !free && change.abs() < CONFIRMING * expected;
        self.patience = if confirmed || stopped { longer(self.patience) } else { 0 };
        self.hold = self.patience;
    }
}

fn longer(patience: u32) -> u32 {
    (2 * patience + 1).min(MAX_PATIENCE)
}
