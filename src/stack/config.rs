use std::time::Duration;

use crate::ground::config::Validation;
use crate::http::propagation::{FIXED, PropagationConfig};
use crate::middleware::bulkhead::BulkheadConfig;
use crate::middleware::circuit_breaker::CircuitBreakerConfig;
use crate::middleware::deadline::DeadlineConfig;
use crate::middleware::load_shed::LoadShedConfig;
use crate::middleware::retry::RetryConfig;

/// Everything that there is to tune about the calls to one dependency.
///
/// ```
/// use std::time::Duration;
/// use seawall::bulkhead::BulkheadConfig;
/// use seawall::stack::{self, ClientConfig};
///
/// let payments = ClientConfig {
///     deadline: Duration::from_secs(2).into(),
///     bulkhead: BulkheadConfig { max_concurrent: 16, ..Default::default() },
///     ..Default::default()
/// };
/// assert!(stack::client(&payments).is_ok());
///
/// let mut wrong = payments;
/// wrong.retry.budget.ratio = 1.7;
/// wrong.bulkhead.max_concurrent = 0;
/// let error = stack::client(&wrong).unwrap_err();
/// let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
/// assert_eq!(paths, ["retry.budget.ratio", "bulkhead.max_concurrent"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientConfig {
    /// How long a call may take in all.
    pub deadline: DeadlineConfig,
    /// When a failed call is tried again. `max_attempts: 1` never does.
    pub retry: RetryConfig,
    /// How many calls are at work in the dependency at once.
    pub bulkhead: BulkheadConfig,
    /// When to stop asking.
    pub circuit_breaker: CircuitBreakerConfig,
    /// How deadline and attempt travel to the dependency. For gRPC the names of the headers are given.
    pub propagation: PropagationConfig,
    /// Whether each host and port has a budget, a bulkhead and a breaker of its own. Say so for a client of many hosts: one
    /// dead host must not cut them all. For one dependency behind one name there is nothing to gain. A tonic client says no
    /// host in its requests unless it was made `with_origin`, and has one state. Default: no.
    pub per_authority: bool,
}

impl ClientConfig {
    pub(super) fn validate(&self, validation: &mut Validation) {
        validation.nested("deadline", |validation| self.deadline.validate(validation));
        validation.nested("retry", |validation| self.retry.validate(validation));
        validation.nested("bulkhead", |validation| self.bulkhead.validate(validation));
        validation.nested("circuit_breaker", |validation| self.circuit_breaker.validate(validation));
        validation.nested("propagation", |validation| self.propagation.validate(validation));
    }

    /// Notes what cannot change while the layers are at work.
    pub(super) fn check_fixed(&self, now: &Self, validation: &mut Validation) {
        check_headers(&self.propagation, &now.propagation, validation);
        validation.check(self.per_authority == now.per_authority, "per_authority", FIXED);
    }
}

fn check_headers(propagation: &PropagationConfig, now: &PropagationConfig, validation: &mut Validation) {
    validation.nested("propagation", |validation| {
        validation.nested("headers", |validation| propagation.headers.check_unchanged(&now.headers, validation));
    });
}

/// Everything that there is to tune about the requests that a service gets.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// How deadline and attempt are read from a request. For gRPC the names of the headers are given.
    pub propagation: PropagationConfig,
    /// How long the work on a request may take, and how long a reader may take to read the answer. Default: 10 s, and one
    /// minute for the body.
    pub deadline: DeadlineConfig,
    /// How many requests are worked on at once, and how many wait.
    pub load_shed: LoadShedConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            propagation: PropagationConfig::default(),
            deadline: DeadlineConfig { body_timeout: Some(Duration::from_secs(60)), ..DeadlineConfig::default() },
            load_shed: LoadShedConfig::default(),
        }
    }
}

impl ServerConfig {
    pub(super) fn validate(&self, validation: &mut Validation) {
        validation.nested("propagation", |validation| self.propagation.validate(validation));
        validation.nested("deadline", |validation| self.deadline.validate(validation));
        validation.nested("load_shed", |validation| self.load_shed.validate(validation));
    }

    /// Notes what cannot change while the layers are at work.
    pub(super) fn check_fixed(&self, now: &Self, validation: &mut Validation) {
        check_headers(&self.propagation, &now.propagation, validation);
    }
}
