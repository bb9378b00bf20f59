//! The constructors for protocols.

use super::config::BalanceConfig;
use super::layer::BalanceLayer;
use crate::ground::error::InvalidConfig;
#[cfg(feature = "grpc")]
use crate::grpc::ByCode;
use crate::http::ByStatus;

impl BalanceLayer<ByStatus> {
    /// A balancer for HTTP: a call is judged by status, transport error, and how the body ends, and is at its endpoint until then.
    ///
    /// # Errors
    /// As [`new`](BalanceLayer::new).
    pub fn http(config: BalanceConfig) -> Result<Self, InvalidConfig> {
        Ok(BalanceLayer::new(config)?.with_classifier(ByStatus::new()))
    }
}

#[cfg(feature = "grpc")]
impl BalanceLayer<ByCode> {
    /// A balancer for gRPC: a call is judged by the status in head or trailers and by transport error, and is at its endpoint until its
    /// stream is over.
    ///
    /// # Errors
    /// As [`new`](BalanceLayer::new).
    pub fn grpc(config: BalanceConfig) -> Result<Self, InvalidConfig> {
        Ok(BalanceLayer::new(config)?.with_classifier(ByCode::new()))
    }
}
