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
