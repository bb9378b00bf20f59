use std::time::Duration;

use crate::ground::context::Priority;
use crate::ground::validation::{Validate, Validation};
use crate::http;
use crate::http::propagation::{DEFAULT_ALLOWANCE, DEFAULT_MAX_PRIORITY, DEFAULT_MAX_TIMEOUT, check_times};

/// How deadlines and attempts travel over gRPC. Use one value for both ends. gRPC fixes the names of the headers.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropagationConfig {
    /// The part of the time left that is kept back when a request is sent, for the network time of request and
    /// response; never more than a tenth of the time left. Default: 5 ms.
    pub allowance: Duration,
    /// The longest timeout that is accepted. A request that asks for more gets no deadline from its header, and the
    /// bounds of the inner layers hold. Default: 10 minutes.
    pub max_timeout: Duration,
    /// The highest priority that is accepted. A request that asks for more gets this one. Default:
    /// [`High`](Priority::High).
    pub max_priority: Priority,
    /// Whether a service reports in its responses how many requests it has in flight. Default: `false`. See
    /// [there](crate::http::propagation::PropagationConfig::report_load).
    pub report_load: bool,
}

impl Default for PropagationConfig {
    fn default() -> Self {
        Self {
            allowance: DEFAULT_ALLOWANCE,
            max_timeout: DEFAULT_MAX_TIMEOUT,
            max_priority: DEFAULT_MAX_PRIORITY,
            report_load: false,
        }
    }
}

/// Drops the names of the headers, which gRPC fixes.
impl From<http::propagation::PropagationConfig> for PropagationConfig {
    fn from(config: http::propagation::PropagationConfig) -> Self {
        Self {
            allowance: config.allowance,
            max_timeout: config.max_timeout,
            max_priority: config.max_priority,
            report_load: config.report_load,
        }
    }
}

impl Validate for PropagationConfig {
    fn check(&self, validation: &mut Validation) {
        check_times(validation, self.allowance, self.max_timeout);
    }
}
