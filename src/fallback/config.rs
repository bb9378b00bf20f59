use std::time::Duration;

use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// Whether a fallback answers, and the bound of a call without a deadline.
///
/// ```
/// use std::time::Duration;
/// use seawall::fallback::{self, FallbackConfig, FallbackLayer};
///
/// let config = FallbackConfig { max_hold: Duration::ZERO, ..Default::default() };
/// assert_eq!(FallbackLayer::new(config, fallback::value(7)).unwrap_err().faults()[0].path(), "max_hold");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct FallbackConfig {
    /// Whether the fallback answers failed calls. If `false`, every result of the inner service is returned unchanged. Default:
    /// `true`.
    pub enabled: bool,
    /// How long a call without a deadline may take, its fallback included; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self { enabled: true, max_hold: DEFAULT_MAX_HOLD }
    }
}

impl Validate for FallbackConfig {
    fn check(&self, validation: &mut Validation) {
        validation.positive("max_hold", self.max_hold);
    }
}
