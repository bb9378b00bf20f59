//! How new endpoints, and those that come back, get their calls.

use seawall::balance::{EndpointMode, SlowStartConfig};
use seawall::circuit_breaker::CircuitBreakerConfig;

use super::*;

/// A new endpoint that is quicker than the others gets its calls as slowly as any other.
#[tokio::test(start_paused = true)]
async fn quicker_endpoint_starts_slowly_too() {
    for (endpoints, most) in [(2, 0.35), (5, 0.12)] {
        let servers = Servers::answering(endpoints, 30 * MS);
        let slow_start = SlowStartConfig { window: 100 * SECOND, ..SlowStartConfig::default() };
        let layer = BalanceLayer::new(BalanceConfig { slow_start, ..BalanceConfig::default() }).unwrap();
        let layer = layer.with_endpoints(servers.endpoints()[1..].to_vec()).unwrap();
        let service = servers.service(&layer);
        load(service.clone(), 100, 2 * SECOND).await;
        servers.set(0, Behaviour::Answers(5 * MS));
        layer.handle().set_endpoints(servers.endpoints()).unwrap();
        let results = load(service, 500, 5 * SECOND).await;
        let new = results.iter().filter(|(_, _, result)| *result.as_ref().unwrap() == 0).count();
        let share = new as f64 / results.len() as f64;
        assert!((0.01..most).contains(&share), "{endpoints} endpoints: {share} of the calls");
    }
}

/// The calls of the endpoint with number 0, as a share of all in the second after it has come back.
async fn share_after_return(service: &Balance<Client>, servers: &Servers) -> f64 {
    let before = servers.calls()[0];
    let results = load(service.clone(), 300, SECOND).await;
    (servers.calls()[0] - before) as f64 / results.len() as f64
}

/// An endpoint that was out of use comes back as slowly as a new one, whatever it was that kept its calls away.
#[tokio::test(start_paused = true)]
async fn endpoint_that_comes_back_starts_slowly() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    load(service.clone(), 300, 2 * SECOND).await;
    for mode in [EndpointMode::Draining, EndpointMode::Isolated] {
        assert!(handle.set_mode("0", mode));
        sleep(60 * SECOND).await;
        assert!(handle.set_mode("0", EndpointMode::Serving));
        let share = share_after_return(&service, &servers).await;
        assert!(share < 0.2, "{mode:?}: {share}");
        load(service.clone(), 300, 15 * SECOND).await;
        let share = share_after_return(&service, &servers).await;
        assert!(share > 0.25, "{mode:?}: {share}");
    }
}

/// The same after its breaker was open.
#[tokio::test(start_paused = true)]
async fn endpoint_whose_breaker_closes_starts_slowly() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let circuit_breaker =
        CircuitBreakerConfig { consecutive_failures: Some(3), half_open_rounds: 1, ..CircuitBreakerConfig::default() };
    let layer = servers.layer(BalanceConfig { circuit_breaker, ..BalanceConfig::default() });
    let service = servers.service(&layer);
    servers.set(0, Behaviour::Fails(MS));
    load(service.clone(), 300, 4 * SECOND).await;
    servers.set(0, Behaviour::Answers(10 * MS));
    // Until a probe has closed it.
    let calls = servers.calls()[0];
    while servers.calls()[0] == calls {
        let _ = call(&service).await;
        sleep(10 * MS).await;
    }
    let share = share_after_return(&service, &servers).await;
    assert!(share < 0.2, "{share}");
}

/// How many calls are refused at 90 % of all permits when one of three endpoints breaks for a second.
async fn refusals_after_a_short_break(slow_start: SlowStartConfig, seed: u64) -> usize {
    seawall::seed(seed);
    let servers = Servers::answering(3, 100 * MS);
    let config = BalanceConfig { max_concurrent: 10, max_wait: 50 * MS, slow_start, ..BalanceConfig::default() };
    let service = servers.service(&servers.layer(config));
    let load = load(service, 270, 20 * SECOND);
    let outage = async {
        sleep(5 * SECOND).await;
        servers.set(0, Behaviour::Fails(MS));
        sleep(SECOND).await;
        servers.set(0, Behaviour::Answers(100 * MS));
    };
    let (results, ()) = tokio::join!(load, outage);
    let refused = |(_, _, result): &&(_, _, Result<usize, BoxError>)| {
        result.as_ref().is_err_and(|error| seawall::error::rejection(error).is_some())
    };
    results.iter().filter(refused).count()
}

/// Near saturation the other endpoints cannot do without the one that comes back: it takes calls while it has free permits.
#[tokio::test(start_paused = true)]
async fn slow_start_near_saturation_refuses_no_more_calls() {
    for seed in 1..4 {
        let cold = refusals_after_a_short_break(SlowStartConfig::default(), seed).await;
        let off = SlowStartConfig { window: Duration::ZERO, ..SlowStartConfig::default() };
        let warm = refusals_after_a_short_break(off, seed).await;
        assert!(cold <= warm + warm / 10 + 5, "{cold} refusals, {warm} without slow start");
    }
}
