use super::config::PropagationConfig;
use super::propagator::GrpcPropagator;
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validate;
use crate::http::propagation::{ExtractLayer, ExtractSettings, InjectLayer};

impl InjectLayer<GrpcPropagator> {
    /// For gRPC.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: impl Into<PropagationConfig>) -> Result<Self, InvalidConfig> {
        let config = config.into();
        config.validate()?;
        InjectLayer::new(GrpcPropagator, config.allowance)
    }
}

impl ExtractLayer<GrpcPropagator> {
    /// For gRPC.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: impl Into<PropagationConfig>) -> Result<Self, InvalidConfig> {
        let config = config.into();
        config.validate()?;
        let PropagationConfig { max_timeout, max_priority, report_load, .. } = config;
        Ok(Self::with_settings(GrpcPropagator, ExtractSettings { max_timeout, max_priority, report_load }))
    }
}
