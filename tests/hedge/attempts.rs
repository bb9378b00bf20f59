//! Which attempt wins, and what becomes of the others.

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::deadline::DeadlineLayer;
use seawall::retry::{CloneRequest, Kept, Replay, Stop, report};
use seawall::verdict::Verdict;
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

#[tokio::test(start_paused = true)]
async fn first_good_answer_wins_and_the_loser_is_dropped() {
    for (times, winner, took) in [(&[100u64, 20], 2, 30), (&[15, 20], 1, 15)] {
        let log = Log::default();
        let start = Instant::now();
        let (answer, told) = report(layer(fixed()).layer(taking(&log, times)).oneshot(())).await;
        assert_eq!((answer.unwrap(), log.attempts(), log.cancelled()), (winner, vec![1, 2], 1));
        assert!(start.elapsed() <= millis(took + 2), "{:?}", start.elapsed());
        let told = told.expect("a report");
        assert_eq!((told.attempts, told.stopped, told.verdicts), (2, Stop::Succeeded, vec![Verdict::Success]));
    }
}

#[tokio::test(start_paused = true)]
async fn failure_of_one_leaves_the_other() {
    for failing in [1, 2] {
        let log = Log::default();
        let service = layer(fixed()).layer(callee(&log, move |attempt| async move {
            if attempt == failing {
                sleep(millis(15)).await;
                return Err("down".into());
            }
            sleep(millis(100)).await;
            Ok(attempt)
        }));
        assert_eq!(service.oneshot(()).await.unwrap(), 3 - failing);
        assert_eq!((log.attempts(), log.cancelled()), (vec![1, 2], 0));
    }
}

/// A call keeps the settings that it began with, and the next call gets the new ones.
#[tokio::test(start_paused = true)]
async fn call_in_flight_keeps_its_settings_in_a_reload() {
    let later = HedgeConfig { delay: HedgeDelay::Fixed(millis(40)), ..fixed() };
    let off = HedgeConfig { enabled: false, ..fixed() };
    let times = |log: &Log| log.times().iter().map(|time| time.as_millis()).collect::<Vec<_>>();
    for (before, after, expected, next) in [
        (fixed(), off.clone(), &[0, 10][..], &[0][..]),
        (off, fixed(), &[0], &[0, 10]),
        (fixed(), later.clone(), &[0, 10], &[0, 40]),
        (later, fixed(), &[0, 40], &[0, 10]),
    ] {
        let (layer, log) = (layer(before), Log::default());
        let call = tokio::spawn(layer.layer(taking(&log, &[80, 80])).oneshot(()));
        sleep(millis(5)).await;
        layer.reload(&after).unwrap();
        assert_eq!((call.await.unwrap().unwrap(), times(&log)), (1, expected.to_vec()));
        let log = Log::default();
        layer.layer(taking(&log, &[80, 80])).oneshot(()).await.unwrap();
        assert_eq!(times(&log), next);
    }
}

/// A hedge needs time that is left.
#[tokio::test(start_paused = true)]
async fn no_hedge_starts_at_the_deadline() {
    for (deadline, attempts) in [(10, 1), (11, 1), (20, 2)] {
        let log = Log::default();
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::new(millis(deadline)).unwrap())
            .layer(layer(fixed()))
            .service(taking(&log, &[]));
        assert!(service.oneshot(()).await.is_err());
        assert_eq!(log.attempts().len(), attempts, "{deadline} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn switched_off_layer_makes_one_attempt() {
    for config in [HedgeConfig { enabled: false, ..fixed() }, HedgeConfig { max_attempts: 1, ..fixed() }] {
        let log = Log::default();
        assert!(layer(config).layer(taking(&log, &[])).oneshot(()).await.is_err());
        assert_eq!(log.attempts(), [1]);
    }
}

/// Losers are abandoned, which is no failure: a breaker further in stays closed.
#[tokio::test(start_paused = true)]
async fn losers_are_no_failures_of_the_dependency() {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
    let handle = breaker.handle();
    let budget = BudgetConfig { ratio: 1.0, ..BudgetConfig::default() };
    let service = ServiceBuilder::new()
        .layer(layer(HedgeConfig { budget, ..fixed() }))
        .layer(breaker)
        .service(taking(&Log::default(), &[20, 5]));
    for _ in 0..200 {
        assert_eq!(service.clone().oneshot(()).await.unwrap(), 2);
    }
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.state, snapshot.failures, snapshot.in_flight), (State::Closed, 0, 0));
}

/// Keeps requests that must not be executed twice.
#[derive(Clone)]
struct Once;

struct KeptOnce;

impl Replay<()> for Once {
    type Attempt = ();
    type Kept = KeptOnce;

    fn first(&self, (): ()) -> ((), KeptOnce) {
        ((), KeptOnce)
    }
}

impl Kept for KeptOnce {
    type Attempt = ();

    fn repeatable(&self, verdict: Verdict) -> bool {
        verdict == Verdict::Unsent
    }

    fn next(&mut self) -> Option<()> {
        Some(())
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_must_not_be_sent_twice_is_not_hedged() {
    let log = Log::default();
    let service = layer(fixed()).with_replay(Once).layer(taking(&log, &[100]));
    assert_eq!((service.oneshot(()).await.unwrap(), log.attempts()), (1, vec![1]));
    let log = Log::default();
    let service = layer(fixed()).with_replay(CloneRequest::idempotent()).layer(taking(&log, &[100]));
    assert_eq!((service.oneshot(()).await.unwrap(), log.attempts()), (1, vec![1, 2]));
}
