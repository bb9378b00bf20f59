//! Paths that do not cause the crashes around them: the layer must do no harm.

use super::*;

const PATHS: &[Path] = &["a", "b", "c", "d", "e"];

fn service(
    servers: &Servers,
) -> impl Service<Path, Response = &'static str, Error = BoxError, Future: Send> + Clone + Send + 'static {
    retry(CloneRequest::idempotent()).layer(layer(QuarantineConfig::default()).layer(servers.balance()))
}

fn refused(answers: &BTreeMap<Path, [usize; 3]>) -> usize {
    answers.values().map(|[_, refused, _]| refused).sum()
}

fn failed(answers: &BTreeMap<Path, [usize; 3]>) -> usize {
    answers.values().map(|[_, _, failed]| failed).sum()
}

#[tokio::test(start_paused = true)]
async fn one_of_three_crashes_for_all_requests_quarantines_no_path() {
    for seed in 0..4 {
        seawall::seed(seed);
        let servers = Servers::new(3, 5 * MS);
        *servers.all[0].is_broken.lock().unwrap() = true;
        let answers = traffic(service(&servers), PATHS, 7 * MS, 3 * SECOND).await;
        assert!(servers.crashes().1 > 20, "it gets calls all the time: {:?}", servers.crashes());
        assert_eq!((refused(&answers), failed(&answers)), (0, 0), "{answers:?}");
    }
}

/// The same with one path only, about which no other path says anything.
#[tokio::test(start_paused = true)]
async fn one_of_three_crashes_and_there_is_one_path() {
    for every in [5 * MS, 100 * MS] {
        let servers = Servers::new(3, 5 * MS);
        *servers.all[0].is_broken.lock().unwrap() = true;
        let answers = traffic(service(&servers), &["a"], every, 3 * SECOND).await;
        assert_eq!((refused(&answers), failed(&answers)), (0, 0), "{answers:?}");
    }
}

/// With two of three, some calls are lost twice, and fail as they would without the layer. For how long a path can be refused by
/// mistake is how long it takes until another one is lost at the same endpoint.
#[tokio::test(start_paused = true)]
async fn two_of_three_crash_and_no_path_stays_refused() {
    for seed in 0..4 {
        seawall::seed(seed);
        let servers = Servers::new(3, 5 * MS);
        servers.all[..2].iter().for_each(|server| *server.is_broken.lock().unwrap() = true);
        let bare = traffic(retry(CloneRequest::idempotent()).layer(servers.balance()), PATHS, 7 * MS, 3 * SECOND).await;
        let answers = traffic(service(&servers), PATHS, 7 * MS, 3 * SECOND).await;
        let calls: usize = answers.values().flatten().sum();
        assert!(refused(&answers) * 20 < calls, "{answers:?}");
        let (with, without) = (refused(&answers) + failed(&answers), failed(&bare));
        assert!(with < without + calls / 20, "{with} instead of {without} of {calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn rolling_restart_quarantines_no_request() {
    for seed in 0..4 {
        seawall::seed(seed);
        let servers = Servers::new(4, 20 * MS);
        let answers = tokio::spawn(traffic(service(&servers), PATHS, 10 * MS, 6 * SECOND));
        for server in servers.all.iter() {
            sleep(SECOND).await;
            server.crash();
        }
        let answers = answers.await.unwrap();
        assert_eq!(refused(&answers), 0, "{answers:?}");
    }
}

/// Slow requests that are lost at a restart, sent again, and lost at the next one.
#[tokio::test(start_paused = true)]
async fn two_restarts_quarantine_no_slow_request() {
    let servers = Servers::new(3, 30 * SECOND);
    let service = service(&servers);
    let calls: Vec<_> =
        PATHS.iter().flat_map(|path| [path; 3]).map(|path| tokio::spawn(service.clone().oneshot(path))).collect();
    for server in &servers.all[..2] {
        sleep(3 * SECOND).await;
        server.crash();
    }
    let answers = futures::future::join_all(calls).await.into_iter().map(Result::unwrap);
    assert_eq!(tally(answers)[1], 0);
    assert!(!is_quarantined(&service.oneshot("a").await));
}

#[tokio::test(start_paused = true)]
async fn network_that_breaks_everywhere_quarantines_no_request() {
    for paths in [&["a"], PATHS] {
        let servers = Servers::new(4, 20 * MS);
        let answers = tokio::spawn(traffic(service(&servers), paths, MS, 2 * SECOND));
        sleep(SECOND).await;
        for server in servers.all.iter() {
            // The connections break, and the instances stay up.
            server.crashes.send_modify(|_| ());
        }
        let answers = answers.await.unwrap();
        assert_eq!((refused(&answers), failed(&answers)), (0, 0), "{answers:?}");
    }
}

/// Without a balancer that notes endpoints there is one endpoint, which is not enough.
#[tokio::test(start_paused = true)]
async fn losses_at_unknown_endpoints_quarantine_nothing() {
    let servers = Servers::new(1, MS);
    let service = layer(QuarantineConfig::default()).layer(Client { servers: servers.clone(), number: 0 });
    for _ in 0..5 {
        assert_eq!(service.clone().oneshot(POISON).await.unwrap_err().to_string(), "lost");
        sleep(RESTART).await;
    }
    assert_eq!(servers.crashes(), (1, 5));
}
