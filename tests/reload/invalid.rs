//! An invalid configuration lists all its faults, and changes nothing.

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Window};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::InvalidConfig;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};

use crate::*;

fn paths(result: Result<(), InvalidConfig>) -> Vec<String> {
    result.unwrap_err().faults().iter().map(|fault| fault.path().to_owned()).collect()
}

#[test]
fn invalid_reload_lists_all_faults_and_changes_nothing() {
    let layer = DeadlineLayer::new(SECOND).unwrap();
    let config = DeadlineConfig { timeout: Duration::ZERO, idle_timeout: Some(Duration::MAX), ..Default::default() };
    assert_eq!(paths(layer.reload(&config)), ["timeout", "idle_timeout"]);
    assert_eq!(layer.config(), SECOND.into());

    let layer = RetryLayer::new(RetryConfig::default()).unwrap();
    let mut config = RetryConfig { max_attempts: 0, ..Default::default() };
    config.budget.ratio = 7.0;
    assert_eq!(paths(layer.reload(&config)), ["max_attempts", "budget.ratio"]);
    assert_eq!(layer.config(), RetryConfig::default());

    let layer = BulkheadLayer::new(BulkheadConfig::default()).unwrap();
    let config = BulkheadConfig { max_concurrent: 0, max_keys: 0, max_waiting: 1, ..Default::default() };
    assert_eq!(paths(layer.reload(&config)), ["max_concurrent", "max_keys"]);
    assert_eq!((layer.config(), layer.handle().limit()), (BulkheadConfig::default(), 64));

    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
    let config = CircuitBreakerConfig { window: Window::Calls(0), failure_rate: 50.0, ..Default::default() };
    assert_eq!(paths(layer.reload(&config)), ["window", "minimum_calls", "failure_rate"]);
    assert_eq!(layer.config(), CircuitBreakerConfig::default());

    let layer = RateLimitLayer::new(RateLimitConfig::default()).unwrap();
    let config = RateLimitConfig { permits: 0, max_wait: Duration::MAX, ..Default::default() };
    assert_eq!(paths(layer.reload(&config)), ["permits", "max_wait"]);
    assert_eq!(layer.config(), RateLimitConfig::default());

    let layer = LoadShedLayer::new(LoadShedConfig::default()).unwrap();
    let config = LoadShedConfig { max_in_flight: 0, queue_ratio: f64::NAN, ..Default::default() };
    assert_eq!(paths(layer.reload(&config)), ["max_in_flight", "queue_ratio"]);
    assert_eq!((layer.config(), layer.handle().limit()), (LoadShedConfig::default(), 256));
}
