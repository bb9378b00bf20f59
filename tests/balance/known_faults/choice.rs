use super::*;

/// One of equal endpoints is slow for two seconds. It is as good as the others afterwards.
#[tokio::test(start_paused = true)]
async fn endpoint_that_was_slow_for_a_moment_gets_its_share_back() {
    seawall::seed(1);
    for per_second in [20, 200] {
        let servers = Servers::answering(5, 20 * MS);
        let service = servers.service(&servers.layer(BalanceConfig::default()));
        load(service.clone(), per_second, 10 * SECOND).await;
        servers.set(1, Behaviour::Answers(400 * MS));
        load(service.clone(), per_second, 2 * SECOND).await;
        servers.set(1, Behaviour::Answers(20 * MS));
        load(service.clone(), per_second, 30 * SECOND).await;
        let calls = servers.during(load(service, per_second, 20 * SECOND)).await;
        let share = calls[1] as f64 / f64::from(20 * per_second);
        assert!((0.12..0.3).contains(&share), "{per_second} a second: {calls:?}");
    }
}

/// One of three servers swallows all calls from some moment on, as a machine that restarts does.
#[tokio::test(start_paused = true)]
async fn endpoint_that_swallows_calls_takes_few_of_them() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let service = servers.service(&servers.layer(BalanceConfig::default()));
    let hangs = async {
        sleep(5 * SECOND).await;
        servers.set(0, Behaviour::Hangs);
    };
    let calls = load(DeadlineLayer::new(SECOND).unwrap().layer(service), 300, 20 * SECOND);
    let ((), results) = tokio::join!(hangs, calls);
    let after: Vec<_> = results.iter().filter(|(begun, ..)| *begun > 8 * SECOND).collect();
    let failed = after.iter().filter(|(.., result)| result.is_err()).count();
    assert!(failed * 50 < after.len(), "{failed} of {} calls failed", after.len());
}

/// A client that connects for this long before it is ready.
struct Connecting {
    until: Option<Instant>,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    client: Client,
}

impl Clone for Connecting {
    fn clone(&self) -> Self {
        Self { until: self.until, sleep: None, client: self.client.clone() }
    }
}

impl Service<u32> for Connecting {
    type Response = usize;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<usize, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let Some(until) = self.until else { return Poll::Ready(Ok(())) };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        sleep.as_mut().poll(cx).map(Ok)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.client.call(request)
    }
}

/// A new endpoint takes three seconds to connect. Calls that wait for the connection are calls there: it is not idle.
#[tokio::test(start_paused = true)]
async fn endpoint_that_connects_slowly_attracts_few_calls() {
    seawall::seed(1);
    for slow_start in [SlowStartConfig::default(), no_slow_start()] {
        let servers = Servers::answering(4, 10 * MS);
        let layer = servers.layer(BalanceConfig { slow_start, ..BalanceConfig::default() });
        let own = servers.clone();
        let service = layer.service(move |endpoint| {
            let client = own.client(endpoint);
            let until = (client.number == 0).then(|| Instant::now() + 3 * SECOND);
            Connecting { until, sleep: None, client }
        });
        layer.handle().set_endpoints(servers.endpoints()[1..].to_vec()).unwrap();
        load(service.clone(), 300, 2 * SECOND).await;
        layer.handle().set_endpoints(servers.endpoints()).unwrap();
        let results = load(service, 300, 5 * SECOND).await;
        let slow = results.iter().filter(|(_, took, _)| *took > 100 * MS).count();
        assert!(slow < 45, "{slow} of 1500 calls waited for the connection");
    }
}

/// A retry whose first attempt failed at an endpoint that leaves and is back before the second one.
#[tokio::test(start_paused = true)]
async fn retry_avoids_an_endpoint_that_was_away_in_between() {
    for seed in 0..40 {
        seawall::seed(seed);
        let servers = Servers::new([Behaviour::Fails(MS), Behaviour::Answers(MS)]);
        let layer = servers.layer(BalanceConfig::default());
        let retry = RetryConfig { max_attempts: 2, backoff: Backoff::constant(50 * MS), ..RetryConfig::default() };
        let service = RetryLayer::new(retry).unwrap().layer(servers.service(&layer));
        let call = tokio::spawn(service.oneshot(0));
        sleep(10 * MS).await;
        layer.handle().set_endpoints([Servers::endpoint(1)]).unwrap();
        sleep(10 * MS).await;
        layer.handle().set_endpoints(servers.endpoints()).unwrap();
        assert_eq!(call.await.unwrap().unwrap(), 1, "{seed}: {:?}", servers.calls());
    }
}
