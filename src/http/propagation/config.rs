use std::time::Duration;

use ::http::HeaderName;

#[cfg(feature = "config")]
use super::header_name::{Written, WrittenList};
use crate::ground::context::Priority;
use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// How deadlines and attempts travel over HTTP. One value serves both ends.
///
/// ```
/// use std::time::Duration;
/// use http::HeaderName;
/// use seawall::http::propagation::{ExtractLayer, HeaderNames, PropagationConfig};
///
/// let headers = HeaderNames { timeout: HeaderName::from_static("x-patience-ms"), ..HeaderNames::default() };
/// let layer = ExtractLayer::http(PropagationConfig { headers, ..PropagationConfig::default() })?;
/// # let _ = layer;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct PropagationConfig {
    /// What the headers are called. Default: `x-request-timeout-ms` and Envoy's names.
    pub headers: HeaderNames,
    /// What is kept back of the time left when a request is sent, for its way there and the answer's way back; never more
    /// than a tenth of it. Zero keeps nothing back. Default: 5 ms.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub allowance: Duration,
    /// The longest time that is believed; more than zero. A request that asks for more has no deadline of its own, and those of the
    /// layers inside hold. Default: 10 minutes.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_timeout: Duration,
    /// The highest priority that is believed: a request that asks for more has this one. `normal` for a service that strangers
    /// call, `critical` for one behind services that decide it. Default: `high`.
    pub max_priority: Priority,
}

/// What the headers are called in which deadlines and attempts travel over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct HeaderNames {
    /// The time left, in whole milliseconds: written and read. Default: `x-request-timeout-ms`.
    #[cfg_attr(feature = "config", serde(with = "Written"))]
    pub timeout: HeaderName,
    /// Headers of the same meaning that others write: read only. Default: Envoy's `x-envoy-expected-rq-timeout-ms`.
    #[cfg_attr(feature = "config", serde(with = "WrittenList"))]
    pub also_understood: Vec<HeaderName>,
    /// The number of the attempt, 1 being the first: written and read; none of the others. Default: Envoy's
    /// `x-envoy-attempt-count`.
    #[cfg_attr(feature = "config", serde(with = "Written"))]
    pub attempt: HeaderName,
    /// The priority, `low`, `normal`, `high` or `critical`: written and read; none of the others. Default: `x-priority`.
    #[cfg_attr(feature = "config", serde(with = "Written"))]
    pub priority: HeaderName,
}

pub(crate) const DEFAULT_ALLOWANCE: Duration = Duration::from_millis(5);
pub(crate) const DEFAULT_MAX_TIMEOUT: Duration = Duration::from_secs(600);
pub(crate) const DEFAULT_MAX_PRIORITY: Priority = Priority::High;

impl Default for PropagationConfig {
    fn default() -> Self {
        Self {
            headers: HeaderNames::default(),
            allowance: DEFAULT_ALLOWANCE,
            max_timeout: DEFAULT_MAX_TIMEOUT,
            max_priority: DEFAULT_MAX_PRIORITY,
        }
    }
}

impl Default for HeaderNames {
    fn default() -> Self {
        Self {
            timeout: HeaderName::from_static("x-request-timeout-ms"),
            also_understood: vec![HeaderName::from_static("x-envoy-expected-rq-timeout-ms")],
            attempt: HeaderName::from_static("x-envoy-attempt-count"),
            priority: HeaderName::from_static("x-priority"),
        }
    }
}

impl Validate for PropagationConfig {
    fn check(&self, validation: &mut Validation) {
        let HeaderNames { timeout, also_understood, attempt, priority } = &self.headers;
        validation.nested("headers", |validation| {
            validation.check_against(
                attempt != timeout && !also_understood.contains(attempt),
                "attempt",
                &["timeout", "also_understood"],
                format_args!("{attempt} is a header of the time left, too; give each its own"),
            );
            validation.check_against(
                priority != timeout && priority != attempt && !also_understood.contains(priority),
                "priority",
                &["timeout", "also_understood", "attempt"],
                format_args!("{priority} is a header of the time left or the attempt, too; give each its own"),
            );
        });
        check_times(validation, self.allowance, self.max_timeout);
    }
}

impl HeaderNames {
    /// Names are woven into the services, and cannot change while those are at work.
    pub(crate) fn check_unchanged(&self, now: &Self, validation: &mut Validation) {
        let fixed = [
            ("timeout", self.timeout == now.timeout),
            ("also_understood", self.also_understood == now.also_understood),
            ("attempt", self.attempt == now.attempt),
            ("priority", self.priority == now.priority),
        ];
        for (field, unchanged) in fixed {
            validation.check(unchanged, field, FIXED);
        }
    }
}

/// What is wrong with another value of a setting that is the same for as long as a layer lives.
pub(crate) const FIXED: &str = "cannot change while the layer is at work: it takes a new one, or a restart";

/// The part that is the same for all protocols.
pub(crate) fn check_times(validation: &mut Validation, allowance: Duration, max_timeout: Duration) {
    validation.bounded("allowance", allowance);
    validation.positive("max_timeout", max_timeout);
}
