//! The settings of a rate limit as calls use them, derived from its config.

use std::time::Duration;

use super::config::RateLimitConfig;
use crate::algorithm::gcra::Rates;

/// The bounds of the queue and of a call, and the rate as refusals show it; see [`RateLimitConfig`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RateLimitSettings {
    pub(super) max_wait: Duration,
    pub(super) max_waiting: u32,
    pub(super) permits: u32,
    pub(super) per: Duration,
    pub(super) max_hold: Duration,
}

impl RateLimitSettings {
    pub(super) fn of(config: &RateLimitConfig) -> Self {
        let RateLimitConfig { permits, per, max_wait, max_waiting, max_hold, .. } = *config;
        Self { max_wait, max_waiting, permits, per, max_hold }
    }
}

/// The settings that calls use.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppliedRates {
    pub(super) settings: RateLimitSettings,
    pub(super) rates: Rates,
}

impl AppliedRates {
    pub(super) fn first(config: &RateLimitConfig) -> Self {
        Self { settings: RateLimitSettings::of(config), rates: Rates::first(config.rate()) }
    }

    pub(super) fn then(&self, config: &RateLimitConfig) -> Self {
        Self { settings: RateLimitSettings::of(config), rates: self.rates.then(config.rate()) }
    }
}
