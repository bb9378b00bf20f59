//! A failure takes no time, so a bad endpoint has free permits when the good ones have none. It must not get the calls for that.

use super::*;

/// So many callers, each of which calls again when it has an answer. Returns how many calls failed, and how many were made.
async fn use_by(callers: usize, servers: &Servers, config: BalanceConfig, time: Duration) -> (usize, usize) {
    let service = servers.service(&servers.layer(config));
    let start = Instant::now();
    let caller = |service: Balance<Client>| async move {
        let (mut failed, mut made) = (0, 0);
        while start.elapsed() < time {
            let is_good = call(&service).await.is_ok();
            (failed, made) = (failed + usize::from(!is_good), made + 1);
            // A caller does something with an answer.
            sleep(MS).await;
        }
        (failed, made)
    };
    let callers: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(service.clone()))).collect();
    let (mut failed, mut made) = (0, 0);
    for caller in callers {
        let (more_failed, more_made) = caller.await.unwrap();
        (failed, made) = (failed + more_failed, made + more_made);
    }
    (failed, made)
}

/// Of these permits, with nothing that keeps calls away from a bad endpoint for long.
fn permits(max_concurrent: u32) -> BalanceConfig {
    let mut config = BalanceConfig { max_concurrent, ..Default::default() };
    config.circuit_breaker.enabled = false;
    config.ejection.enabled = false;
    config
}

/// Without a balancer, calls would go to each endpoint in turn, and a quarter of them to the bad one.
#[tokio::test(start_paused = true)]
async fn endpoint_that_fails_at_once_gets_no_more_than_its_share_while_all_are_full() {
    for seed in 1..=3 {
        for share in [0.5, 0.7, 0.9, 1.0] {
            seawall::seed(seed);
            let servers = Servers::answering(4, 20 * MS);
            use_by(32, &servers, permits(4), SECOND).await;
            let before = servers.calls();
            servers.set(0, Behaviour::FailsAtOnce(20 * MS, share));
            let (failed, made) = use_by(32, &servers, permits(4), 4 * SECOND).await;
            let calls: Vec<_> = servers.calls().iter().zip(&before).map(|(after, before)| after - before).collect();
            assert!(failed as f64 <= 0.26 * share * made as f64, "{share}: {failed} of {made} failed; {calls:?}");
            assert!(calls[1..].iter().all(|calls| *calls > 750), "{share}: the good ones stay full: {calls:?}");
        }
    }
}

/// If all fail alike no endpoint is better, and what fails makes room.
#[tokio::test(start_paused = true)]
async fn endpoints_that_fail_alike_get_all_the_calls_they_can_take() {
    seawall::seed(1);
    for share in [0.3, 0.7, 1.0] {
        let servers = Servers::new(vec![Behaviour::FailsAtOnce(20 * MS, share); 4]);
        let (_, made) = use_by(32, &servers, permits(4), 4 * SECOND).await;
        let unbounded = 4.0 * 16.0 * 50.0 / (1.0 - share);
        let possible = unbounded.min(4000.0 * 32.0 / (1.0 + 20.0 * (1.0 - share)));
        assert!(made as f64 > 0.9 * possible, "{share}: {made} of {possible}");
    }
}

/// After some good calls, one hangs at the second endpoint, and the first one fails at once. Returns the calls until then.
async fn second_hangs_and_first_fails(
    servers: &Servers,
    service: &Balance<Client>,
) -> Vec<tokio::task::JoinHandle<Result<usize, BoxError>>> {
    for _ in 0..50 {
        call(service).await.unwrap();
    }
    servers.set(1, Behaviour::Hangs);
    let mut calls = Vec::new();
    while servers.running()[1] == 0 {
        calls.push(tokio::spawn(service.clone().oneshot(0)));
        sleep(30 * MS).await;
    }
    servers.set(0, Behaviour::Fails(Duration::ZERO));
    calls
}

/// The other endpoint hangs, so each call goes to the bad one: as many as it could answer.
#[tokio::test(start_paused = true)]
async fn permit_of_a_failed_call_is_free_again_once_a_success_would_be_over() {
    let servers = Servers::answering(2, 20 * MS);
    let layer = servers.layer(permits(1));
    let service = servers.service(&layer);
    let _hanging = second_hangs_and_first_fails(&servers, &service).await;
    let (start, before) = (Instant::now(), servers.calls()[0]);
    while start.elapsed() < SECOND {
        call(&service).await.unwrap_err();
        assert_eq!(layer.handle().in_flight_at("0"), Some(0), "its call is over");
    }
    let made = servers.calls()[0] - before;
    assert!((40..=65).contains(&made), "{made} calls in the time of 50");
    servers.set(0, Behaviour::Answers(20 * MS));
    for _ in 0..3 {
        call(&service).await.unwrap();
    }
    let start = Instant::now();
    call(&service).await.unwrap();
    assert_eq!(start.elapsed(), 20 * MS, "a success keeps nothing");
}

/// A thread that drives its runtime only while it makes calls. Nothing releases a permit there meanwhile.
#[test]
fn permit_that_a_stopped_runtime_keeps_is_taken_when_it_is_due() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (first, second) = (runtime(), runtime());
    let servers = Servers::answering(2, 20 * MS);
    let layer = servers.layer(permits(1));
    let service = servers.service(&layer);
    first.block_on(async {
        let _hanging = second_hangs_and_first_fails(&servers, &service).await;
        while tokio::time::timeout(MS, call(&service)).await.is_ok() {}
    });
    servers.set(0, Behaviour::Answers(MS));
    second.block_on(async {
        // Its clock began when the first one did.
        sleep(60 * SECOND).await;
        let answer = tokio::time::timeout(100 * MS, call(&service)).await;
        assert_eq!(answer.expect("the permit is due").unwrap(), 0);
    });
}
