//! A retry goes to an endpoint that the call has not tried.

use seawall::balance::EndpointMode;
use seawall::context::{self, Priority};
use seawall::deadline::DeadlineLayer;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig, RetryLayer, report};
use tower::Layer;

use super::*;

fn retry(max_attempts: u32) -> RetryLayer {
    // Enough for a third of the calls.
    let budget = BudgetConfig { ratio: 0.5, ..BudgetConfig::default() };
    let config = RetryConfig { max_attempts, backoff: Backoff::constant(MS), budget, ..RetryConfig::default() };
    RetryLayer::new(config).unwrap()
}

/// Half of the endpoints fail, which opens no breaker: each call is tried at most once at each endpoint.
#[tokio::test(start_paused = true)]
async fn retry_goes_to_another_endpoint() {
    seawall::seed(1);
    for _ in 0..50 {
        let servers = Servers::answering(4, MS);
        [0, 1, 2].into_iter().for_each(|server| servers.set(server, Behaviour::Fails(MS)));
        let service = retry(4).layer(servers.service(&servers.layer(BalanceConfig::default())));
        let (result, report) = report(service.oneshot(0)).await;
        let report = report.unwrap();
        let attempts = report.attempts;
        assert_eq!(result.unwrap(), 3);
        let calls = servers.calls();
        assert_eq!(report.endpoints.len(), attempts as usize);
        assert_eq!(report.endpoints.last().map(|key| &**key), Some("3"), "the one that answered");
        let tried = |server: usize| report.endpoints.iter().filter(|key| ***key == *server.to_string()).count();
        assert!((0..4).all(|server| tried(server) == calls[server]), "{:?} {calls:?}", report.endpoints);
        assert!(calls.iter().all(|calls| *calls <= 1), "{calls:?}");
        assert_eq!(calls.iter().sum::<usize>(), attempts as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_goes_back_if_there_is_no_other_endpoint() {
    let servers = Servers::new([Behaviour::Fails(MS)]);
    let service = retry(3).layer(servers.service(&servers.layer(BalanceConfig::default())));
    assert!(service.oneshot(0).await.is_err());
    assert_eq!(servers.calls(), [3]);
}

/// Calls of other tasks, in between, do not change the list of a call.
#[tokio::test(start_paused = true)]
async fn concurrent_calls_have_their_own_lists() {
    seawall::seed(3);
    let servers = Servers::answering(3, 2 * MS);
    servers.set(0, Behaviour::Fails(MS));
    let mut config = BalanceConfig::default();
    config.circuit_breaker.enabled = false;
    let service = retry(2).layer(servers.service(&servers.layer(config)));
    let calls: Vec<_> = (0..60).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    for call in calls {
        call.await.unwrap().expect("the second attempt is at a good endpoint");
    }
}

/// A report is requested for as many calls as its future makes, and stays bounded.
#[tokio::test(start_paused = true)]
async fn report_of_endless_calls_lists_few_endpoints() {
    let servers = Servers::answering(1, MS);
    let service = retry(3).layer(servers.service(&servers.layer(BalanceConfig::default())));
    let ((), report) = report(async {
        for _ in 0..100 {
            service.clone().oneshot(0).await.unwrap();
        }
    })
    .await;
    assert_eq!(report.unwrap().endpoints.len(), 64);
}

/// The bad endpoint of the first tier always has free permits. Back there, a retry would fail again, with a standby idle.
#[tokio::test(start_paused = true)]
async fn retry_goes_to_a_standby_before_it_goes_back() {
    let servers = Servers::new([Behaviour::Fails(MS), Behaviour::Answers(SECOND)]);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, ..Default::default() });
    let tiers = servers.endpoints().into_iter().zip([0, 1]).map(|(endpoint, tier)| endpoint.with_tier(tier));
    layer.handle().set_endpoints(tiers).unwrap();
    let service = retry(2).layer(servers.service(&layer));
    let first = tokio::spawn(service.clone().oneshot(0));
    sleep(10 * MS).await;
    assert_eq!(servers.running(), [0, 1]);
    assert!(service.oneshot(0).await.is_err(), "the standby is full");
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(servers.calls(), [3, 1]);
}

/// Three endpoints with 4 permits each, and two callers for each permit, which call again when they have an answer. Only the bad endpoint
/// has free permits.
async fn busy_with_a_bad_endpoint(bad: Behaviour) -> (usize, usize) {
    let servers = Servers::answering(3, 50 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 4, ..Default::default() });
    let service = RetryLayer::new(RetryConfig::default()).unwrap().layer(servers.service(&layer));
    let start = Instant::now();
    let caller = |service: RetryService| async move {
        let (mut failed, mut served) = (0, 0);
        while start.elapsed() < 7 * SECOND {
            let is_good = service.clone().oneshot(0).await.is_ok();
            (failed, served) = (failed + usize::from(!is_good), served + usize::from(is_good));
        }
        (failed, served)
    };
    let callers: Vec<_> = (0..24).map(|_| tokio::spawn(caller(service.clone()))).collect();
    sleep(2 * SECOND).await;
    servers.set(0, bad);
    let (mut failed, mut served) = (0, 0);
    for caller in callers {
        let (more_failed, more_served) = caller.await.unwrap();
        (failed, served) = (failed + more_failed, served + more_served);
    }
    (failed, served)
}

type RetryService = seawall::retry::Retry<Balance<Client>>;

#[tokio::test(start_paused = true)]
async fn bad_endpoint_that_alone_has_free_permits_fails_no_call() {
    for seed in 1..=5 {
        seawall::seed(seed);
        for bad in [Behaviour::Fails(Duration::ZERO), Behaviour::Fails(MS), Behaviour::Fails(20 * MS)] {
            let (failed, served) = busy_with_a_bad_endpoint(bad).await;
            assert_eq!(failed, 0, "{bad:?}, {served} served");
            assert!(served > 1_100, "{bad:?}: {served} calls");
        }
    }
}

/// Two endpoints with one permit each. The first hangs, and the second fails what it gets. The call that failed there waits for the first.
async fn retry_waits(config: BalanceConfig) -> (Servers, BalanceLayer, RetryService, Call, Vec<Call>) {
    let servers = Servers::answering(2, 50 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, ..config });
    let service = retry(2).layer(servers.service(&layer));
    for _ in 0..20 {
        service.clone().oneshot(0).await.unwrap();
    }
    servers.set(0, Behaviour::Hangs);
    let mut calls = Vec::new();
    while servers.running()[0] == 0 {
        calls.push(tokio::spawn(service.clone().oneshot(0)));
        sleep(60 * MS).await;
    }
    servers.set(1, Behaviour::Fails(MS));
    let waits = tokio::spawn(service.clone().oneshot(0));
    // Until then the permit of the failed call may be kept.
    sleep(60 * MS).await;
    assert_eq!((layer.handle().waiting(), servers.running()), (1, vec![1, 0]));
    servers.set(1, Behaviour::Answers(MS));
    (servers, layer, service, waits, calls)
}

type Call = tokio::task::JoinHandle<Result<usize, BoxError>>;

/// It wants no permit that they could have.
#[tokio::test(start_paused = true)]
async fn new_calls_do_not_wait_behind_a_retry_and_are_not_refused_for_it() {
    let config = BalanceConfig { max_waiting: 1, ..Default::default() };
    let (_servers, layer, service, waits, _calls) = retry_waits(config).await;
    let short = DeadlineLayer::new(30 * MS).unwrap().layer(service.clone());
    for _ in 0..10 {
        assert_eq!(short.clone().oneshot(0).await.unwrap(), 1);
    }
    assert!(!waits.is_finished());
    assert_eq!(layer.handle().waiting(), 1);
    assert_eq!(waits.await.unwrap().unwrap(), 1, "in the end");
}

#[tokio::test(start_paused = true)]
async fn retry_does_not_wait_for_an_endpoint_that_gets_no_more_calls() {
    for leaves in [true, false] {
        let (servers, layer, _service, waits, _calls) = retry_waits(BalanceConfig::default()).await;
        let begun = Instant::now();
        if leaves {
            layer.handle().set_endpoints(servers.endpoints().into_iter().skip(1)).unwrap();
        } else {
            assert!(layer.handle().set_mode("0", EndpointMode::Isolated));
        }
        assert_eq!(waits.await.unwrap().unwrap(), 1);
        assert!(begun.elapsed() < 10 * MS, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn retry_that_is_dropped_while_it_waits_leaves_nothing() {
    let (servers, layer, service, waits, calls) = retry_waits(BalanceConfig::default()).await;
    waits.abort();
    settle().await;
    assert_eq!(layer.handle().waiting(), 0);
    // Its permit was granted, and it is dropped before it is polled.
    let (_servers, other, _service, waits, held) = retry_waits(BalanceConfig::default()).await;
    held.iter().for_each(Call::abort);
    waits.abort();
    settle().await;
    assert_eq!((other.handle().waiting(), other.handle().in_flight()), (0, 0));
    calls.iter().for_each(Call::abort);
    settle().await;
    servers.set(0, Behaviour::Answers(MS));
    for _ in 0..10 {
        service.clone().oneshot(0).await.unwrap();
    }
    assert_eq!((layer.handle().waiting(), layer.handle().in_flight()), (0, 0));
}

/// A call of higher priority that waits gets the permit first.
#[tokio::test(start_paused = true)]
async fn retry_does_not_overtake_a_call_of_higher_priority() {
    let (servers, layer, service, waits, calls) = retry_waits(BalanceConfig::default()).await;
    servers.set(1, Behaviour::Hangs);
    let fills = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    assert_eq!(servers.running(), [1, 1]);
    let high = context::with_priority(Priority::High, service.clone().oneshot(0));
    let high = tokio::spawn(high);
    settle().await;
    assert_eq!(layer.handle().waiting(), 2);
    servers.set(0, Behaviour::Answers(SECOND));
    calls.iter().for_each(Call::abort);
    settle().await;
    assert_eq!(layer.handle().waiting(), 1);
    assert!(tokio::time::timeout(2 * SECOND, high).await.is_ok(), "it has the permit");
    waits.abort();
    fills.abort();
}
