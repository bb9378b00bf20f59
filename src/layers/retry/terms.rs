//! What a call goes by from its beginning to its end, whatever becomes of the settings meanwhile.

use std::time::Duration;

use super::config::RetryConfig;
use crate::algorithm::backoff::{Backoff, Growth, Jitter};
use crate::ground::live::{Settings, pack_optional, pack_pair, unpack_optional, unpack_pair};
use crate::ground::time;

/// The settings as words, which every call takes along: most succeed, and never look at more than two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// The number of attempts, how the backoff grows and jitters, whether attempts have spans, and whether there are retries.
    kinds: u64,
    factor: u64,
    base: u64,
    cap: u64,
    attempt_timeout: u64,
    max_retry_after: u64,
    max_hold: u64,
}

const CONSTANT: u32 = 0;
const LINEAR: u32 = 1;
const EXPONENTIAL: u32 = 2;
const JITTERS: [Jitter; 4] = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];
const JITTER_SHIFT: u32 = 8;
const SPANS: u32 = 1 << 16;
const OFF: u32 = 1 << 17;

impl Terms {
    pub(super) fn of(config: &RetryConfig) -> Self {
        let Backoff { growth, base, cap, jitter } = config.backoff;
        let (growth, factor) = match growth {
            Growth::Constant => (CONSTANT, 0.0),
            Growth::Linear => (LINEAR, 0.0),
            Growth::Exponential(factor) => (EXPONENTIAL, factor),
        };
        let jitter = match jitter {
            Jitter::None => 0,
            Jitter::Full => 1,
            Jitter::Equal => 2,
            Jitter::Decorrelated => 3,
        };
        // Switched off is one attempt that nobody looks at.
        let on = config.enabled;
        let kinds = if !on {
            OFF
        } else if config.attempt_spans {
            SPANS
        } else {
            0
        };
        let max_attempts = if on { config.max_attempts } else { 1 };
        Self {
            kinds: pack_pair(max_attempts, kinds | jitter << JITTER_SHIFT | growth),
            factor: factor.to_bits(),
            base: time::nanos(base),
            cap: time::nanos(cap),
            attempt_timeout: pack_optional(config.attempt_timeout.filter(|_| on)),
            max_retry_after: time::nanos(config.max_retry_after),
            max_hold: time::nanos(config.max_hold),
        }
    }

    #[inline]
    pub(super) fn enabled(&self) -> bool {
        unpack_pair(self.kinds).1 & OFF == 0
    }

    #[inline]
    pub(super) fn max_attempts(&self) -> u32 {
        unpack_pair(self.kinds).0
    }

    pub(super) fn backoff(&self) -> Backoff {
        let (_, kinds) = unpack_pair(self.kinds);
        let growth = match kinds & 0xff {
            CONSTANT => Growth::Constant,
            LINEAR => Growth::Linear,
            _ => Growth::Exponential(f64::from_bits(self.factor)),
        };
        let jitter = JITTERS.get((kinds >> JITTER_SHIFT & 0xff) as usize).copied().unwrap_or_default();
        Backoff { growth, base: Duration::from_nanos(self.base), cap: Duration::from_nanos(self.cap), jitter }
    }

    #[inline]
    pub(super) fn attempt_spans(&self) -> bool {
        unpack_pair(self.kinds).1 & SPANS != 0
    }

    #[inline]
    pub(super) fn attempt_timeout(&self) -> Option<Duration> {
        unpack_optional(self.attempt_timeout)
    }

    pub(super) fn max_retry_after(&self) -> Duration {
        Duration::from_nanos(self.max_retry_after)
    }

    #[inline]
    pub(super) fn max_hold(&self) -> Duration {
        Duration::from_nanos(self.max_hold)
    }
}

impl Settings<7> for Terms {
    fn pack(&self) -> [u64; 7] {
        let Self { kinds, factor, base, cap, attempt_timeout, max_retry_after, max_hold } = *self;
        [kinds, factor, base, cap, attempt_timeout, max_retry_after, max_hold]
    }

    #[inline]
    fn unpack([kinds, factor, base, cap, attempt_timeout, max_retry_after, max_hold]: [u64; 7]) -> Self {
        Self { kinds, factor, base, cap, attempt_timeout, max_retry_after, max_hold }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_say_what_the_configuration_said(
            max_attempts: u32, growth in 0..3, factor in 1.0..1e9, jitter in prop::sample::select(&JITTERS[..]),
            times: [u32; 4], attempt_timeout: Option<u32>, attempt_spans: bool, enabled: bool,
        ) {
            let [base, cap, max_retry_after, max_hold] = times.map(|time| Duration::from_nanos(u64::from(time) << 25));
            let growth = match growth {
                0 => Growth::Constant,
                1 => Growth::Linear,
                _ => Growth::Exponential(factor),
            };
            let backoff = Backoff { growth, base, cap, jitter };
            let attempt_timeout = attempt_timeout.map(|time| Duration::from_nanos(time.into()));
            let config = RetryConfig {
                enabled, max_attempts, backoff, attempt_timeout, max_retry_after, max_hold, attempt_spans, ..RetryConfig::default()
            };
            let terms = Terms::of(&config);
            let terms = Terms::unpack(terms.pack());
            prop_assert_eq!(terms.enabled(), enabled);
            prop_assert_eq!(terms.max_attempts(), if enabled { max_attempts } else { 1 });
            prop_assert_eq!((terms.backoff(), terms.attempt_spans()), (backoff, attempt_spans && enabled));
            prop_assert_eq!(terms.attempt_timeout(), attempt_timeout.filter(|_| enabled));
            prop_assert_eq!((terms.max_retry_after(), terms.max_hold()), (max_retry_after, max_hold));
        }
    }
}
