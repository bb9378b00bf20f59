use super::*;

/// The closure that makes clients panics the first times. The endpoint is used once it does not.
#[tokio::test(start_paused = true)]
async fn endpoint_whose_client_could_not_be_made_is_used_later() {
    let servers = Servers::answering(2, MS);
    let mut config = BalanceConfig { max_concurrent: 1, ..BalanceConfig::default() };
    config.circuit_breaker.enabled = false;
    let layer = servers.layer(config);
    layer.handle().set_endpoints([Servers::endpoint(0)]).unwrap();
    let (own, panics) = (servers.clone(), Arc::new(AtomicUsize::new(0)));
    let made = Arc::clone(&panics);
    let service = layer.service(move |endpoint| {
        assert!(endpoint.key() != "1" || made.fetch_add(1, Ordering::SeqCst) >= 5, "no client");
        own.client(endpoint)
    });
    layer.handle().set_endpoints([Servers::endpoint(1)]).unwrap();
    for _ in 0..5 {
        assert!(tokio::spawn(service.clone().oneshot(0)).await.unwrap_err().is_panic());
        assert_eq!((layer.handle().in_flight(), layer.handle().waiting()), (0, 0));
    }
    for call in start(&service, 3).await {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
}
