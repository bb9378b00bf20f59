//! The absolute guard: acts when most calls take too long, or get no answer in time.
//!
//! Two points show only whether calls take longer at the one than at the other. If they take equally long at both, and far too long,
//! the cause is elsewhere: other clients of the service, or the service itself. In the first case each client has to lower its
//! limit, in the second that would only lose throughput. So the guard tries: it lowers the limit step by step as long as most calls
//! are too slow. When a few steps have not halved the time, it gives them back, and rests.

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
}

/// What the guard decides about a window in which most calls were too slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Action {
    Lower,
    /// The steps did not help: back to this level.
    Restore(f64),
    /// It rests.
    Nothing,
}

impl Guard {
    pub(super) fn new() -> Self {
        Self { steps: 0, rest: 0, next_rest: RESTS[0], level: 0.0, took: 0.0 }
    }

    /// In the last window, at this limit, most calls were too slow.
    pub(super) fn too_slow(&mut self, level: f64, took: f64) -> Action {
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

    /// In the last window most calls were in time.
    pub(super) fn in_time(&mut self) {
        if self.steps > 0 {
            *self = Self::new();
        }
        self.rest = self.rest.saturating_sub(1);
    }

    /// While it rests, most calls may be too slow, and the limit must not grow.
    pub(super) fn is_resting(&self) -> bool {
        self.rest > 0
    }
}
