use std::time::Duration;

use super::KIND;
use super::config::DeadlineConfig;
use crate::admission::registry::{Condition, DeadlineCondition, Observed};
use crate::ground::live::{Current, Live, Settings, pack_optional, unpack_optional};
use crate::ground::time::{self, Instant};
use crate::layers::call::unready::Unready;
use crate::telemetry::Instruments;

/// What the services of one layer value share: the settings, and how many calls wait for the inner service.
#[derive(Debug)]
pub(super) struct State {
    pub(super) unready: Unready,
    pub(super) instruments: Instruments,
    pub(super) config: Current<DeadlineConfig>,
    times: Live<Times, 4>,
}

impl State {
    pub(super) fn new(config: DeadlineConfig) -> Self {
        Self {
            unready: Unready::default(),
            instruments: Instruments::new(KIND),
            times: Live::new(&Times::of(&config)),
            config: Current::new(config),
        }
    }

    #[inline]
    pub(super) fn times(&self) -> Times {
        self.times.read()
    }

    pub(super) fn apply(&self, config: &DeadlineConfig) {
        self.config.replace(config, |_| self.times.write(&Times::of(config)));
    }
}

impl Observed for State {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        let Times { timeout, head_timeout, idle_timeout, body_timeout } = self.times();
        Condition::Deadline(DeadlineCondition { timeout, head_timeout, idle_timeout, body_timeout })
    }
}

/// The settings as calls read them; see [`DeadlineConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Times {
    pub(super) timeout: Duration,
    pub(super) head_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) body_timeout: Option<Duration>,
}

impl Times {
    fn of(config: &DeadlineConfig) -> Self {
        let DeadlineConfig { timeout, head_timeout, idle_timeout, body_timeout } = *config;
        Self { timeout, head_timeout, idle_timeout, body_timeout }
    }
}

impl Settings<4> for Times {
    fn pack(&self) -> [u64; 4] {
        let [head, idle, body] = [self.head_timeout, self.idle_timeout, self.body_timeout].map(pack_optional);
        [time::nanos(self.timeout), head, idle, body]
    }

    #[inline]
    fn unpack([timeout, head, idle, body]: [u64; 4]) -> Self {
        Self {
            timeout: Duration::from_nanos(timeout),
            head_timeout: unpack_optional(head),
            idle_timeout: unpack_optional(idle),
            body_timeout: unpack_optional(body),
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_come_back_as_they_were_packed(timeout: u64, parts: [Option<u32>; 3]) {
            let [head_timeout, idle_timeout, body_timeout] =
                parts.map(|part| part.map(|part| Duration::from_nanos(u64::from(part) << 20)));
            let times =
                Times { timeout: Duration::from_nanos(timeout), head_timeout, idle_timeout, body_timeout };
            prop_assert_eq!(Times::unpack(times.pack()), times);
        }
    }
}
