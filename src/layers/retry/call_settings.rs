//! The settings of one call, fixed from its start to its end, whatever a reload does meanwhile.

use std::time::Duration;

use super::config::RetryConfig;
use crate::algorithm::backoff::{Backoff, Growth, Jitter};
use crate::ground::time;

/// The settings that a call copies. Nanoseconds take half the space of a [`Duration`]: every call moves this into its future, and
/// only calls that fail read `base`, `cap` and `max_retry_after`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryCallSettings {
    growth: Growth,
    base: u64,
    cap: u64,
    pub(super) attempt_timeout: Option<Duration>,
    max_retry_after: u64,
    pub(super) max_attempts: u32,
    jitter: Jitter,
    pub(super) enabled: bool,
    pub(super) attempt_spans: bool,
}

/// The settings that a service caches.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceSettings {
    pub(super) settings: RetryCallSettings,
    pub(super) max_hold: Duration,
}

impl ServiceSettings {
    pub(super) fn of(config: &RetryConfig) -> Self {
        Self { settings: RetryCallSettings::of(config), max_hold: config.max_hold }
    }
}

impl RetryCallSettings {
    /// If retries are disabled, a call has one attempt, without a timeout and without a span.
    pub(super) fn of(config: &RetryConfig) -> Self {
        let Backoff { growth, base, cap, jitter } = config.backoff;
        let enabled = config.enabled;
        Self {
            growth,
            base: time::nanos(base),
            cap: time::nanos(cap),
            attempt_timeout: config.attempt_timeout.filter(|_| enabled),
            max_retry_after: time::nanos(config.max_retry_after),
            max_attempts: if enabled { config.max_attempts } else { 1 },
            jitter,
            enabled,
            attempt_spans: enabled && config.attempt_spans,
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        let [base, cap] = [self.base, self.cap].map(Duration::from_nanos);
        Backoff { growth: self.growth, base, cap, jitter: self.jitter }
    }

    pub(super) fn max_retry_after(&self) -> Duration {
        Duration::from_nanos(self.max_retry_after)
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    #[test]
    fn call_settings_match_the_config() {
        let backoff = Backoff {
            growth: Growth::Exponential(1.5),
            base: Duration::from_micros(3),
            cap: Duration::from_secs(7),
            jitter: Jitter::Decorrelated,
        };
        let config = RetryConfig { backoff, attempt_spans: true, max_attempts: 4, ..RetryConfig::default() };
        let settings = RetryCallSettings::of(&config);
        assert_eq!((settings.enabled, settings.max_attempts, settings.attempt_spans), (true, 4, true));
        assert_eq!((settings.backoff(), settings.attempt_timeout), (backoff, config.attempt_timeout));
        assert_eq!(settings.max_retry_after(), config.max_retry_after);

        let off = RetryCallSettings::of(&RetryConfig { enabled: false, ..config });
        assert_eq!((off.enabled, off.max_attempts, off.attempt_spans, off.attempt_timeout), (false, 1, false, None));
    }
}
