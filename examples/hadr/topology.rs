//! The topologies, the pace of a run, and the parameters that all runs share.

use std::time::Duration;

/// How many calls a predictor serves at once.
pub(crate) const SLOTS: u32 = 10;

/// Which predictors are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One predictor.
    Single,
    /// Two active predictors and one standby.
    TwoAndStandby,
    /// Three active predictors.
    Three,
}

impl Topology {
    pub(crate) const ALL: [Self; 3] = [Self::Single, Self::TwoAndStandby, Self::Three];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::TwoAndStandby => "two_and_standby",
            Self::Three => "three_active",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::TwoAndStandby => "2 active + 1 standby",
            Self::Three => "3 active",
        }
    }

    /// The tier of each predictor.
    pub(crate) fn tiers(self) -> &'static [u8] {
        match self {
            Self::Single => &[0],
            Self::TwoAndStandby => &[0, 0, 1],
            Self::Three => &[0, 0, 0],
        }
    }

    /// The position of the standby.
    pub(crate) fn standby(self) -> Option<usize> {
        self.tiers().iter().position(|tier| *tier > 0)
    }

    pub(crate) fn is_redundant(self) -> bool {
        self.tiers().len() > 1
    }

    /// Requests that all predictors can serve in one service time.
    pub(crate) fn slots(self) -> u32 {
        SLOTS * self.tiers().len() as u32
    }

    /// The users of a fault run: 60 % of two predictors, which is more than one of them can serve; or of the single one.
    pub(crate) fn steady_users(self) -> usize {
        let slots = if self.is_redundant() { 2 * SLOTS } else { SLOTS };
        (f64::from(slots) * 0.6 * USER_CYCLE) as usize
    }
}

/// The mean time from one call of a user to the next, in service times: 1 for the answer, and 1 to 5 to think.
pub(crate) const USER_CYCLE: f64 = 4.0;

/// The name of the predictor at this position.
pub(crate) fn node_name(node: usize) -> &'static str {
    ["a", "b", "c"].get(node).copied().unwrap_or("?")
}

/// How fast a run goes. Every time of it, the settings of the layers included, is a multiple of the service time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long a predictor takes for a call.
    pub(crate) service: Duration,
    /// When the next user of a ramp comes.
    pub(crate) user_step: Duration,
    /// How many fault runs run side by side.
    pub(crate) side_by_side: usize,
}

impl Pace {
    /// Calls take a second, and a user comes each second.
    pub(crate) fn full() -> Self {
        Self { service: Duration::from_secs(1), user_step: Duration::from_secs(1), side_by_side: 12 }
    }

    /// The same runs four times as fast; the users of a ramp come ten times as fast.
    pub(crate) fn quick() -> Self {
        Self { service: Duration::from_millis(250), user_step: Duration::from_millis(100), side_by_side: 6 }
    }

    /// So many service times.
    pub(crate) fn times(self, services: f64) -> Duration {
        self.service.mul_f64(services)
    }

    /// A duration in service times.
    pub(crate) fn services(self, time: Duration) -> f64 {
        time.as_secs_f64() / self.service.as_secs_f64()
    }

    /// What `slots` can serve each second.
    pub(crate) fn theory(self, slots: u32) -> f64 {
        f64::from(slots) / self.service.as_secs_f64()
    }

    /// A call that takes longer disturbs its user.
    pub(crate) fn slow_after(self) -> Duration {
        self.times(2.0)
    }
}
