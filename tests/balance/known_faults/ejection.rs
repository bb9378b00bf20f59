use super::*;

/// Six endpoints for four calls each, of which the first is ejected and works again. All others are full for good.
async fn first_is_ejected_and_others_are_full(
    base_time: Duration,
) -> (Servers, Registry, BalanceLayer, Balance<Client>, Vec<Pending>) {
    seawall::seed(2);
    let servers = Servers::answering(6, 10 * MS);
    let config = BalanceConfig { max_wait: 100 * SECOND, ..only_ejection(4, base_time) };
    let (registry, layer) = servers.named(config);
    let service = servers.service(&layer);
    servers.set(0, Behaviour::Fails(10 * MS));
    load(DeadlineLayer::new(50 * MS).unwrap().layer(service.clone()), 2200, 2500 * MS).await;
    assert_eq!(ejected(&registry), [0], "{:?}", servers.calls());
    servers.set(0, Behaviour::Answers(10 * MS));
    (1..6).for_each(|server| servers.set(server, Behaviour::Hangs));
    let running = start(&service, 20).await;
    assert_eq!(servers.running(), [0, 4, 4, 4, 4, 4]);
    (servers, registry, layer, service, running)
}

/// No new call comes. The one that waits is served by the endpoint whose ejection ends meanwhile.
#[tokio::test(start_paused = true)]
async fn waiting_call_gets_the_endpoint_whose_ejection_ends() {
    let (_servers, registry, layer, service, _running) = first_is_ejected_and_others_are_full(5 * SECOND).await;
    let begun = Instant::now();
    let waiting = start(&service, 1).await.pop().unwrap();
    assert_eq!(layer.handle().waiting(), 1);
    let answer = tokio::time::timeout(30 * SECOND, waiting).await;
    let answer = answer.map(|answer| answer.unwrap().map_err(|error| error.to_string()));
    assert!(begun.elapsed() < 10 * SECOND, "{answer:?} after {:?}, ejected: {:?}", begun.elapsed(), ejected(&registry));
    assert_eq!(answer, Ok(Ok(0)));
}

/// The same when an active check ends the ejection, and when a reload does.
#[tokio::test(start_paused = true)]
async fn waiting_call_gets_the_endpoint_that_is_restored_early() {
    for by_check in [true, false] {
        let (_servers, _registry, layer, service, _running) = first_is_ejected_and_others_are_full(1000 * SECOND).await;
        let begun = Instant::now();
        let waiting = start(&service, 1).await.pop().unwrap();
        assert_eq!(layer.handle().waiting(), 1);
        if by_check {
            let config = CheckConfig { interval: SECOND, jitter: 0.0, timeout: 500 * MS };
            layer.handle().check(config, |_| async { Ok(()) }).unwrap();
        } else {
            let mut config = layer.config();
            config.ejection.enabled = false;
            layer.reload(&config).unwrap();
        }
        assert_eq!(waiting.await.unwrap().unwrap(), 0, "by a check: {by_check}");
        assert!(begun.elapsed() < 5 * SECOND, "by a check: {by_check}");
    }
}

/// Four endpoints for four calls each, with some good calls behind them and room for a batch that waits.
async fn four_endpoints_for_a_batch() -> (Servers, Registry, BalanceLayer, Balance<Client>) {
    seawall::seed(1);
    let servers = Servers::answering(4, 50 * MS);
    let config = BalanceConfig { max_wait: 1000 * SECOND, max_waiting: 10_000, ..only_ejection(4, 1000 * SECOND) };
    let (registry, layer) = servers.named(config);
    let service = servers.service(&layer);
    load(service.clone(), 100, 3 * SECOND).await;
    (servers, registry, layer, service)
}

/// A batch: all calls come at once, and wait for permits. The bad endpoint fails sooner than the others answer, and gets most of them.
#[tokio::test(start_paused = true)]
async fn bad_endpoint_is_ejected_while_a_batch_waits() {
    let (servers, registry, _layer, service) = four_endpoints_for_a_batch().await;
    assert_eq!(ejected(&registry), [0; 0]);
    servers.set(0, Behaviour::FailsAtTimes(5 * MS, 0.7));
    let calls: Vec<_> = (0..6000).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    let (mut failed, mut refused) = (0, 0);
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            *(if seawall::error::rejection(&error).is_some() { &mut refused } else { &mut failed }) += 1;
        }
    }
    // It takes 800 calls a second: two intervals of evidence are enough for anybody.
    assert!(
        failed < 1500,
        "{failed} of 6000 calls failed, {refused} were refused, {:?}, ejected: {:?}",
        servers.calls(),
        ejected(&registry)
    );
}

/// The same with five endpoints that are well, a bad one that fails fewer of its calls than opens a breaker, and the default breakers. Of
/// calls in turn it would get a sixth.
#[tokio::test(start_paused = true)]
async fn unreliable_endpoint_gets_no_more_than_its_share_of_a_batch() {
    seawall::seed(1);
    let servers = Servers::answering(6, 50 * MS);
    let mut config = only_ejection(4, 1000 * SECOND);
    config.circuit_breaker = BalanceConfig::default().circuit_breaker;
    let (registry, layer) = servers.named(BalanceConfig { max_wait: 1000 * SECOND, max_waiting: 10_000, ..config });
    let service = servers.service(&layer);
    load(service.clone(), 100, 3 * SECOND).await;
    servers.set(0, Behaviour::FailsAtOnce(50 * MS, 0.4));
    let calls: Vec<_> = (0..10_000).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    let mut failed = 0;
    for call in calls {
        failed += usize::from(call.await.unwrap().is_err());
    }
    assert!(failed < 1000, "{failed} of 10000 calls failed, {:?}, ejected: {:?}", servers.calls(), ejected(&registry));
}

/// No call comes for a minute after the ejection.
#[tokio::test(start_paused = true)]
async fn ejection_that_is_over_ends_without_calls() {
    seawall::seed(2);
    let servers = Servers::answering(6, 10 * MS);
    let (registry, layer) = servers.named(only_ejection(4, 5 * SECOND));
    let service = servers.service(&layer);
    servers.set(0, Behaviour::Fails(10 * MS));
    load(DeadlineLayer::new(50 * MS).unwrap().layer(service.clone()), 2200, 2500 * MS).await;
    assert_eq!(ejected(&registry), [0]);
    servers.set(0, Behaviour::Answers(10 * MS));
    // Nobody calls for a minute. The first calls after that find an endpoint that may be used.
    sleep(60 * SECOND).await;
    (1..6).for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    let results = start(&service, 24).await;
    let mut answers = 0;
    for result in results {
        answers += usize::from(result.await.unwrap().is_ok_and(|answer| answer == 0));
    }
    assert!(answers > 0, "{:?}", servers.calls());
    assert_eq!(ejected(&registry), [0; 0]);
}

/// The same calls at a fixed rate: now new calls come all the time, and the endpoint is ejected.
#[tokio::test(start_paused = true)]
async fn bad_endpoint_is_ejected_while_calls_come_at_a_fixed_rate() {
    let (servers, registry, _layer, service) = four_endpoints_for_a_batch().await;
    servers.set(0, Behaviour::FailsAtTimes(5 * MS, 0.7));
    let results = load(service, 400, 15 * SECOND).await;
    let failed = results.iter().filter(|(.., result)| result.is_err()).count();
    assert!(failed < 1500, "{failed} of 6000 calls failed, {:?}", servers.calls());
    assert_eq!(ejected(&registry), [0]);
}

/// The spells in which the endpoint with number 0 is ejected, while calls are made.
async fn spells(registry: &Registry, calls: impl Future) -> Vec<Duration> {
    let (mut calls, mut spells, mut since) = (std::pin::pin!(calls), Vec::new(), None);
    loop {
        tokio::select! {
            _ = &mut calls => return spells,
            () = sleep(50 * MS) => match (since, ejected(registry).contains(&0)) {
                (None, true) => since = Some(Instant::now()),
                (Some(at), false) => {
                    spells.push(at.elapsed());
                    since = None;
                }
                _ => {}
            }
        }
    }
}

/// It fails each time that it comes back, also when it comes back with few calls. Once it is well for long, that is forgotten.
#[tokio::test(start_paused = true)]
async fn ejections_grow_while_the_endpoint_fails_and_shrink_when_it_is_well() {
    seawall::seed(3);
    let servers = Servers::answering(6, 10 * MS);
    let (registry, layer) =
        servers.named(BalanceConfig { slow_start: no_slow_start(), ..only_ejection(1, 2 * SECOND) });
    let service = DeadlineLayer::new(50 * MS).unwrap().layer(servers.service(&layer));
    servers.set(0, Behaviour::Fails(10 * MS));
    let failing = spells(&registry, load(service.clone(), 550, 40 * SECOND)).await;
    assert!(failing.len() >= 3, "{failing:?}");
    assert!(failing.windows(2).all(|pair| pair[1] > pair[0]), "each is longer: {failing:?}");
    servers.set(0, Behaviour::Answers(10 * MS));
    let well = spells(&registry, load(service.clone(), 550, 50 * SECOND)).await;
    assert!(well.len() <= 1, "only what was under way: {well:?}");
    assert_eq!(ejected(&registry), [0; 0]);
    servers.set(0, Behaviour::Fails(10 * MS));
    let again = spells(&registry, load(service, 550, 8 * SECOND)).await;
    assert!(again.first().is_some_and(|first| *first < 4 * SECOND), "as short as the first: {again:?}");
}

/// All endpoints fail. The share is never exceeded, whatever it is.
#[tokio::test(start_paused = true)]
async fn largest_share_is_never_exceeded() {
    for (percent, expected) in [(10, 1), (39, 1), (67, 3), (100, 4)] {
        let servers = Servers::new([Behaviour::Fails(10 * MS); 5]);
        let mut config = only_ejection(64, 1000 * SECOND);
        config.ejection.max_percent = percent;
        let (registry, layer) = servers.named(config);
        let mut calls = std::pin::pin!(load(servers.service(&layer), 600, 6 * SECOND));
        let mut most = 0;
        loop {
            tokio::select! {
                _ = &mut calls => break,
                () = sleep(20 * MS) => most = most.max(ejected(&registry).len()),
            }
        }
        assert_eq!((most, ejected(&registry).len()), (expected, expected), "{percent} %");
    }
}

/// Six endpoints for calls of 10 ms, of which the first three are ejected for long.
async fn half_are_ejected(servers: &Servers) -> (Registry, BalanceHandle, Balance<Client>) {
    seawall::seed(1);
    let (registry, layer) = servers.named(only_ejection(64, 1000 * SECOND));
    let service = servers.service(&layer);
    layer.handle().set_endpoints((0..6).map(Servers::endpoint)).unwrap();
    (0..3).for_each(|server| servers.set(server, Behaviour::Fails(10 * MS)));
    load(service.clone(), 1200, 4 * SECOND).await;
    assert_eq!(ejected(&registry), [0, 1, 2], "{:?}", servers.calls());
    (registry, layer.handle(), service)
}

/// The discovery removes the endpoints that were well. The others are all that is left.
#[tokio::test(start_paused = true)]
async fn ejected_endpoints_serve_when_the_others_leave() {
    let servers = Servers::answering(6, 10 * MS);
    let (registry, handle, service) = half_are_ejected(&servers).await;
    (0..3).for_each(|server| servers.set(server, Behaviour::Answers(10 * MS)));
    handle.set_endpoints((0..3).map(Servers::endpoint)).unwrap();
    assert!(ejected(&registry).len() <= 1, "{:?}", ejected(&registry));
    let results = load(service, 100, 5 * SECOND).await;
    assert!(results.iter().all(|(.., result)| result.is_ok()), "no call fails");
}

/// The ejected endpoints are replaced by others that are bad, too. Those that left use up no room for ejections.
#[tokio::test(start_paused = true)]
async fn ejected_endpoints_that_leave_do_not_count() {
    let servers = Servers::answering(9, 10 * MS);
    let (registry, handle, service) = half_are_ejected(&servers).await;
    (6..9).for_each(|server| servers.set(server, Behaviour::Fails(10 * MS)));
    handle.set_endpoints((3..9).map(Servers::endpoint)).unwrap();
    assert_eq!(ejected(&registry), [0; 0]);
    load(service, 1200, 15 * SECOND).await;
    assert_eq!(ejected(&registry), [6, 7, 8]);
}

/// An endpoint is down for five seconds, for which its breaker keeps calls away. It is back before the endpoints are compared.
#[tokio::test(start_paused = true)]
async fn endpoint_that_its_breaker_has_brought_back_is_not_ejected_for_the_time_before() {
    for seed in 1..=3 {
        seawall::seed(seed);
        let servers = Servers::answering(5, 10 * MS);
        let (registry, layer) = servers.named(BalanceConfig::default());
        let service = servers.service(&layer);
        load(service.clone(), 300, 12 * SECOND).await;
        servers.set(0, Behaviour::Fails(MS));
        load(service.clone(), 300, 5 * SECOND).await;
        servers.set(0, Behaviour::Answers(10 * MS));
        for _ in 0..20 {
            load(service.clone(), 300, SECOND).await;
            assert_eq!(ejected(&registry), [0; 0], "{seed}: {:?}", servers.calls());
        }
    }
}
