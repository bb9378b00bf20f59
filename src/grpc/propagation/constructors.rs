use super::config::PropagationConfig;
use super::propagator::GrpcPropagator;
use crate::ground::error::InvalidConfig;
use crate::http::propagation::{ExtractLayer, InjectLayer};

impl InjectLayer<GrpcPropagator> {
    /// For gRPC.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: PropagationConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        InjectLayer::new(GrpcPropagator, config.allowance)
    }
}

impl ExtractLayer<GrpcPropagator> {
    /// For gRPC.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: PropagationConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        ExtractLayer::new(GrpcPropagator, config.max_timeout)
    }
}
