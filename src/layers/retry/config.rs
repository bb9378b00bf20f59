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
    /// Whether calls are retried. If not, each call has one attempt, without `attempt_timeout`, deposit or span, and an outer retry
    /// numbers the attempts; `max_hold` still bounds a call without a deadline. Default: `true`.
    pub enabled: bool,
    /// The maximum number of attempts of a call, including the first: at least 1, which makes no retries. Default: 3.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1)))]
    pub max_attempts: u32,
    /// How long to wait before each retry. Default: exponential from 50 ms, or from the [usual
    /// time](crate::retry#after-a-quick-refusal) of a call after a quick refusal, doubling, at most 2 s, full jitter.
    pub backoff: Backoff,
    /// The retry budget. Default: a tenth of the calls of the last 10 s, and a reserve of ten. A budget that is set with
    /// [`with_budget`](super::RetryLayer::with_budget) replaces it.
    pub budget: BudgetConfig,
    /// The timeout of one attempt, and never longer than the call has left. The wait for a permit of an inner layer counts, and so does the body
    /// of the response, also while the caller keeps it: a full dependency refuses attempts that would have been answered in the call's own time.
    /// Where calls wait, put a [`DeadlineLayer`](crate::deadline::DeadlineLayer) inside of the layer with the permits instead. Inner layers and
    /// calls see it as their deadline. For a [long-lived](crate::http::LongLived) call it bounds the time to the head, and nothing if the head
    /// may take all of the call's time, as with a long poll. More than zero. Default: `None`, an attempt may take all the time that the call has
    /// left, so an attempt that hangs is not retried.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub attempt_timeout: Option<Duration>,
    /// The longest pause that a dependency may ask for. If it asks for more, its response is returned instead. Zero accepts none.
    /// Default: 5 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_retry_after: Duration,
    /// How long a call without a deadline may take, attempts and waits together; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
    /// Whether each attempt has a `tracing` span, named `attempt`, with OpenTelemetry's attribute names where they exist: how often
    /// the request was sent before, and how the attempt failed. Default: `false`.
    pub attempt_spans: bool,
    /// How many keys have a budget of their own at a time, if the layer [is keyed](super::RetryLayer::keyed_by): at least 1.
    /// Default: 1024. See [`keyed`](crate::keyed) for what happens beyond the limit.
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
