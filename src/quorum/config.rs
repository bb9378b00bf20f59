use std::time::Duration;

use crate::ground::validation::{Validate, Validation};
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// The settings of a [`QuorumLayer`](super::QuorumLayer).
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct QuorumConfig {
    /// To how many endpoints a call is sent, within `1..=32`. Default: 3.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1, max = 32)))]
    pub endpoints: u32,
    /// How many of them have to agree, at least 1 and at most `endpoints`. With 1 the first good answer wins. Default: 2.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 1, max = 32)))]
    pub agree: u32,
    /// How long a call without a deadline may take; more than zero. Default: one minute.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub max_hold: Duration,
}

impl Default for QuorumConfig {
    fn default() -> Self {
        Self { endpoints: 3, agree: 2, max_hold: DEFAULT_MAX_HOLD }
    }
}

impl Validate for QuorumConfig {
    fn check(&self, validation: &mut Validation) {
        validation.check(
            (1..=32).contains(&self.endpoints),
            "endpoints",
            format_args!("invalid value: {}, must be in [1, 32]", self.endpoints),
        );
        validation.at_least_one("agree", self.agree.into());
        validation.check_against(
            self.agree <= self.endpoints,
            "agree",
            &["endpoints"],
            format_args!("{} is more than endpoints", self.agree),
        );
        validation.positive("max_hold", self.max_hold);
    }
}
