//! The `::grpc` constructors of the layers. They are defined here because protocols know the layers, and layers know no
//! protocol.

use crate::ground::error::InvalidConfig;
use crate::grpc::{ByCall, ByCode, ByTimeout};
use crate::hedge::{HedgeConfig, HedgeLayer};
use crate::http::MethodAndPath;
use crate::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use crate::layers::deadline::{DeadlineConfig, DeadlineLayer};
use crate::layers::permits::bulkhead::{BulkheadConfig, BulkheadLayer};
use crate::layers::permits::load_shed::{LoadShedConfig, LoadShedLayer};
use crate::layers::retry::{RetryConfig, RetryLayer};
use crate::layers::throttle::{ThrottleConfig, ThrottleLayer};
use crate::quarantine::{QuarantineConfig, QuarantineLayer};

impl DeadlineLayer<ByCode, ByTimeout> {
    /// A deadline for gRPC, `timeout` after the start of the call, or earlier by its `grpc-timeout`. Mark streams that
    /// are meant to last longer with [`LongLived`](crate::http::LongLived).
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn grpc(config: impl Into<DeadlineConfig>) -> Result<Self, InvalidConfig> {
        Ok(DeadlineLayer::new(config)?.with_classifier(ByCode::new()).with_timing(ByTimeout))
    }
}

impl RetryLayer<ByCode, ByCall> {
    /// Retries for gRPC: judged by the status in head or trailers and by transport error, and only for calls that may
    /// be repeated. See [`ByCall`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: RetryConfig) -> Result<Self, InvalidConfig> {
        Ok(RetryLayer::new(config)?.with_classifier(ByCode::new()).with_replay(ByCall::default()))
    }
}

impl HedgeLayer<ByCode, ByCall> {
    /// Hedges for gRPC (proposal A6): judged by the status in head or trailers and by transport error. A slow call is hedged
    /// only if it has [`Idempotent(true)`](crate::http::Idempotent); one that failed is sent again as a retry would. See [`ByCall`]. The stream of an attempt that
    /// loses is reset.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        Ok(HedgeLayer::new(config)?.with_classifier(ByCode::new()).with_replay(ByCall::default()))
    }
}

impl QuarantineLayer<MethodAndPath, ByCode> {
    /// A quarantine for gRPC: judged by transport error, and by how the stream ends. Calls are alike if they call the same method of
    /// the same service.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: QuarantineConfig) -> Result<Self, InvalidConfig> {
        Ok(QuarantineLayer::with_fingerprint(config, MethodAndPath)?.with_classifier(ByCode::new()))
    }
}

impl BulkheadLayer<ByCode> {
    /// A bulkhead for gRPC: a call holds its permit until its stream is over.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: BulkheadConfig) -> Result<Self, InvalidConfig> {
        Ok(BulkheadLayer::new(config)?.with_classifier(ByCode::new()))
    }
}

impl CircuitBreakerLayer<ByCode> {
    /// A circuit breaker for gRPC: judged by the status in head or trailers, and by transport error.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        Ok(CircuitBreakerLayer::new(config)?.with_classifier(ByCode::new()))
    }
}

impl ThrottleLayer<ByCode> {
    /// A throttle for gRPC: a refusal is `RESOURCE_EXHAUSTED`, or `UNAVAILABLE` with a pushback, in a response
    /// without messages. See [`ByCode`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: ThrottleConfig) -> Result<Self, InvalidConfig> {
        Ok(ThrottleLayer::new(config)?.with_classifier(ByCode::new()))
    }
}

impl LoadShedLayer<ByCode> {
    /// A load shedder in front of a gRPC service.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn grpc(config: LoadShedConfig) -> Result<Self, InvalidConfig> {
        Ok(LoadShedLayer::new(config)?.with_classifier(ByCode::new()))
    }
}
