use std::time::Duration;

use crate::ground::context::Priority;
use crate::ground::validation::{Validate, Validation};
use crate::http;
use crate::http::propagation::{DEFAULT_ALLOWANCE, DEFAULT_MAX_PRIORITY, DEFAULT_MAX_TIMEOUT, check_times};

/// How deadlines and attempts travel over gRPC. One value serves both ends; the names of the headers are given.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropagationConfig {
    /// What is kept back of the time left when a request is sent, for its way there and the answer's way back; never more
    /// than a tenth of it. Default: 5 ms.
    pub allowance: Duration,
    /// The longest time that is believed. A request that asks for more has no deadline of its own, and those of the
    /// layers inside hold. Default: 10 minutes.
    pub max_timeout: Duration,
    /// The highest priority that is believed: a request that asks for more has this one. Default: [`High`](Priority::High).
    pub max_priority: Priority,
}

impl Default for PropagationConfig {
    fn default() -> Self {
        Self { allowance: DEFAULT_ALLOWANCE, max_timeout: DEFAULT_MAX_TIMEOUT, max_priority: DEFAULT_MAX_PRIORITY }
    }
}

/// Without the names of the headers, which are given.
impl From<http::propagation::PropagationConfig> for PropagationConfig {
    fn from(config: http::propagation::PropagationConfig) -> Self {
        Self { allowance: config.allowance, max_timeout: config.max_timeout, max_priority: config.max_priority }
    }
}

impl Validate for PropagationConfig {
    fn check(&self, validation: &mut Validation) {
        check_times(validation, self.allowance, self.max_timeout);
    }
}
