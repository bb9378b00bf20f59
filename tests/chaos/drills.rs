//! Shares, selection, the cap, the end, and reloads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use http::Request;
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule, Delay, Injected, Matching};
use seawall::error::{Reason, rejection};
use seawall::fallback::{self, FallbackConfig, FallbackLayer};
use seawall::registry::{Condition, Registry};
use seawall::retry::{BudgetConfig, RetryConfig, RetryLayer};
use tokio::time::{Instant, advance, sleep};
use tokio_test::task::spawn;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::{MS, always, delay};

/// A service that answers at once.
fn echo() -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone {
    service_fn(|n: u32| async move { Ok(n) })
}

const REFUSE: ChaosFault = ChaosFault::Refuse { retry_after: None };

async fn is_refused(layer: &ChaosLayer) -> bool {
    match layer.layer(echo()).oneshot(7).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::Injected));
            true
        }
    }
}

#[tokio::test(start_paused = true)]
async fn seeded_runs_repeat() {
    let rules = vec![ChaosRule { share: 0.3, ..ChaosRule::new(REFUSE) }];
    let layer = ChaosLayer::new(ChaosConfig { rules, ..always(REFUSE) }).unwrap();
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        seawall::seed(seed);
        let mut run = Vec::new();
        for _ in 0..1000 {
            run.push(is_refused(&layer).await);
        }
        let hits = run.iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&hits), "{hits} of a share of 0.3");
        runs.push(run);
    }
    assert!(runs[0] == runs[1] && runs[0] != runs[2]);
}

#[tokio::test(start_paused = true)]
async fn seeded_delays_repeat_and_vary() {
    let median_and_p99 = Delay::LogNormal { median: 100 * MS, p99: 1000 * MS };
    let layer = ChaosLayer::new(always(ChaosFault::Latency(median_and_p99))).unwrap();
    let mut runs = Vec::new();
    for _ in 0..2 {
        seawall::seed(7);
        let mut run = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            layer.layer(echo()).oneshot(7).await.unwrap();
            run.push(start.elapsed());
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    let below = runs[0].iter().filter(|delay| **delay < 100 * MS).count();
    assert!((80..120).contains(&below), "{below} of 200 are below the median");
}

#[tokio::test(start_paused = true)]
async fn first_rule_that_hits_decides() {
    let rules = vec![
        ChaosRule { share: 0.0, ..ChaosRule::new(ChaosFault::Hang) },
        ChaosRule::new(ChaosFault::Drop),
        ChaosRule::new(REFUSE),
    ];
    let layer = ChaosLayer::new(ChaosConfig { rules, ..always(REFUSE) }).unwrap();
    let error = layer.layer(echo()).oneshot(7).await.unwrap_err();
    assert_eq!(Injected::find(&error).map(Injected::fault), Some("drop"));
}

#[tokio::test(start_paused = true)]
async fn any_service_has_faults_but_those_of_bodies() {
    for fault in crate::all() {
        let layer = ChaosLayer::new(always(fault)).unwrap();
        let start = Instant::now();
        let result = layer.layer(echo()).oneshot(7).await;
        match fault {
            _ if fault.affects_body() => assert_eq!(result.unwrap(), 7),
            ChaosFault::Latency(_) => assert!(start.elapsed() >= 500 * MS && result.is_ok()),
            ChaosFault::Refuse { .. } | ChaosFault::Hang => assert!(rejection(&result.unwrap_err()).is_some()),
            _ => assert_eq!(Injected::find(&result.unwrap_err()).map(Injected::fault), Some(fault.as_str())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn selected_requests_get_the_fault() {
    let rule = |matching: Matching| ChaosConfig {
        rules: vec![ChaosRule { matching, ..ChaosRule::new(REFUSE) }],
        ..always(REFUSE)
    };
    let of = async |config: ChaosConfig, method: &str, path: &str, drill: &str| {
        let inner = service_fn(|_: Request<String>| async {
            Ok::<_, BoxError>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
        });
        let request = Request::builder().method(method).uri(path).header("x-drill", drill).body(String::new()).unwrap();
        ChaosLayer::http(config).unwrap().layer(inner).oneshot(request).await.is_err()
    };
    let method = Matching { method: "PUT".into(), ..Matching::default() };
    assert!(of(rule(method.clone()), "PUT", "/", "").await && !of(rule(method), "GET", "/", "").await);
    let path = Matching { path_prefix: "/orders/".into(), ..Matching::default() };
    assert!(of(rule(path.clone()), "GET", "/orders/7", "").await && !of(rule(path), "GET", "/order", "").await);
    let headers = BTreeMap::from([("x-drill".to_owned(), "yes".to_owned())]);
    let header = Matching { headers, ..Matching::default() };
    assert!(of(rule(header.clone()), "GET", "/", "yes").await && !of(rule(header.clone()), "GET", "/", "no").await);
    let all = Matching { method: "PUT".into(), ..header };
    assert!(of(rule(all.clone()), "PUT", "/", "yes").await && !of(rule(all.clone()), "GET", "/", "yes").await);
    // A request of another type has no method, and a closure selects it.
    let layer = ChaosLayer::new(rule(all)).unwrap();
    assert!(!is_refused(&layer).await);
    let odd = ChaosLayer::new(always(REFUSE)).unwrap().only(|n: &u32| n % 2 == 1);
    assert!(odd.layer(echo()).oneshot(7).await.is_err() && odd.layer(echo()).oneshot(8).await.is_ok());
}

/// 200 calls at once: ten are delayed, the others pass.
#[tokio::test(start_paused = true)]
async fn cap_holds_under_concurrent_calls() {
    let registry = Registry::new();
    let layer = ChaosLayer::new(always(delay(1000 * MS))).unwrap().named_in(&registry, "drill").unwrap();
    let handle = layer.handle();
    let mut calls: Vec<_> = (0..200).map(|n| spawn(layer.layer(echo()).oneshot(n))).collect();
    let passed = calls.iter_mut().filter_map(|call| call.poll().is_ready().then_some(())).count();
    assert_eq!((passed, handle.active()), (190, 10));
    let Condition::Chaos(condition) = &registry.snapshot().components[0].condition else { panic!("chaos") };
    assert_eq!((condition.is_on, condition.active, condition.max_active), (true, 10, 10));
    assert_eq!((condition.injected["latency"], condition.spared), (10, 190));
    drop(calls);
    assert_eq!(handle.active(), 0);
}

/// The same on several threads, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cap_holds_on_several_threads() {
    let layer = ChaosLayer::new(always(delay(5 * MS))).unwrap();
    let handle = layer.handle();
    let most = Arc::new(AtomicU32::new(0));
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let (service, handle, most) = (layer.layer(echo()), handle.clone(), Arc::clone(&most));
            tokio::spawn(async move {
                for _ in 0..5 {
                    let answer = service.clone().oneshot(n);
                    most.fetch_max(handle.active(), Ordering::SeqCst);
                    answer.await.unwrap();
                    most.fetch_max(handle.active(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!((1..=10).contains(&most.load(Ordering::SeqCst)));
    assert_eq!(handle.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn faults_end_by_themselves() {
    let config = ChaosConfig { lasts: Some(10_000 * MS), ..always(REFUSE) };
    let layer = ChaosLayer::new(config.clone()).unwrap();
    let handle = layer.handle();
    let mut kept = layer.layer(echo());
    for is_on in [true, true, false, false] {
        assert_eq!((is_refused(&layer).await, handle.is_on()), (is_on, is_on));
        assert_eq!(kept.ready().await.unwrap().call(7).await.is_err(), is_on);
        advance(5000 * MS).await;
    }
    // A reload that changes something begins a new time, also for a service that has seen the end.
    layer.reload(&ChaosConfig { max_active: 11, ..config }).unwrap();
    assert!(is_refused(&layer).await && kept.ready().await.unwrap().call(7).await.is_err());
}

/// A loader reloads all layers when anything in the file has changed.
#[tokio::test(start_paused = true)]
async fn reload_that_changes_nothing_keeps_the_end() {
    let config = ChaosConfig { lasts: Some(10_000 * MS), ..always(REFUSE) };
    let layer = ChaosLayer::new(config.clone()).unwrap();
    for is_on in [true, true, false, false] {
        assert_eq!(is_refused(&layer).await, is_on);
        advance(5000 * MS).await;
        layer.reload(&config).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn faults_end_at_an_instant_of_the_calendar() {
    let hour = Duration::from_secs(3600);
    let until = |until| ChaosConfig { until: Some(SystemTime::into(until)), lasts: None, ..always(REFUSE) };
    let over = ChaosLayer::new(until(SystemTime::UNIX_EPOCH)).unwrap();
    assert!(!is_refused(&over).await && !over.handle().is_on());
    let layer = ChaosLayer::new(until(SystemTime::now() + hour)).unwrap();
    assert!(is_refused(&layer).await);
    advance(hour + Duration::from_secs(1)).await;
    assert!(!is_refused(&layer).await);
}

/// While a machine is suspended, the calendar goes on and the monotonic clock stands still, as paused time does here.
#[tokio::test(start_paused = true)]
async fn faults_end_by_the_calendar_after_a_suspension() {
    let end = SystemTime::now() + 50 * MS;
    let layer = ChaosLayer::new(ChaosConfig { until: Some(end.into()), lasts: None, ..always(REFUSE) }).unwrap();
    while SystemTime::now() < end {
        std::thread::yield_now();
    }
    assert!(!is_refused(&layer).await && !layer.handle().is_on());
}

#[tokio::test(start_paused = true)]
async fn reload_keeps_the_faults_in_progress() {
    let layer = ChaosLayer::new(always(delay(1000 * MS))).unwrap();
    let handle = layer.handle();
    let mut service = layer.layer(echo());
    let start = Instant::now();
    let mut delayed = spawn(service.ready().await.unwrap().call(7));
    assert!(delayed.poll().is_pending());
    let off = ChaosConfig { enabled: false, ..layer.config() };
    layer.reload(&off).unwrap();
    assert!(layer.reload(&ChaosConfig { max_active: 0, ..off }).is_err());
    assert_eq!((handle.active(), handle.is_on()), (1, false));
    assert_eq!(service.ready().await.unwrap().call(8).await.unwrap(), 8, "a new call gets no fault");
    assert_eq!(start.elapsed(), Duration::ZERO);
    // A lower cap counts what is in progress.
    layer.reload(&ChaosConfig { max_active: 1, ..always(REFUSE) }).unwrap();
    assert!(!is_refused(&layer).await);
    sleep(1000 * MS).await;
    assert!(delayed.is_woken());
    assert!(matches!(delayed.poll(), std::task::Poll::Ready(Ok(7))));
    assert_eq!((handle.active(), start.elapsed()), (0, 1000 * MS));
    assert!(is_refused(&layer).await);
}

/// What the retry and the fallback absorb is injected and not seen by the caller.
#[tokio::test(start_paused = true)]
async fn injected_faults_are_absorbed_by_the_layers_around() {
    seawall::seed(7);
    let registry = Registry::new();
    let rules = vec![ChaosRule { share: 0.5, ..ChaosRule::new(ChaosFault::Status { status: 503, retry_after: None }) }];
    let chaos = ChaosLayer::new(ChaosConfig { rules, ..always(REFUSE) }).unwrap().named_in(&registry, "books").unwrap();
    let budget = BudgetConfig { ratio: 1.0, reserve_burst: 1000, ..BudgetConfig::default() };
    let retry = RetryConfig { max_attempts: 2, budget, ..RetryConfig::default() };
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(FallbackConfig::default(), fallback::value(0)).unwrap())
        .layer(RetryLayer::new(retry).unwrap().with_replay(seawall::retry::CloneRequest::idempotent()))
        .layer(chaos)
        .service(echo());
    let mut fallbacks = 0;
    for _ in 0..100 {
        fallbacks += u32::from(service.clone().oneshot(7).await.unwrap() == 0);
    }
    let Condition::Chaos(condition) = &registry.snapshot().components[0].condition else { panic!("chaos") };
    let injected = condition.injected["status"];
    assert!(injected > 50 && (10..50).contains(&fallbacks), "{injected} injected, {fallbacks} fallbacks");
}
