//! Endpoints whose clients do not become ready.

use seawall::deadline::DeadlineLayer;
use tower::Layer;

use super::*;

/// A client that may never be ready. It answers with whether it is.
#[derive(Clone)]
struct Sometimes {
    is_ready: bool,
    latency: Duration,
}

impl Service<u32> for Sometimes {
    type Response = usize;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<usize, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let latency = self.latency;
        Box::pin(async move {
            sleep(latency).await;
            Ok(1)
        })
    }
}

fn good_and_unready(latency: Duration, max_hold: Duration) -> Balance<Sometimes> {
    let mut config = BalanceConfig::default();
    config.circuit_breaker.max_hold = max_hold;
    let layer = BalanceLayer::new(config).unwrap().with_endpoints(["good", "unready"].map(Endpoint::new)).unwrap();
    layer.service(move |endpoint| Sometimes { is_ready: endpoint.key() == "good", latency })
}

/// The share of calls that fail in half a minute, after the first few seconds.
async fn failed<S>(service: S, callers: usize) -> f64
where
    S: Service<u32, Response = usize, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let start = Instant::now();
    let caller = |_| {
        let service = service.clone();
        tokio::spawn(async move {
            let (mut all, mut failed) = (0, 0);
            while start.elapsed() < 33 * SECOND {
                let began = start.elapsed();
                let result = service.clone().oneshot(0).await;
                if began > 3 * SECOND {
                    all += 1;
                    failed += usize::from(result.is_err());
                }
                sleep(10 * MS).await;
            }
            (all, failed)
        })
    };
    let callers: Vec<_> = (0..callers).map(caller).collect();
    let (mut all, mut failures) = (0, 0);
    for caller in callers {
        let (calls, failed) = caller.await.unwrap();
        all += calls;
        failures += failed;
    }
    failures as f64 / all as f64
}

/// Whether an outer deadline drops the call or the layer's own bound ends it.
#[tokio::test(start_paused = true)]
async fn endpoint_whose_client_is_never_ready_gets_few_calls() {
    for callers in [1, 8] {
        for latency in [Duration::ZERO, 10 * MS] {
            let balance = good_and_unready(latency, 30 * SECOND);
            let bounded = DeadlineLayer::new(300 * MS).unwrap().layer(balance);
            let dropped = failed(bounded, callers).await;
            let cut = failed(good_and_unready(latency, 300 * MS), callers).await;
            assert!(dropped < 0.02 && cut < 0.02, "{callers} callers, {latency:?}: {dropped}, {cut}");
        }
    }
}

fn by_address(max_hold: Duration) -> (BalanceLayer, Balance<Sometimes>) {
    let mut config = BalanceConfig { max_concurrent: 1, ..BalanceConfig::default() };
    config.circuit_breaker.max_hold = max_hold;
    let layer = BalanceLayer::new(config).unwrap().with_endpoints([Endpoint::new("unready")]).unwrap();
    let service = layer.service(|endpoint| Sometimes { is_ready: endpoint.address() != "unready", latency: 100 * MS });
    (layer, service)
}

/// Nothing was sent, so the call goes on at another endpoint, within its bound.
#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_client_goes_on_when_its_endpoint_leaves() {
    let (layer, service) = by_address(60 * SECOND);
    let handle = layer.handle();
    let waiting = tokio::spawn(service.clone().oneshot(0));
    sleep(SECOND).await;
    assert_eq!(handle.in_flight(), 1);
    handle.set_endpoints([Endpoint::new("good")]).unwrap();
    let begun = Instant::now();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!((begun.elapsed().as_millis() / 100, handle.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_client_goes_on_when_its_endpoint_moves() {
    let (layer, service) = by_address(60 * SECOND);
    let handle = layer.handle();
    handle.set_endpoints([Endpoint::new("unready").with_key("a")]).unwrap();
    let waiting = tokio::spawn(service.clone().oneshot(0));
    sleep(SECOND).await;
    handle.set_endpoints([Endpoint::new("good").with_key("a")]).unwrap();
    let begun = Instant::now();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!((begun.elapsed().as_millis() / 100, handle.in_flight()), (1, 0));
}

/// It waits for a permit of the new endpoint like any other call, and ends at the bound that it has had from its start.
#[tokio::test(start_paused = true)]
async fn call_whose_endpoint_leaves_keeps_its_bound() {
    let (layer, service) = by_address(10 * SECOND);
    let handle = layer.handle();
    let begun = Instant::now();
    let first = tokio::spawn(service.clone().oneshot(0));
    sleep(SECOND).await;
    handle.set_endpoints([Endpoint::new("good")]).unwrap();
    let second = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    assert!(handle.in_flight() == 1 && handle.waiting() == 1);
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert_eq!(begun.elapsed().as_millis() / 100, 12);

    handle.set_endpoints([Endpoint::new("unready")]).unwrap();
    let begun = Instant::now();
    let call = service.clone().oneshot(0);
    let waiting = tokio::spawn(async move { (call.await, begun.elapsed()) });
    for n in 0..4 {
        sleep(4 * SECOND).await;
        handle.set_endpoints([Endpoint::new("unready").with_key(n.to_string())]).unwrap();
    }
    let (result, took) = waiting.await.unwrap();
    assert_eq!((result.is_err(), took.as_secs(), handle.in_flight()), (true, 10, 0));
}
