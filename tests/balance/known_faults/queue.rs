use super::*;

/// A draining endpoint is idle while a call waits for the other one. It takes the call once nothing else is left.
#[tokio::test(start_paused = true)]
async fn draining_endpoint_takes_no_waiting_call_while_there_is_another() {
    let servers = Servers::new([Behaviour::Hangs, Behaviour::Answers(MS)]);
    let config = BalanceConfig { max_concurrent: 1, max_wait: 100 * SECOND, ..Default::default() };
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("1", EndpointMode::Draining));
    let _running = start(&service, 1).await;
    let waiting = start(&service, 1).await.pop().unwrap();
    sleep(5 * SECOND).await;
    assert_eq!((handle.waiting(), servers.calls()), (1, vec![1, 0]));
    handle.set_endpoints([Servers::endpoint(1)]).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
}

/// Callers give up while their calls wait, again and again. Their places are free.
#[tokio::test(start_paused = true)]
async fn calls_dropped_while_they_wait_leave_no_trace() {
    let servers = Servers::new([Behaviour::Answers(20 * SECOND)]);
    let config = BalanceConfig { max_concurrent: 2, max_waiting: 10, max_wait: 1000 * SECOND, ..Default::default() };
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let running = start(&service, 2).await;
    for round in 0..50 {
        let waiting = start(&service, 10).await;
        assert_eq!(handle.waiting(), 10, "{round}");
        waiting.iter().for_each(|call| call.abort());
        settle().await;
        assert_eq!((handle.waiting(), handle.in_flight()), (0, 2), "{round}");
    }
    let waiting = start(&service, 10).await;
    for call in running.into_iter().chain(waiting) {
        assert_eq!(call.await.unwrap().unwrap(), 0);
    }
    assert_eq!((handle.waiting(), handle.in_flight()), (0, 0));
}

/// Where a client panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Panics {
    Nowhere,
    Ready,
    Call,
    Future,
}

#[derive(Clone)]
struct Panicking(Arc<Mutex<Panics>>);

impl Service<u32> for Panicking {
    type Response = usize;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<usize, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let panics = *self.0.lock().unwrap();
        assert!(panics != Panics::Ready, "a faulty client");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        let panics = *self.0.lock().unwrap();
        assert!(panics != Panics::Call, "a faulty client");
        Box::pin(async move {
            sleep(MS).await;
            assert!(panics != Panics::Future, "a faulty client");
            Ok(7)
        })
    }
}

/// A client that panics holds no permit, wherever it does.
#[tokio::test(start_paused = true)]
async fn client_that_panics_holds_no_permit() {
    for panics in [Panics::Ready, Panics::Call, Panics::Future] {
        let mut config = BalanceConfig { max_concurrent: 2, ..Default::default() };
        config.circuit_breaker.enabled = false;
        let layer = BalanceLayer::new(config).unwrap().with_endpoints([Endpoint::new("a")]).unwrap();
        let mode = Arc::new(Mutex::new(panics));
        let client = Panicking(Arc::clone(&mode));
        let service = layer.service(move |_| client.clone());
        for _ in 0..10 {
            assert!(tokio::spawn(service.clone().oneshot(0)).await.unwrap_err().is_panic(), "{panics:?}");
        }
        assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (0, 0), "{panics:?}");
        *mode.lock().unwrap() = Panics::Nowhere;
        let calls: Vec<_> = (0..4).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 7, "{panics:?}");
        }
    }
}
