//! A load shedder that measures how late its runtime polls ready tasks: with virtual time, in which a handler computes by advancing the
//! clock, and on a runtime with two workers.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use seawall::context::{Priority, with_priority};
use seawall::error::{Reason, rejection};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::registry::{Condition, GateCondition, Registry};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance, sleep_until};
use tower::{BoxError, Layer, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_millis(50);

/// The time that a handler computes.
const WORK: Duration = Duration::from_millis(20);

fn on() -> LoadShedConfig {
    LoadShedConfig { max_in_flight: 100_000, max_lag: Some(BOUND), ..Default::default() }
}

fn off() -> LoadShedConfig {
    LoadShedConfig { max_lag: None, ..on() }
}

fn layer(config: LoadShedConfig) -> LoadShedLayer {
    LoadShedLayer::new(config).unwrap()
}

/// A handler that keeps its thread busy for so long, in virtual time.
async fn compute(work: Duration) -> Result<(), BoxError> {
    advance(work).await;
    Ok(())
}

fn virtual_time() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn condition(registry: &Registry) -> GateCondition {
    let snapshot = registry.snapshot();
    let Condition::LoadShed(gate) = &snapshot.components[0].condition else { panic!("{snapshot:?}") };
    *gate
}

/// The calls of a run: when they were made, how long they took, and the reason if they were refused.
#[derive(Clone, Debug)]
struct Made {
    at: Duration,
    took: Duration,
    refused: Option<Reason>,
    priority: Priority,
}

/// Makes calls in tasks of their own, so many a second; every second one with low priority.
async fn offer(layer: &LoadShedLayer, per_second: u32, seconds: u32) -> Vec<Made> {
    let service = layer.layer(service_fn(compute));
    let (start, made) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let mut tasks = Vec::new();
    for call in 0..per_second * seconds {
        let at = SECOND * call / per_second;
        sleep_until(start + at).await;
        let (service, made) = (service.clone(), Arc::clone(&made));
        let priority = if call % 2 == 0 { Priority::Low } else { Priority::High };
        tasks.push(tokio::spawn(with_priority(priority, async move {
            let refused = service.oneshot(WORK).await.err().map(|error| rejection(&error).unwrap().reason());
            made.lock().unwrap().push(Made { at, took: (start + at).elapsed(), refused, priority });
        })));
    }
    for task in tasks {
        task.await.unwrap();
    }
    made.lock().unwrap().clone()
}

fn refused(made: &[Made]) -> usize {
    made.iter().filter(|call| call.refused.is_some()).count()
}

fn longest(made: &[Made]) -> Duration {
    made.iter().filter(|call| call.refused.is_none()).map(|call| call.took).max().unwrap()
}

/// Without a measure of the lag, the layer sees nothing: no permit is short, no call waits in its queue.
#[test]
fn busy_handlers_make_all_calls_late_without_a_bound_of_the_lag() {
    virtual_time().block_on(async {
        let made = offer(&layer(off()), 100, 20).await;
        assert_eq!(refused(&made), 0);
        assert!(longest(&made) > 15 * SECOND, "{:?}", longest(&made));
    });
}

#[test]
fn bound_of_the_lag_keeps_latency_and_goodput_under_overload() {
    virtual_time().block_on(async {
        let registry = Registry::new();
        let layer = layer(on()).named_in(&registry, "busy").unwrap();
        let made = offer(&layer, 100, 60).await;
        let settled: Vec<_> = made.into_iter().filter(|call| call.at > 10 * SECOND).collect();
        assert!(longest(&settled) < SECOND, "{:?}", longest(&settled));
        assert!(settled.iter().all(|call| call.refused.is_none_or(|reason| reason == Reason::RuntimeLag)));
        // Half of the calls can be served.
        let served = settled.len() - refused(&settled);
        assert!(served > 50 * 50 * 4 / 5, "{served} of {}", settled.len());
        let low = settled.iter().filter(|call| call.refused.is_some() && call.priority == Priority::Low).count();
        assert!(low > refused(&settled) * 3 / 4, "{low} of {}", refused(&settled));
        // With room again, all calls are served.
        offer(&layer, 20, 15).await;
        let gate = condition(&registry);
        assert!(gate.refused_share <= 0.0 && gate.runtime_lag.is_some_and(|lag| lag < BOUND), "{gate:?}");
        assert_eq!(refused(&offer(&layer, 20, 15).await), 0);
    });
}

#[test]
fn refusal_has_its_reason_its_numbers_and_a_retry_after() {
    virtual_time().block_on(async {
        let layer = layer(on());
        offer(&layer, 200, 5).await;
        let service = layer.layer(service_fn(compute));
        let mut error = None;
        while error.is_none() {
            let calls: Vec<_> = (0..10).map(|_| tokio::spawn(service.clone().oneshot(WORK))).collect();
            for call in calls {
                error = error.or(call.await.unwrap().err());
            }
        }
        let error = error.unwrap();
        let rejected = rejection(&error).unwrap();
        assert_eq!((rejected.layer(), rejected.reason().as_str()), ("load_shed", "runtime_lag"));
        assert_eq!((rejected.retry_after(), rejected.numbers().max_lag()), (Some(SECOND), Some(BOUND)));
        assert!(rejected.numbers().lag().is_some() && rejected.numbers().share().is_some_and(|share| share > 0.0));
        let text = rejected.to_string();
        let start = "the runtime is overloaded: ready tasks wait for longer than `max_lag` (layer `load_shed`): lag ";
        assert!(text.starts_with(start) && text.contains(", limit 50.0ms, refusing "), "{text}");
    });
}

#[test]
fn one_pause_refuses_nothing() {
    virtual_time().block_on(async {
        let layer = layer(on());
        for pause in [200 * MS, 10 * SECOND, 86_400 * SECOND] {
            assert_eq!(refused(&offer(&layer, 20, 1).await), 0);
            advance(pause).await;
            assert_eq!(refused(&offer(&layer, 20, 1).await), 0, "{pause:?}");
        }
    });
}

#[test]
fn longest_bound_refuses_nothing() {
    virtual_time().block_on(async {
        let longest = SECOND * 10 * 365 * 24 * 3600;
        let layer = layer(LoadShedConfig { max_lag: Some(longest), ..on() });
        assert_eq!(refused(&offer(&layer, 200, 5).await), 0);
    });
}

#[test]
fn idle_runtime_has_no_lag() {
    virtual_time().block_on(async {
        let registry = Registry::new();
        let layer = layer(on()).named_in(&registry, "idle").unwrap();
        assert_eq!(condition(&registry).runtime_lag, None, "no call, no measure");
        assert_eq!(refused(&offer(&layer, 1, 60).await), 0);
        assert_eq!(condition(&registry).runtime_lag, Some(Duration::ZERO));
    });
}

/// A reload while calls are refused and in flight: off admits all new calls at once, on measures anew.
#[test]
fn reload_switches_refusals_off_and_on() {
    virtual_time().block_on(async {
        let layer = layer(on());
        assert!(refused(&offer(&layer, 200, 5).await) > 0);
        let (switched, start) = (layer.clone(), Instant::now());
        let reloads = tokio::spawn(async move {
            sleep_until(start + 2 * SECOND).await;
            switched.reload(&off()).unwrap();
            sleep_until(start + 4 * SECOND).await;
            switched.reload(&on()).unwrap();
            (start.elapsed(), ())
        });
        let made = offer(&layer, 200, 6).await;
        reloads.await.unwrap();
        assert!(refused(&made) > 0);
        layer.reload(&off()).unwrap();
        assert_eq!(refused(&offer(&layer, 200, 2).await), 0);
        layer.reload(&on()).unwrap();
        assert!(refused(&offer(&layer, 200, 5).await) > 0);
        // Another bound holds at once, too.
        layer.reload(&LoadShedConfig { max_lag: Some(100 * SECOND), ..on() }).unwrap();
        offer(&layer, 20, 15).await;
        assert_eq!(refused(&offer(&layer, 200, 5).await), 0);
    });
}

#[test]
fn each_runtime_has_its_own_lag_and_a_new_one_is_measured_after_a_shutdown() {
    let layer = layer(on());
    let busy = virtual_time();
    assert!(busy.block_on(async { refused(&offer(&layer, 200, 5).await) }) > 0);
    let idle = virtual_time();
    idle.block_on(async { assert_eq!(refused(&offer(&layer, 20, 5).await), 0) });
    drop(busy);
    for _ in 0..3 {
        let fresh = virtual_time();
        fresh.block_on(async {
            assert_eq!(refused(&offer(&layer, 20, 1).await), 0);
            assert!(refused(&offer(&layer, 200, 5).await) > 0);
        });
    }
    idle.block_on(async { assert_eq!(refused(&offer(&layer, 20, 5).await), 0) });
}

#[test]
fn call_outside_of_a_runtime_passes() {
    let service = layer(on()).layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    futures::executor::block_on(service.oneshot(())).unwrap();
}

#[test]
fn runtime_with_a_probe_shuts_down() {
    let layer = layer(on());
    for workers in [1, 2] {
        let runtime = Builder::new_multi_thread().worker_threads(workers).enable_time().build().unwrap();
        let service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
        runtime.block_on(runtime.spawn(service.oneshot(()))).unwrap().unwrap();
        drop(runtime);
    }
}

/// A handler that keeps its worker busy.
async fn spin(work: Duration) -> Result<(), BoxError> {
    let start = std::time::Instant::now();
    while start.elapsed() < work {
        std::hint::spin_loop();
    }
    Ok(())
}

/// The latencies of the calls that were answered in the second half of a run on two workers, of which each call keeps one busy for `WORK`.
fn on_two_workers(config: LoadShedConfig, per_second: u32, seconds: u32) -> Vec<Duration> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let service = layer(config).layer(service_fn(spin));
    let (start, half) = (std::time::Instant::now(), SECOND * seconds / 2);
    let answered = Arc::new(Mutex::new(Vec::new()));
    for call in 0..per_second * seconds {
        let at = SECOND * call / per_second;
        thread::sleep(at.saturating_sub(start.elapsed()));
        let (call, answered) = (service.clone().oneshot(WORK), Arc::clone(&answered));
        drop(runtime.spawn(async move {
            if call.await.is_ok() && at > half {
                answered.lock().unwrap().push(start.elapsed() - at);
            }
        }));
    }
    // All calls that are still in the queue are answered too.
    while runtime.metrics().num_alive_tasks() > 1 {
        thread::sleep(10 * MS);
    }
    let mut answered = answered.lock().unwrap().clone();
    answered.sort();
    answered
}

/// The same machine, the same load, with and without the bound: only the ratios are compared.
#[test]
fn two_workers_with_more_calls_than_they_can_serve_stay_quick() {
    let (without, with) = (on_two_workers(off(), 300, 8), on_two_workers(on(), 300, 8));
    let median = |latencies: &[Duration]| latencies[latencies.len() / 2];
    let soon = |latencies: &[Duration]| latencies.iter().filter(|latency| **latency < SECOND).count();
    assert!(median(&with) * 4 < median(&without), "{:?}, without {:?}", median(&with), median(&without));
    assert!(soon(&with) > 2 * soon(&without), "{} in a second, without {}", soon(&with), soon(&without));
}
