//! The `::http` constructors of the layers. They stand here because protocols know the layers, and layers know no protocol.

use std::time::Duration;

use crate::ground::error::InvalidConfig;
use crate::http::ByStatus;
use crate::middleware::deadline::DeadlineLayer;

impl DeadlineLayer<ByStatus> {
    /// A deadline of `timeout` after the call's beginning, for HTTP.
    ///
    /// # Errors
    /// If `timeout` is zero or more than ten years.
    pub fn http(timeout: Duration) -> Result<Self, InvalidConfig> {
        Ok(DeadlineLayer::new(timeout)?.with_classifier(ByStatus))
    }
}
