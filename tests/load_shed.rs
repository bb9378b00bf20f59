//! The load shed layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use seawall::context::{Priority, with_priority};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::task::LocalSet;
use tokio::time::{Instant, advance, sleep, sleep_until};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);

/// The mean service time; the service runs ten calls at once.
const SERVICE: Duration = Duration::from_millis(100);
const SLOTS: u32 = 10;

fn layer(max_in_flight: u32) -> LoadShedLayer {
    LoadShedLayer::new(LoadShedConfig { max_in_flight, ..Default::default() }).unwrap()
}

fn reason<T>(answer: Result<T, BoxError>) -> Option<Reason> {
    rejection(&answer.err()?).map(|rejected| rejected.reason())
}

/// The outcome of each call of a run, by arrival time.
struct Calls(Vec<(Duration, Option<Duration>)>);

impl Calls {
    fn good(&self, from: u32, to: u32) -> f64 {
        let from_to = Duration::from_secs(from.into())..Duration::from_secs(to.into());
        let calls: Vec<_> = self.0.iter().filter(|(at, _)| from_to.contains(at)).collect();
        calls.iter().filter(|(_, took)| took.is_some()).count() as f64 / calls.len() as f64
    }

    fn p99(&self) -> Duration {
        let mut took: Vec<_> = self.0.iter().filter_map(|(_, took)| *took).collect();
        took.sort();
        took[took.len() * 99 / 100]
    }
}

/// An open loop of calls at `load` times the capacity of the service, each with a deadline. Service times and gaps
/// between calls are exponential. `slowdown` is the factor by which the service is slower at a given time.
async fn run(
    load: f64,
    seconds: u32,
    deadline: Duration,
    slowdown: impl Fn(Duration) -> f64 + Copy + 'static,
) -> Calls {
    let mut random = fastrand::Rng::with_seed(42);
    let mut exponential = move || -(1.0 - random.f64()).ln();
    let start = Instant::now();
    let service = service_fn(move |work: f64| {
        let took = SERVICE.mul_f64(work * slowdown(start.elapsed()));
        async move {
            sleep(took).await;
            Ok::<_, BoxError>(())
        }
    });
    let service = DeadlineLayer::new(deadline).unwrap().layer(layer(SLOTS).layer(service));
    let calls = Rc::new(RefCell::new(Vec::new()));
    let local = LocalSet::new();
    local
        .run_until(async {
            let mut at = Duration::ZERO;
            while at < Duration::from_secs(seconds.into()) {
                sleep_until(start + at).await;
                let (call, calls) = (service.clone().oneshot(exponential()), Rc::clone(&calls));
                let intended = start + at;
                tokio::task::spawn_local(async move {
                    let good = call.await.is_ok();
                    calls.borrow_mut().push((at, good.then(|| intended.elapsed())));
                });
                at += SERVICE.mul_f64(exponential() / (load * f64::from(SLOTS)));
            }
            sleep(deadline).await;
        })
        .await;
    Calls(calls.take())
}

#[tokio::test(start_paused = true)]
async fn load_below_capacity_is_hardly_refused() {
    let calls = run(0.5, 60, 25 * SERVICE, |_| 1.0).await;
    assert!(calls.good(0, 60) > 0.999, "{}", calls.good(0, 60));
    let calls = run(0.9, 120, 25 * SERVICE, |_| 1.0).await;
    assert!(calls.good(0, 120) > 0.985, "{}", calls.good(0, 120));
}

#[tokio::test(start_paused = true)]
async fn overload_keeps_goodput_and_latency() {
    for load in [1.2, 2.0, 10.0] {
        let calls = run(load, 60, 25 * SERVICE, |_| 1.0).await;
        let goodput = calls.good(5, 60) * load;
        assert!(goodput > 0.96, "at {load} times the capacity: goodput {goodput}");
        assert!(calls.p99() < 10 * SERVICE, "at {load} times the capacity: {:?}", calls.p99());
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_can_meet_a_short_deadline_are_served() {
    // Half of all calls take longer than their deadline allows. Only the other half can succeed.
    let calls = run(2.0, 60, SERVICE.mul_f64(0.7), |_| 1.0).await;
    let goodput = calls.good(5, 60) * 2.0;
    assert!(goodput > 0.6, "{goodput}");
}

#[tokio::test(start_paused = true)]
async fn shedder_recovers_at_once_after_a_slow_spell() {
    let slow = |now: Duration| if (20..30).contains(&now.as_secs()) { 5.0 } else { 1.0 };
    let calls = run(0.7, 60, 10 * SERVICE, slow).await;
    assert!(calls.good(22, 30) < 0.5, "few calls succeed in the slow spell: {}", calls.good(22, 30));
    assert!(calls.good(32, 60) > 0.98, "{}", calls.good(32, 60));
}

#[tokio::test(start_paused = true)]
async fn shedder_recovers_after_refusing_everything() {
    // No call can be served in time. The only evidence is calls that are cut.
    let slow = |now: Duration| if now.as_secs() < 20 { 100.0 } else { 1.0 };
    let calls = run(0.5, 40, 4 * SERVICE, slow).await;
    assert!(calls.good(1, 20) < 0.1, "{}", calls.good(1, 20));
    assert!(calls.good(22, 40) > 0.9, "{}", calls.good(22, 40));
}

#[tokio::test(start_paused = true)]
async fn short_queue_serves_critical_calls_first() {
    let layer = layer(2);
    let handle = layer.handle();
    let service = layer.layer(service_fn(|()| async {
        sleep(SERVICE).await;
        Ok::<_, BoxError>(Instant::now())
    }));
    let start = Instant::now();
    let mut calls: Vec<_> = (0..11).map(|_| Box::pin(service.clone().oneshot(()))).collect();
    for call in &mut calls {
        assert!(futures::poll!(call).is_pending());
    }
    assert_eq!((handle.in_flight(), handle.waiting()), (2, 9));
    assert_eq!(reason(service.clone().oneshot(()).await), Some(Reason::QueueFull));
    let vip = with_priority(Priority::Critical, service.oneshot(()));
    let (ended, _) = tokio::join!(vip, futures::future::join_all(calls));
    assert_eq!((ended.unwrap() - start).as_millis(), 200, "it took the first permit that was released");
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_without_enough_time_is_refused_before_work() {
    let service = layer(2).layer(service_fn(|sleeps: u32| async move {
        sleep(sleeps * MS).await;
        Ok::<_, BoxError>(())
    }));
    for _ in 0..20 {
        service.clone().oneshot(100).await.unwrap();
    }
    // Another call is in flight, so the call with too little time is not needed as evidence.
    let _other = tokio::spawn(service.clone().oneshot(100));
    tokio::task::yield_now().await;
    let hurried = DeadlineLayer::new(50 * MS).unwrap().layer(service);
    let start = Instant::now();
    assert_eq!(reason(hurried.oneshot(1).await), Some(Reason::NotInTime));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn hanging_service_is_cut_and_its_permit_released() {
    let layer = layer(1);
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    let answer = service.ready().await.unwrap().call(()).await;
    assert_eq!(reason(answer), Some(Reason::HoldExceeded));
    assert_eq!((start.elapsed(), handle.in_flight()), (Duration::from_secs(60), 0));
}

#[test]
fn every_fault_of_a_config_is_reported_at_once() {
    let config = LoadShedConfig {
        max_in_flight: 0,
        queue_ratio: f64::NAN,
        max_wait: Duration::ZERO,
        max_hold: Duration::MAX,
        max_keys: 0,
        ..Default::default()
    };
    let error = LoadShedLayer::new(config).unwrap_err();
    let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(paths, ["max_in_flight", "queue_ratio", "max_wait", "max_hold", "max_keys"]);
}

/// Callers poll their calls; a call that was never polled has not begun.
#[tokio::test(start_paused = true)]
async fn unpolled_call_is_no_sample() {
    let mut service = layer(4).layer(service_fn(|()| async {
        sleep(10 * MS).await;
        Ok::<_, BoxError>(())
    }));
    let parked = service.ready().await.unwrap().call(());
    advance(Duration::from_secs(3600)).await;
    drop(parked);
    let _running = tokio::spawn(service.clone().oneshot(()));
    tokio::task::yield_now().await;
    let hurried = DeadlineLayer::new(Duration::from_secs(1)).unwrap().layer(service);
    assert_eq!(reason(hurried.oneshot(()).await), None, "the hour without a poll is no service time");
}
