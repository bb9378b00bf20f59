//! Hedges and the votes of a quorum go to endpoints that the call has not used.

use seawall::error::{Reason, rejection};
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::quorum::{NoQuorum, QuorumConfig, QuorumLayer};
use seawall::registry::Condition;
use seawall::retry::{Backoff, RetryConfig, RetryLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, service_fn};

use super::*;

fn hedge(max_attempts: u32, delay: HedgeDelay) -> HedgeLayer {
    HedgeLayer::new(HedgeConfig { max_attempts, delay, ..HedgeConfig::default() }).unwrap()
}

fn quorum(endpoints: u32, agree: u32) -> QuorumLayer {
    QuorumLayer::new(QuorumConfig { endpoints, agree, ..QuorumConfig::default() }).unwrap()
}

/// Each endpoint has been called at most so often.
fn assert_at_most(most: usize, servers: &Servers) {
    let calls = servers.calls();
    assert!(calls.iter().all(|calls| *calls <= most), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_call_is_hedged_at_other_endpoints() {
    seawall::seed(1);
    for delay in [Duration::ZERO, 10 * MS] {
        for _ in 0..50 {
            let servers = Servers::answering(3, MS);
            [0, 1].into_iter().for_each(|server| servers.set(server, Behaviour::Hangs));
            let service =
                hedge(3, HedgeDelay::Fixed(delay)).layer(servers.service(&servers.layer(BalanceConfig::default())));
            assert_eq!(service.oneshot(0).await.unwrap(), 2);
            assert_at_most(1, &servers);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hedge_after_a_failure_goes_to_another_endpoint() {
    seawall::seed(2);
    for _ in 0..50 {
        let servers = Servers::answering(4, MS);
        [0, 1, 2].into_iter().for_each(|server| servers.set(server, Behaviour::Fails(MS)));
        let service = hedge(4, HedgeDelay::OnFailure).layer(servers.service(&servers.layer(BalanceConfig::default())));
        assert_eq!(service.oneshot(0).await.unwrap(), 3);
        assert_at_most(1, &servers);
    }
}

/// The retry avoids the endpoints of all attempts of the hedge, and the hedges of a retry those of the attempts before it.
#[tokio::test(start_paused = true)]
async fn retry_of_a_hedged_call_goes_to_another_endpoint() {
    seawall::seed(3);
    for _ in 0..50 {
        let servers = Servers::answering(4, MS);
        [0, 1, 2].into_iter().for_each(|server| servers.set(server, Behaviour::Fails(20 * MS)));
        let retry = RetryConfig { max_attempts: 2, backoff: Backoff::constant(MS), ..RetryConfig::default() };
        let hedge = hedge(2, HedgeDelay::Fixed(10 * MS));
        let balance = servers.service(&servers.layer(BalanceConfig::default()));
        let service = RetryLayer::new(retry).unwrap().layer(hedge.layer(balance));
        assert_eq!(service.oneshot(0).await.unwrap(), 3);
        assert_at_most(1, &servers);
    }
}

#[tokio::test(start_paused = true)]
async fn quorum_of_clones_goes_to_different_endpoints() {
    seawall::seed(4);
    for endpoints in [3, 5] {
        for _ in 0..50 {
            let servers = Servers::answering(endpoints as usize, MS);
            let balance = servers.service(&servers.layer(BalanceConfig::default()));
            let layer = quorum(endpoints, endpoints).with_agreement(seawall::quorum::from_fn(|_: &usize| ()));
            layer.layer(balance).oneshot(0).await.unwrap();
            assert_eq!(servers.calls(), vec![1; endpoints as usize]);
        }
    }
}

/// An endpoint that answers twice has one vote.
#[tokio::test(start_paused = true)]
async fn quorum_counts_an_endpoint_once() {
    let servers = Servers::answering(1, MS);
    let balance = servers.service(&servers.layer(BalanceConfig::default()));
    let error = quorum(3, 2).layer(balance.clone()).oneshot(0).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::NoQuorum));
    let error: &NoQuorum = error.downcast_ref().unwrap();
    let text = "2 of 3 endpoints have to agree: answer 1 at `0`, answer 1 (same endpoint) at `0`, \
                answer 1 (same endpoint) at `0`";
    assert!(error.to_string().ends_with(text), "{error}");
    assert_eq!(servers.calls(), [3]);
    assert_eq!(quorum(3, 1).layer(balance).oneshot(0).await.unwrap(), 0, "one vote is enough");
}

/// A balancer with one endpoint, whose calls in turn succeed or fail.
fn scripted(succeeds: &'static [bool]) -> BoxCloneSyncService<u32, usize, BoxError> {
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("0")]).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    BoxCloneSyncService::new(layer.service(move |_| {
        let calls = Arc::clone(&calls);
        service_fn(move |_| {
            let succeeds = succeeds[calls.fetch_add(1, Ordering::SeqCst)];
            async move {
                sleep(MS).await;
                if succeeds { Ok::<_, BoxError>(7) } else { Err("out of order".into()) }
            }
        })
    }))
}

/// A failure is no vote, so the endpoint has its vote still.
#[tokio::test(start_paused = true)]
async fn answer_after_a_failure_of_the_same_endpoint_counts() {
    let (failing, healthy) = (scripted(&[false, true]), scripted(&[true]));
    let answer = quorum(3, 2).over([failing.clone(), failing, healthy]).unwrap().oneshot(0).await;
    assert_eq!(answer.unwrap(), 7);
}

/// An endpoint that is a little slower than the others never answers first, and is cancelled each time. It is as healthy as they are.
#[tokio::test(start_paused = true)]
async fn endpoint_that_always_loses_stays_in_use() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    servers.set(2, Behaviour::Answers(12 * MS));
    let registry = seawall::registry::Registry::new();
    let layer = servers.layer(BalanceConfig::default()).named_in(&registry, "replicas").unwrap();
    let agreement = seawall::quorum::from_fn(|_: &usize| ());
    let quorum = quorum(3, 2).with_agreement(agreement).layer(servers.service(&layer));
    for _ in 0..300 {
        quorum.clone().oneshot(0).await.unwrap();
        sleep(20 * MS).await;
    }
    let Condition::Balance(condition) = registry.snapshot().of("replicas").next().unwrap().condition.clone() else {
        panic!("it is a balancer")
    };
    assert_eq!(condition.open, 0, "{condition:?}");
    // One of the others dies: it is needed.
    servers.set(0, Behaviour::Fails(MS));
    for _ in 0..500 {
        quorum.clone().oneshot(0).await.unwrap();
    }
}
