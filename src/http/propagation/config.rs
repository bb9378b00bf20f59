use std::time::Duration;

use ::http::HeaderName;

#[cfg(feature = "config")]
use super::header_name::{Written, WrittenList};
use crate::ground::context::Priority;
use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// How deadlines and attempts travel over HTTP. Use one value for both ends.
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
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct PropagationConfig {
    /// The names of the headers. Default: `x-request-timeout-ms` and Envoy's names.
    pub headers: HeaderNames,
    /// The part of the time left that is kept back when a request is sent, for the network time of request and
    /// response; never more than a tenth of the time left. Zero keeps nothing back. Default: 5 ms.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub allowance: Duration,
    /// The longest timeout that is accepted; more than zero. A request that asks for more gets no deadline from its
    /// header, and the bounds of the inner layers hold. Default: 10 minutes.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_timeout: Duration,
    /// The highest priority that is accepted. A request that asks for more gets this one. Use `normal` for a service
    /// that strangers call, and `critical` behind services that decide the priority. Default: `high`.
    pub max_priority: Priority,
    /// Whether a service reports in its responses how many requests it has in flight, for the [balancers](crate::balance) of its clients.
    /// They then count the calls of other clients, too. It helps if each client makes several calls a second to each endpoint. With fewer,
    /// the reports are too old, and can make the choice worse. Each client can see how busy the service is: leave it off in a public
    /// service. Only [`ExtractLayer`](super::ExtractLayer) reads it. Default: `false`.
    pub report_load: bool,
}

/// The names of the headers that carry deadlines and attempts over HTTP.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct HeaderNames {
    /// The time left, in whole milliseconds: written and read. Default: `x-request-timeout-ms`.
    #[cfg_attr(feature = "config", serde(with = "Written"))]
    pub timeout: HeaderName,
    /// Other headers of the same meaning: read only. Default: Envoy's `x-envoy-expected-rq-timeout-ms`.
    #[cfg_attr(feature = "config", serde(with = "WrittenList"))]
    pub also_understood: Vec<HeaderName>,
    /// The number of the attempt, starting at 1: written and read. Must differ from the other names. Default: Envoy's
    /// `x-envoy-attempt-count`.
    #[cfg_attr(feature = "config", serde(with = "Written"))]
    pub attempt: HeaderName,
    /// The priority, `low`, `normal`, `high` or `critical`: written and read. Must differ from the other names.
    /// Default: `x-priority`.
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
            report_load: false,
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
    /// The names are copied into the services, so they cannot change while a layer is in use.
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

/// The error for a change of a setting that is fixed for the life of a layer.
pub(crate) const FIXED: &str = "cannot change at run time: create a new layer or restart";

/// The checks that all protocols share.
pub(crate) fn check_times(validation: &mut Validation, allowance: Duration, max_timeout: Duration) {
    validation.bounded("allowance", allowance);
    validation.positive("max_timeout", max_timeout);
}
