//! A discovery that changes the set all the time, and what it must not do to the endpoints that stay, come back or leave.

use futures::{StreamExt, stream};
use seawall::balance::SlowStartConfig;
use seawall::circuit_breaker::CircuitBreakerConfig;

use super::*;

/// How many of the calls of the next second go to this server.
async fn next_calls(service: &Balance<Client>, servers: &Servers, server: usize) -> usize {
    let before = servers.calls()[server];
    load(service.clone(), 400, SECOND).await;
    servers.calls()[server] - before
}

/// A discovery repeats its set every half second, in another order and with other weights of others. The new endpoint still gets warm.
#[tokio::test(start_paused = true)]
async fn updates_of_the_set_do_not_restart_a_slow_start() {
    seawall::seed(1);
    let servers = Servers::answering(4, 10 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let mut set = servers.endpoints();
    handle.set_endpoints(set[..3].to_vec()).unwrap();
    load(service.clone(), 400, SECOND).await;
    let updates = async {
        for n in 0..40_u32 {
            set.rotate_left(1);
            let weighed = |endpoint: &Endpoint| match endpoint.key() {
                "0" => endpoint.clone().with_weight(1.0 + f64::from(n % 2) / 10.0),
                _ => endpoint.clone(),
            };
            handle.set_endpoints(set.iter().map(weighed)).unwrap();
            sleep(SECOND / 2).await;
        }
    };
    let shares = async {
        let first = next_calls(&service, &servers, 3).await;
        sleep(10 * SECOND).await;
        (first, next_calls(&service, &servers, 3).await)
    };
    let ((), (first, warm)) = tokio::join!(updates, shares);
    assert!(first <= 30, "{first} of 400");
    assert!((70..=140).contains(&warm), "{warm} of 400");
}

/// A discovery that lists eight of many endpoints, others each time: of the set before one is left. It gets no flood of calls because
/// the others are new.
#[tokio::test(start_paused = true)]
async fn endpoint_that_stays_among_new_ones_is_not_flooded() {
    seawall::seed(1);
    let servers = Servers::answering(15, 10 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let all = servers.endpoints();
    handle.set_endpoints(all[..8].to_vec()).unwrap();
    let fair = next_calls(&service, &servers, 7).await;
    handle.set_endpoints(all[7..].to_vec()).unwrap();
    let calls = next_calls(&service, &servers, 7).await;
    assert!(calls <= 3 * fair, "{calls} of 400 calls, and {fair} before");
}

/// An instance is replaced under its name. The new one is as cold as any other new endpoint.
#[tokio::test(start_paused = true)]
async fn endpoint_with_another_address_starts_slowly() {
    seawall::seed(1);
    let servers = Servers::answering(4, 10 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let named = |addresses: [usize; 3]| {
        let names = ["a", "b", "c"].into_iter().zip(addresses);
        names.map(|(name, address)| Endpoint::new(address.to_string()).with_key(name)).collect::<Vec<_>>()
    };
    handle.set_endpoints(named([0, 1, 2])).unwrap();
    load(service.clone(), 400, 15 * SECOND).await;
    handle.set_endpoints(named([0, 1, 3])).unwrap();
    let calls = next_calls(&service, &servers, 3).await;
    assert!((2..=50).contains(&calls), "{calls} of 400");
}

/// It is away for longer than the state of an idle endpoint is kept, and its calls still run.
#[tokio::test(start_paused = true)]
async fn calls_of_an_endpoint_that_was_away_for_long_still_count() {
    seawall::seed(1);
    let servers = Servers::answering(2, 10 * MS);
    let circuit_breaker = CircuitBreakerConfig { max_hold: 3600 * SECOND, ..CircuitBreakerConfig::default() };
    let layer = servers.layer(BalanceConfig { max_concurrent: 4, circuit_breaker, ..BalanceConfig::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let all = servers.endpoints();
    handle.set_endpoints([all[0].clone()]).unwrap();
    servers.set(0, Behaviour::Hangs);
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    handle.set_endpoints([all[1].clone()]).unwrap();
    load(service.clone(), 10, 300 * SECOND).await;
    assert_eq!(handle.in_flight_at("0"), Some(4));
    handle.set_endpoints(all).unwrap();
    for _ in 0..50 {
        assert_eq!(call(&service).await.unwrap(), 1, "the other one is full");
    }
    calls.into_iter().for_each(|call| call.abort());
    settle().await;
    assert_eq!((handle.in_flight_at("0"), handle.in_flight(), servers.running()), (Some(0), 0, vec![0, 0]));
}

/// A service is ready, and its call comes after a change of the set.
#[tokio::test(start_paused = true)]
async fn endpoint_that_leaves_between_ready_and_call_gets_no_call() {
    seawall::seed(1);
    let servers = Servers::answering(3, MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let all = servers.endpoints();
    for n in 0..60 {
        handle.set_endpoints(all.clone()).unwrap();
        let mut service = service.clone();
        let ready = service.ready().await.unwrap();
        let mut rest = all.clone();
        let gone = rest.remove(n % 3);
        handle.set_endpoints(rest).unwrap();
        assert_ne!(ready.call(0).await.unwrap().to_string(), gone.key());
    }
    assert!(servers.calls().iter().all(|calls| (10..=30).contains(calls)), "{:?}", servers.calls());
}

/// Each process makes few calls, and all of them start at the same moment: no endpoint gets the first call of all of them.
#[tokio::test(start_paused = true)]
async fn first_calls_of_many_clients_are_spread() {
    seawall::seed(1);
    let servers = Servers::answering(3, MS);
    for _ in 0..300 {
        call(&servers.service(&servers.layer(BalanceConfig::default()))).await.unwrap();
    }
    assert!(servers.calls().iter().all(|calls| (70..=130).contains(calls)), "{:?}", servers.calls());
}

/// The numbers of tiers say which one comes first, and nothing else.
#[tokio::test(start_paused = true)]
async fn tiers_may_have_gaps_in_their_numbers() {
    let servers = Servers::answering(3, MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, ..BalanceConfig::default() });
    let service = servers.service(&layer);
    let tiers = |numbers: [u8; 3]| {
        let endpoints = servers.endpoints().into_iter().zip(numbers).map(|(endpoint, tier)| endpoint.with_tier(tier));
        layer.handle().set_endpoints(endpoints).unwrap();
    };
    for (numbers, first, second) in [([7, 255, 254], 0, 2), ([255, 3, 0], 2, 1)] {
        tiers(numbers);
        // Calls move slowly to a tier that comes first now.
        sleep(10 * SECOND).await;
        let before = servers.calls();
        let calls: Vec<_> = (0..2).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        let got = |server: usize| servers.calls()[server] - before[server];
        assert_eq!((got(first), got(second)), (1, 1), "{numbers:?}");
    }
}

/// A discovery that always has another set at once: other tasks of its runtime get their turns all the same.
#[tokio::test(start_paused = true)]
async fn stream_that_is_always_ready_starves_no_task() {
    const SETS: usize = 20_000;
    let servers = Servers::answering(2, MS);
    let layer = servers.layer(BalanceConfig::default());
    let (yielded, all) = (Arc::new(AtomicUsize::new(0)), servers.endpoints());
    let count = Arc::clone(&yielded);
    let sets = stream::repeat_with(move || vec![all[count.fetch_add(1, Ordering::SeqCst) % 2].clone()]);
    layer.handle().follow(sets.take(SETS));
    tokio::task::yield_now().await;
    assert!(yielded.load(Ordering::SeqCst) < SETS, "all of them in one poll");
}

/// A client that counts itself.
#[derive(Clone)]
struct Counted {
    client: Client,
    _alive: Arc<()>,
}

impl Service<u32> for Counted {
    type Response = usize;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<usize, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.client.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.client.call(request)
    }
}

/// Hundreds of endpoints come and go. There are clients of those that are in the set, and of no others.
#[tokio::test(start_paused = true)]
async fn clients_of_endpoints_that_left_are_dropped() {
    seawall::seed(1);
    let servers = Servers::answering(300, MS);
    let slow_start = SlowStartConfig { window: Duration::ZERO, ..SlowStartConfig::default() };
    let layer = BalanceLayer::new(BalanceConfig { slow_start, ..BalanceConfig::default() }).unwrap();
    let layer = layer.with_endpoints(servers.endpoints()[..3].to_vec()).unwrap();
    let (handle, alive) = (layer.handle(), Arc::new(()));
    let (made, token) = (servers.clone(), Arc::clone(&alive));
    let service = layer.service(move |endpoint| Counted { client: made.client(endpoint), _alive: Arc::clone(&token) });
    for first in 0..297 {
        handle.set_endpoints(servers.endpoints()[first..first + 3].to_vec()).unwrap();
        for _ in 0..10 {
            service.clone().oneshot(0).await.unwrap();
        }
        let clients = Arc::strong_count(&alive) - 2;
        assert!((1..=3).contains(&clients), "{clients}");
    }
}
