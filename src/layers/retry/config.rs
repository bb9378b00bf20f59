use std::time::Duration;

use super::budget::BudgetConfig;
use crate::admission::keyed::DEFAULT_MAX_KEYS;
use crate::algorithm::backoff::Backoff;
use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// The settings of a [`RetryLayer`](super::RetryLayer).
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct RetryConfig {
    /// Whether calls are tried again. If not, each call has one attempt, which is not cut by `attempt_timeout`, earns nothing and
    /// has no span, and a retry further out is the one that counts; `max_hold` still bounds a call without a deadline.
    /// Default: `true`.
    pub enabled: bool,
    /// How many attempts a call gets, the first one included: at least 1, which is no retry. Default: 3.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_attempts: u32,
    /// How long to wait before each retry. Default: exponential from 50 ms, doubling, at most 2 s, full jitter.
    pub backoff: Backoff,
    /// What retries may cost. Default: a fifth of the calls of the last 10 s, and a reserve of ten. A budget that is [given](super::RetryLayer::with_budget) replaces it.
    pub budget: BudgetConfig,
    /// How long one attempt may take, the body of its response included, and never longer than the call has left; to the layers
    /// and calls further in this is the deadline. Of a call that is
    /// [meant to last](crate::http::LongLived) it bounds the time to the head, and nothing where the head may take all of the
    /// call's time, as that of a long poll may. More than zero. Default: `None`, as long as the call has left, so that an
    /// attempt that hangs is not repeated.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub attempt_timeout: Option<Duration>,
    /// The longest pause that a dependency may ask for. When it asks for more, its answer is returned instead. Zero obeys
    /// none. Default: 5 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_retry_after: Duration,
    /// How long a call may take, attempts and waits together, where it has no deadline; more than zero. Default: one
    /// minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// Whether each attempt has a `tracing` span, called `attempt`, with OpenTelemetry's names where it has any: how often the
    /// request was sent before, and how it failed. Default: `false`.
    pub attempt_spans: bool,
    /// How many keys have a budget of their own at a time, where the layer [is told keys](super::RetryLayer::keyed_by): at
    /// least 1. Default: 1024. What happens with more is told in [`keyed`](crate::keyed).
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_keys: usize,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_attempts: 3,
            backoff: Backoff::default(),
            budget: BudgetConfig::default(),
            attempt_timeout: None,
            max_retry_after: Duration::from_secs(5),
            max_hold: DEFAULT_MAX_HOLD,
            attempt_spans: false,
            max_keys: DEFAULT_MAX_KEYS,
        }
    }
}

impl Validate for RetryConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least_one("max_attempts", self.max_attempts.into());
        validation.nested("backoff", |validation| self.backoff.check(validation));
        validation.nested("budget", |validation| self.budget.check(validation));
        if let Some(timeout) = self.attempt_timeout {
            validation.positive("attempt_timeout", timeout);
        }
        validation.bounded("max_retry_after", self.max_retry_after);
        validation.positive("max_hold", self.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
    }
}
