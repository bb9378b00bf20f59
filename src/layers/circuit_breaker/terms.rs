//! The settings of a breaker as its calls read them.

use std::time::Duration;

use super::config::CircuitBreakerConfig;
use crate::algorithm::breaker::{Pace, Policy};
use crate::ground::live::Settings;
use crate::ground::time;

/// What a breaker goes by, and how long a call may last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) policy: Policy,
    pub(super) max_hold: Duration,
}

/// The part of it that every call needs to be let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entrance {
    pub(super) pace: Pace,
    pub(super) max_hold: Duration,
}

impl Terms {
    pub(super) fn of(config: &CircuitBreakerConfig) -> Self {
        Self { policy: config.policy(), max_hold: config.max_hold }
    }
}

/// In front what [`Entrance`] is made of.
impl Settings<11> for Terms {
    fn pack(&self) -> [u64; 11] {
        let [a, b, c, d, e, f, g, h, i, j] = self.policy.pack();
        [a, b, c, time::nanos(self.max_hold), d, e, f, g, h, i, j]
    }

    fn unpack([a, b, c, max_hold, d, e, f, g, h, i, j]: [u64; 11]) -> Self {
        let policy = Policy::unpack([a, b, c, d, e, f, g, h, i, j]);
        Self { policy, max_hold: Duration::from_nanos(max_hold) }
    }
}

impl Settings<4> for Entrance {
    fn pack(&self) -> [u64; 4] {
        let [a, b, c] = self.pace.pack();
        [a, b, c, time::nanos(self.max_hold)]
    }

    #[inline]
    fn unpack([a, b, c, max_hold]: [u64; 4]) -> Self {
        Self { pace: Pace::unpack([a, b, c]), max_hold: Duration::from_nanos(max_hold) }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use crate::ground::live::Live;

    #[test]
    fn terms_come_back_as_they_were_packed_and_begin_with_the_entrance() {
        let configs = [
            CircuitBreakerConfig::default(),
            CircuitBreakerConfig { slow_after: Some(Duration::from_secs(1)), slow_rate: None, ..Default::default() },
            CircuitBreakerConfig {
                consecutive_failures: None,
                max_hold: Duration::from_nanos(1),
                ..Default::default()
            },
        ];
        for config in configs {
            let terms = Terms::of(&config);
            assert_eq!(Terms::unpack(terms.pack()), terms);
            let entrance = Entrance { pace: terms.policy.pace(), max_hold: config.max_hold };
            assert_eq!(Live::new(&terms).first::<Entrance, 4>(), entrance);
            assert_eq!(Entrance::unpack(entrance.pack()), entrance);
        }
    }
}
