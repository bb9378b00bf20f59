use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::ChaosFault;
use crate::ground::time::CalendarTime;
use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// Which faults are injected, into which calls, and until when.
///
/// ```
/// use std::time::Duration;
/// use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule, Delay};
///
/// let slow = ChaosFault::Latency(Delay::Fixed(Duration::from_millis(200)));
/// let drill = ChaosConfig {
///     enabled: true,
///     rules: vec![ChaosRule { share: 0.1, ..ChaosRule::new(slow) }],
///     lasts: Some(Duration::from_secs(300)),
///     ..Default::default()
/// };
/// assert!(ChaosLayer::new(drill).is_ok());
///
/// let none = ChaosConfig { max_active: 0, ..Default::default() };
/// assert_eq!(ChaosLayer::new(none).unwrap_err().faults()[0].path(), "max_active");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct ChaosConfig {
    /// Whether faults are injected. Default: `false`.
    pub enabled: bool,
    /// The faults. A call gets the first one that hits it. Default: none.
    pub rules: Vec<ChaosRule>,
    /// How many faults may be in progress at once: delays, hangs, and bodies that are not over. A call beyond that gets no fault. At
    /// least 1. Default: 10.
    pub max_active: u32,
    /// How long faults are injected, from the creation of the layer or the last reload that changed anything of this config. Default:
    /// ten minutes. `None` has no end.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub lasts: Option<Duration>,
    /// The instant after which no fault is injected, by the calendar, also if the machine was suspended meanwhile; in files as RFC
    /// 3339, `"2030-01-31T12:00:00Z"`. With `lasts`, the earlier of both counts. Default: `None`.
    #[cfg_attr(feature = "config", serde(with = "Off::<CalendarTime>"))]
    pub until: Option<CalendarTime>,
    /// How long a call with a fault may take without a deadline, its fault included; more than zero. A call without a fault has no
    /// bound. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
}

/// A fault, and the calls that get it.
///
/// Write `..ChaosRule::new(fault)`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ChaosRule {
    /// The share of the matching calls that get the fault, within `0..=1`.
    pub share: f64,
    /// The fault.
    pub fault: ChaosFault,
    /// The calls that may get it. Default: all.
    #[cfg_attr(feature = "config", serde(default))]
    pub matching: Matching,
}

impl ChaosRule {
    /// Injects `fault` into every call.
    pub fn new(fault: ChaosFault) -> Self {
        Self { share: 1.0, fault, matching: Matching::default() }
    }
}

/// Which HTTP requests a rule matches: those that match all of its fields. Requests of other types match only the default.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Matching {
    /// The method, such as `"GET"`. Empty (the default): any.
    pub method: String,
    /// How the path begins, such as `"/orders/"`; over gRPC `"/package.Service/"`. Empty (the default): any.
    pub path_prefix: String,
    /// Headers, by name, each with its value. Empty (the default): any.
    pub headers: BTreeMap<String, String>,
}

impl Matching {
    /// Whether it matches all requests, of any type.
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for ChaosConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            rules: Vec::new(),
            max_active: 10,
            lasts: Some(Duration::from_secs(600)),
            until: None,
            max_hold: DEFAULT_MAX_HOLD,
        }
    }
}

impl Validate for ChaosConfig {
    fn check(&self, validation: &mut Validation) {
        for (number, rule) in self.rules.iter().enumerate() {
            validation.nested(&format!("rules[{number}]"), |validation| {
                validation.ratio("share", rule.share);
                validation.nested("fault", |validation| rule.fault.check(validation));
                let is_token = rule.matching.method.bytes().all(|byte| byte.is_ascii_graphic());
                validation.check(is_token, "matching.method", "must be an HTTP method, such as \"GET\"");
            });
        }
        validation.at_least_one("max_active", self.max_active.into());
        validation.positive("lasts", self.lasts.unwrap_or(Duration::from_secs(1)));
        validation.positive("max_hold", self.max_hold);
    }
}
