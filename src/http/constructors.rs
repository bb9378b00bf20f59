//! The `::http` constructors of the layers. They are defined here because protocols know the layers, and layers know no
//! protocol.

use crate::ground::error::InvalidConfig;
use crate::hedge::{HedgeConfig, HedgeLayer};
use crate::http::{ByBody, ByExtension, ByMethod, ByStatus, MethodAndPath};
use crate::layers::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use crate::layers::deadline::{DeadlineConfig, DeadlineLayer};
use crate::layers::permits::bulkhead::{BulkheadConfig, BulkheadLayer};
use crate::layers::permits::load_shed::{LoadShedConfig, LoadShedLayer};
use crate::layers::retry::{RetryConfig, RetryLayer};
use crate::layers::throttle::{ThrottleConfig, ThrottleLayer};
use crate::quarantine::{QuarantineConfig, QuarantineLayer};
use crate::quorum::{QuorumConfig, QuorumLayer};

impl DeadlineLayer<ByStatus, ByExtension> {
    /// A deadline for HTTP, `timeout` after the start of the call. The body of the response is cut at the deadline,
    /// too. Mark responses that are meant to last longer with [`LongLived`](crate::http::LongLived).
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn http(config: impl Into<DeadlineConfig>) -> Result<Self, InvalidConfig> {
        Ok(DeadlineLayer::new(config)?.with_classifier(ByStatus::new()).with_timing(ByExtension))
    }
}

impl RetryLayer<ByStatus, ByMethod> {
    /// Retries for HTTP: judged by status and transport error, and only for requests that may be repeated. See
    /// [`ByMethod`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: RetryConfig) -> Result<Self, InvalidConfig> {
        Ok(RetryLayer::new(config)?.with_classifier(ByStatus::new()).with_replay(ByMethod::default()))
    }
}

impl HedgeLayer<ByStatus, ByMethod> {
    /// Hedges for HTTP: judged by status and transport error, and only for requests that may run beside themselves: those with a safe
    /// method or [`Idempotent(true)`](crate::http::Idempotent). After a failure, another attempt follows as with a retry: see
    /// [`ByMethod`]. The stream of an attempt that loses is reset.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: HedgeConfig) -> Result<Self, InvalidConfig> {
        Ok(HedgeLayer::new(config)?.with_classifier(ByStatus::new()).with_replay(ByMethod::default()))
    }
}

impl QuorumLayer<ByStatus, ByBody> {
    /// A quorum for HTTP: responses agree if their status and their body are equal. See [`ByBody`]. Requests are cloned, so their
    /// bodies have to be `Clone`.
    ///
    /// # Errors
    /// If a setting is out of its range, or more endpoints have to agree than there are; all faults are listed.
    pub fn http(config: QuorumConfig) -> Result<Self, InvalidConfig> {
        Ok(QuorumLayer::new(config)?.with_classifier(ByStatus::new()).with_agreement(ByBody::default()))
    }
}

impl QuarantineLayer<MethodAndPath, ByStatus> {
    /// A quarantine for HTTP: judged by transport error, and by how the body ends. Requests are alike if their method and their path
    /// are equal; see [`MethodAndPath`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: QuarantineConfig) -> Result<Self, InvalidConfig> {
        Ok(QuarantineLayer::with_fingerprint(config, MethodAndPath)?.with_classifier(ByStatus::new()))
    }
}

impl BulkheadLayer<ByStatus> {
    /// A bulkhead for HTTP: a call holds its permit until the body of its response is over.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: BulkheadConfig) -> Result<Self, InvalidConfig> {
        Ok(BulkheadLayer::new(config)?.with_classifier(ByStatus::new()))
    }
}

impl CircuitBreakerLayer<ByStatus> {
    /// A circuit breaker for HTTP: judged by status, transport error, and how the body ends.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: CircuitBreakerConfig) -> Result<Self, InvalidConfig> {
        Ok(CircuitBreakerLayer::new(config)?.with_classifier(ByStatus::new()))
    }
}

impl ThrottleLayer<ByStatus> {
    /// A throttle for HTTP: a refusal is a 429, or a 503 or another 5xx with a `Retry-After`. See [`ByStatus`].
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: ThrottleConfig) -> Result<Self, InvalidConfig> {
        Ok(ThrottleLayer::new(config)?.with_classifier(ByStatus::new()))
    }
}

impl LoadShedLayer<ByStatus> {
    /// A load shedder in front of an HTTP service. A request holds its permit until the head of its response is there,
    /// so slow readers hold none.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field.
    pub fn http(config: LoadShedConfig) -> Result<Self, InvalidConfig> {
        Ok(LoadShedLayer::new(config)?.with_classifier(ByStatus::new()))
    }
}
