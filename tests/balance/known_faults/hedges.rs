use super::*;

fn after(delay: Duration) -> HedgeConfig {
    HedgeConfig { delay: HedgeDelay::Fixed(delay), ..HedgeConfig::default() }
}

/// No hedge can be made, and the only attempt fails: the call is over then, and not at its deadline.
#[tokio::test(start_paused = true)]
async fn failed_attempt_whose_hedge_was_not_made_ends_the_call() {
    let none = BudgetConfig { ratio: 0.0, reserve_per_second: 0.0, reserve_burst: 0, ..BudgetConfig::default() };
    for (config, servers) in [
        (HedgeConfig { budget: none.clone(), ..after(MS) }, 2),
        (HedgeConfig { budget: none, ..after(20 * MS) }, 2),
        (after(MS), 1),
    ] {
        let servers = Servers::new(vec![Behaviour::Fails(10 * MS); servers]);
        let balance = servers.service(&servers.layer(BalanceConfig::default()));
        let service = HedgeLayer::new(config).unwrap().layer(balance);
        let begun = Instant::now();
        let result = DeadlineLayer::new(10 * SECOND).unwrap().layer(service).oneshot(0).await;
        assert_eq!(result.unwrap_err().to_string(), "out of order");
        assert!(begun.elapsed() < 100 * MS, "{:?}", begun.elapsed());
    }
}

/// Each attempt has a bound of its own. That of the first one does not end the second.
#[tokio::test(start_paused = true)]
async fn bound_of_the_first_attempt_leaves_the_hedge_alone() {
    let service = service_fn(|_: u32| async {
        match seawall::context::attempt() {
            1 => std::future::pending().await,
            attempt => {
                sleep(25 * MS).await;
                Ok::<_, BoxError>(attempt)
            }
        }
    });
    let service = DeadlineLayer::new(30 * MS).unwrap().layer(service);
    let begun = Instant::now();
    assert_eq!(HedgeLayer::new(after(20 * MS)).unwrap().layer(service).oneshot(0).await.unwrap(), 2);
    assert!(begun.elapsed() < 50 * MS, "{:?}", begun.elapsed());
}

/// The endpoint of the first attempt leaves the set, and the only other one is full. The hedge waits for no permit.
#[tokio::test(start_paused = true)]
async fn hedge_of_a_call_whose_endpoint_left_waits_for_no_permit() {
    let servers = Servers::new([Behaviour::Answers(SECOND), Behaviour::Hangs]);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, max_wait: 100 * SECOND, ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints([Servers::endpoint(0)]).unwrap();
    let hedged = HedgeLayer::new(after(100 * MS)).unwrap().layer(service.clone());
    let hedged = tokio::spawn(hedged.oneshot(0));
    settle().await;
    assert_eq!(servers.running(), [1, 0]);
    handle.set_endpoints([Servers::endpoint(1)]).unwrap();
    let _running = start(&service, 1).await;
    assert_eq!(servers.running(), [1, 1]);
    sleep(500 * MS).await;
    assert_eq!(handle.waiting(), 0, "a hedge waits");
    assert_eq!(hedged.await.unwrap().unwrap(), 0);
}

/// The same, and the other endpoint is free now and then. Its permits are for calls that have none, and not for the hedge of one that
/// is answered anyway.
#[tokio::test(start_paused = true)]
async fn hedge_of_a_call_whose_endpoint_left_displaces_no_call() {
    let servers = Servers::new([Behaviour::Answers(10 * SECOND), Behaviour::Answers(SECOND)]);
    let config = BalanceConfig { max_concurrent: 1, max_waiting: 1, max_wait: 100 * SECOND, ..Default::default() };
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints([Servers::endpoint(0)]).unwrap();
    let hedged = tokio::spawn(HedgeLayer::new(after(100 * MS)).unwrap().layer(service.clone()).oneshot(0));
    settle().await;
    handle.set_endpoints([Servers::endpoint(1)]).unwrap();
    let running = start(&service, 1).await;
    sleep(200 * MS).await;
    // There is room for one call that waits, and this one is the first.
    let other = start(&service, 1).await;
    for call in running.into_iter().chain(other) {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    hedged.abort();
}

/// The same while there is a free endpoint: the hedge goes there.
#[tokio::test(start_paused = true)]
async fn hedge_of_a_call_whose_endpoint_left_goes_to_another() {
    let servers = Servers::new([Behaviour::Hangs, Behaviour::Answers(MS)]);
    let layer = servers.layer(BalanceConfig::default());
    layer.handle().set_endpoints([Servers::endpoint(0)]).unwrap();
    let hedged = HedgeLayer::new(after(100 * MS)).unwrap().layer(servers.service(&layer));
    let hedged = tokio::spawn(hedged.oneshot(0));
    settle().await;
    layer.handle().set_endpoints([Servers::endpoint(1)]).unwrap();
    assert_eq!(hedged.await.unwrap().unwrap(), 1);
    settle().await;
    assert_eq!((servers.running(), layer.handle().in_flight_at("0")), (vec![0, 0], Some(0)));
}
