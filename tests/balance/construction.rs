//! An illegal configuration cannot be built, and an illegal set is not taken.

use seawall::error::InvalidConfig;

use super::*;

fn faults<T>(built: Result<T, InvalidConfig>) -> Vec<String> {
    match built {
        Ok(_) => Vec::new(),
        Err(invalid) => invalid.faults().iter().map(|fault| fault.path().to_owned()).collect(),
    }
}

#[test]
fn every_fault_of_a_balancer_is_found() {
    let mut config = BalanceConfig::default();
    assert_eq!(faults(BalanceLayer::new(config.clone())), [""; 0]);
    config.circuit_breaker.failure_rate = 30.0;
    config.max_concurrent = 0;
    config.slow_start.window = Duration::MAX;
    config.slow_start.aggression = 0.0;
    config.slow_start.min_weight = f64::NAN;
    config.ejection.interval = Duration::ZERO;
    config.ejection.base_time = Duration::ZERO;
    config.ejection.max_time = Duration::MAX;
    config.ejection.max_percent = 101;
    config.tiers.overprovisioning = 99;
    config.tiers.panic_below = 101;
    config.max_endpoints = 0;
    let expected = [
        "circuit_breaker.failure_rate",
        "max_concurrent",
        "slow_start.window",
        "slow_start.aggression",
        "slow_start.min_weight",
        "ejection.interval",
        "ejection.base_time",
        "ejection.max_time",
        "ejection.max_percent",
        "tiers.overprovisioning",
        "tiers.panic_below",
        "max_endpoints",
    ];
    assert_eq!(faults(BalanceLayer::new(config)), expected);
}

#[test]
fn illegal_set_is_refused_and_the_former_one_stays() {
    let a = || Endpoint::new("a");
    let layer = || BalanceLayer::new(BalanceConfig { max_endpoints: 2, ..Default::default() }).unwrap();
    assert_eq!(faults(layer().with_endpoints([])), ["endpoints"]);
    assert_eq!(
        faults(layer().with_endpoints([a(), a().with_weight(-1.0)])),
        ["endpoints[1].key", "endpoints[1].weight"]
    );
    let handle = layer().with_endpoints([a()]).unwrap().handle();
    assert_eq!(faults(handle.set_endpoints([a(), Endpoint::new("b"), Endpoint::new("c")])), ["endpoints"]);
    assert_eq!(handle.endpoints(), [a()]);
}

#[cfg(feature = "config")]
#[test]
fn config_is_read_with_defaults() {
    let read: BalanceConfig =
        toml::from_str("ejection.max_percent = 30\nmax_concurrent = 5\nslow_start.window = \"3s\"").unwrap();
    let mut expected = BalanceConfig::default();
    expected.ejection.max_percent = 30;
    expected.max_concurrent = 5;
    expected.slow_start.window = 3 * SECOND;
    assert_eq!(read, expected);
    assert!(toml::from_str::<BalanceConfig>("ejection.max_percentage = 30").is_err());
}
