//! The `::http` constructors of the layers. They stand here because protocols know the layers, and layers know no protocol.

use std::time::Duration;

use crate::ground::error::InvalidConfig;
use crate::http::{ByMethod, ByStatus};
use crate::middleware::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use crate::middleware::deadline::DeadlineLayer;
use crate::middleware::retry::{RetryConfig, RetryLayer};

impl CircuitBreakerLayer<ByStatus> {
    /// A circuit breaker for HTTP: statuses and transport errors say what is a failure of the callee. See [`ByStatus`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        Ok(CircuitBreakerLayer::new(config)?.with_classifier(ByStatus))
    }
}

impl DeadlineLayer<ByStatus> {
    /// A deadline of `timeout` after the call's beginning, for HTTP.
    ///
    /// # Errors
    /// If `timeout` is zero or more than ten years.
    pub fn http(timeout: Duration) -> Result<Self, InvalidConfig> {
        Ok(DeadlineLayer::new(timeout)?.with_classifier(ByStatus))
    }
}

impl RetryLayer<ByStatus, ByMethod> {
    /// Retries for HTTP: by status and transport error, and only requests that may be repeated. See [`ByMethod`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: RetryConfig) -> Result<Self, InvalidConfig> {
        Ok(RetryLayer::new(config)?.with_classifier(ByStatus).with_replay(ByMethod))
    }
}
