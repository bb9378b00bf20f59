//! The absolute guard: acts when most calls take too long, or get no answer in time.
//!
//! Two points show only whether calls take longer at the one than at the other. If they take equally long at both, and far too long,
//! the cause is elsewhere: other clients of the service, or the service itself. In the first case each client has to lower its
//! limit, in the second that would only lose throughput. So the guard tries: it lowers the limit step by step as long as most calls
//! are too slow. When a few steps have not halved the time, it gives them back, and rests. It gives them back as well when the cause is
//! over: then the time falls by far more than the limit did.

/// The steps after which they must have helped.
const STEPS: u32 = 4;

/// The windows of the first rest, and of the longest: each one that was in vain doubles them.
const RESTS: [u32; 2] = [24, 384];

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    steps: u32,
    /// The windows until it may act again.
    rest: u32,
    next_rest: u32,
    /// The limit before the first step.
    level: f64,
    /// The usual time before the first step, or when the steps last proved useful.
    took: f64,
    /// In the last window.
    is_slow: bool,
}

/// What the guard decides about a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    Lower,
    /// The steps did not help, or are no longer needed: back to this level.
    Restore(f64),
    Nothing,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self { steps: 0, rest: 0, next_rest: RESTS[0], level: 0.0, took: 0.0, is_slow: false }
    }

    /// In the last window, at this limit, most calls were too slow.
    pub(super) fn too_slow(&mut self, level: f64, took: f64) -> Action {
        self.is_slow = true;
        if self.is_resting() {
            self.rest -= 1;
            return Action::Nothing;
        }
        if self.steps == 0 {
            (self.level, self.took) = (level, took);
        }
        if self.steps >= STEPS {
            if took > self.took / 2.0 {
                (self.steps, self.rest) = (0, self.next_rest);
                self.next_rest = (2 * self.next_rest).min(RESTS[1]);
                return Action::Restore(self.level);
            }
            (self.steps, self.took) = (0, took);
        }
        self.steps += 1;
        Action::Lower
    }

    /// In the last window, at this limit, most calls were in time. Returns what to do about the steps that were made before.
    pub(super) fn in_time(&mut self, level: f64, took: f64) -> Action {
        self.rest = self.rest.saturating_sub(1);
        // The first such window may have begun while calls were too slow.
        let is_first = std::mem::take(&mut self.is_slow);
        if self.steps == 0 || is_first {
            return Action::Nothing;
        }
        let before = std::mem::replace(self, Self::new());
        // The steps explain a time that fell as much as the limit did. If it fell far more, the cause is over.
        if took < before.took * level / before.level / 2.0 { Action::Restore(before.level) } else { Action::Nothing }
    }

    /// While most calls are too slow, the limit must not grow.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    fn is_resting(&self) -> bool {
        self.rest > 0
    }
}
