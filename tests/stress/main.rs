//! Real servers and clients with many concurrent callers, while calls are cancelled, connections are reset, settings
//! are reloaded and metrics are scraped. Calls must keep completing, and at the end nothing must be left.
//!
//! Runs for a few seconds per protocol, or for `SEAWALL_STRESS_SECONDS`. `SEAWALL_STRESS_SEED` repeats the random
//! choices of a run, but not its timing.
#![cfg(feature = "grpc")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod clock;
mod counted;
mod endpoints;
mod grpc;
mod http;
mod layers;
mod payload;
mod progress;
mod proxy;
mod server;
mod setup;

use std::future::poll_fn;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use seawall::registry::{Condition, Registry};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::clock::WORKERS;
use crate::progress::{Done, End, Progress};
use crate::setup::{Call, Protocol, Setup, Stacks};

const CALLERS: usize = 48;

/// At the end, everything must be released within this time.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// Clients without layers may lose one call in so many (see `setup::PATIENCE`), and one more.
const CALLS_PER_LOST: u64 = 100_000;

/// How many tasks the library may keep running while a runtime lives, however many calls there are.
const MAX_OWN_TASKS: usize = 4;

/// More threads than cores, so that workers are preempted at any point.
fn workers() -> usize {
    2 * thread::available_parallelism().map_or(2, usize::from).max(2)
}

#[test]
fn http1_calls_complete_and_leave_nothing() {
    stress(Protocol::Http1);
}

#[test]
fn http2_calls_complete_and_leave_nothing() {
    stress(Protocol::Http2);
}

#[test]
fn grpc_calls_complete_and_leave_nothing() {
    stress(Protocol::Grpc);
}

fn stress(protocol: Protocol) {
    // One test after another, so that each has the machine to itself.
    static SERIAL: Mutex<()> = Mutex::new(());
    let _serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect(name));
    let seconds = number("SEAWALL_STRESS_SECONDS").unwrap_or(8);
    let seed = number("SEAWALL_STRESS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let name = protocol.name();
    print_uncaptured(&format!("stress {name}: {seconds} s, SEAWALL_STRESS_SEED={seed}"));

    // A panic must not drop the runtime: that would wait for workers that hang.
    let runtime =
        Builder::new_multi_thread().worker_threads(workers()).thread_name(WORKERS).enable_all().build().unwrap();
    let runtime = ManuallyDrop::new(runtime);
    // Tasks that the library itself keeps in a runtime exist after the first calls, and are no leak.
    let warm_up = run(protocol, Stacks::WARM_UP, 1, seed, &runtime, Duration::from_millis(300), MAX_OWN_TASKS);
    let own_tasks = warm_up.tasks;
    assert_eq!(
        (warm_up.leaked, own_tasks.max(MAX_OWN_TASKS)),
        (vec![], MAX_OWN_TASKS),
        "{name}: left after a few calls"
    );
    let mut outcome = run(protocol, &Stacks::ALL, CALLERS, seed, &runtime, Duration::from_secs(seconds), own_tasks);
    outcome.leaked.extend((outcome.tasks > own_tasks).then(|| ("tasks".to_owned(), outcome.tasks - own_tasks)));
    print!("{}", outcome.progress.report());
    print_uncaptured(&format!("figure stress.{name}.calls {}", outcome.done.calls));
    print_uncaptured(&format!("figure stress.{name}.leaked {}", outcome.leaked.iter().map(|(_, n)| n).sum::<usize>()));
    print_uncaptured(&format!("figure stress.{name}.longest_pause_ms {}", outcome.done.longest_pause.as_millis()));
    let Done { calls, lost, .. } = outcome.done;
    print_uncaptured(&format!("figure stress.{name}.lost_by_bare_clients {lost}"));
    assert!(lost <= 1 + calls / CALLS_PER_LOST, "{name}, seed {seed}: {lost} of {calls} calls never ended");
    assert_eq!(outcome.leaked, [], "{name}, seed {seed}: not released within {GIVEN_BACK:?}");
    ManuallyDrop::into_inner(runtime).shutdown_background();
}

/// What a run did, and what is left of it.
struct Outcome {
    progress: Arc<Progress>,
    done: Done,
    leaked: Vec<(String, usize)>,
    /// The number of tasks that are alive in the runtime.
    tasks: usize,
}

/// Runs calls through all these stacks for some time, and then ends clients and servers.
///
/// # Panics
/// If anything hangs.
fn run(
    protocol: Protocol,
    stacks: &[Stacks],
    callers: usize,
    seed: u64,
    runtime: &Runtime,
    time: Duration,
    own_tasks: usize,
) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let registry = Registry::new();
    let mut setups = Vec::new();
    for stacks in stacks {
        setups.push(runtime.block_on(Setup::new(protocol, *stacks, &registry, &mut rng)));
    }
    let kinds = protocol.kinds();
    let lane = |stacks: &Stacks| kinds.iter().map(|kind| format!("{kind}, {stacks}")).collect::<Vec<_>>();
    let lanes = stacks.iter().flat_map(lane).collect();
    let title = format!("{}, SEAWALL_STRESS_SEED={seed}", protocol.name());
    let progress = Arc::new(Progress::new(title, lanes, kinds.len(), callers));
    let calls: Arc<[Call]> = setups.iter().map(Setup::call).collect();
    for number in 0..callers {
        runtime.spawn(caller(Arc::clone(&progress), number, Arc::clone(&calls), kinds.len(), rng.fork()));
    }
    drop(calls);
    // Everything that might hang runs on another thread than the watchdog.
    let (tell, told) = channel();
    let (operated, metrics) = (Arc::clone(&progress), runtime.metrics());
    thread::spawn(move || {
        operate(&setups, &registry, &operated);
        setups.iter_mut().for_each(Setup::shut_down);
        let (deadline, mut before) = (Instant::now() + GIVEN_BACK, usize::MAX);
        loop {
            let leaked: Vec<_> = setups.iter().flat_map(Setup::leaks).chain(seen_by(&registry)).collect();
            let tasks = metrics.num_alive_tasks();
            // The library's own tasks are counted after all others have ended.
            let settled = tasks <= own_tasks && std::mem::replace(&mut before, tasks) == tasks;
            if (leaked.is_empty() && settled) || Instant::now() > deadline {
                let _ = tell.send((leaked, tasks));
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
    let done = progress.watch(time);
    let left = told.recv_timeout(2 * GIVEN_BACK);
    let (leaked, tasks) = left.unwrap_or_else(|_| panic!("{}: the check for leaks hangs", protocol.name()));
    Outcome { progress, done, leaked, tasks }
}

/// Makes one call after another until it is told to stop. Most callers use one setup at a time: on one connection,
/// where they contend.
async fn caller(progress: Arc<Progress>, number: usize, calls: Arc<[Call]>, kinds: usize, mut rng: Rng) {
    while !progress.is_stopped() {
        let setup = if rng.u8(..8) == 0 { rng.usize(..calls.len()) } else { progress.turn() % calls.len() };
        let (kind, call) = (rng.usize(..kinds), &calls[setup]);
        let lane = setup * kinds + kind;
        progress.begin(number, lane);
        let call = call(kind, rng.fork());
        let end = match rng.u8(..16) {
            0 => polled(call, rng.u32(1..16)).await,
            1 => timeout(Duration::from_millis(rng.u64(..8)), call).await.ok(),
            _ => Some(call.await),
        };
        let end = end.map_or(End::GivenUp, |end| end.unwrap_or(End::Failed));
        progress.end(number, lane, &end);
        if matches!(end, End::Failed) {
            // Refusals are quick; without a pause most calls would be refusals.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Drops `future` after this many polls.
async fn polled<F: Future>(future: F, times: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            left -= 1;
            if left == 0 { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// Reloads all settings and scrapes once a second.
fn operate(setups: &[Setup], registry: &Registry, progress: &Progress) {
    for round in 1.. {
        progress.operated();
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next {
            if progress.is_stopped() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        setups.iter().for_each(|setup| setup.reload(round));
        let _ = registry.snapshot();
        registry.publish();
        let _ = exporter().render();
    }
}

fn exporter() -> &'static PrometheusHandle {
    static EXPORTER: OnceLock<PrometheusHandle> = OnceLock::new();
    EXPORTER
        .get_or_init(|| PrometheusBuilder::new().set_buckets(&[0.01, 0.1, 1.0]).unwrap().install_recorder().unwrap())
}

/// What named layers still hold, according to the registry.
fn seen_by(registry: &Registry) -> Vec<(String, usize)> {
    let held = |component: seawall::registry::ComponentSnapshot| {
        let n = match component.condition {
            Condition::Bulkhead(gate) | Condition::LoadShed(gate) => gate.in_flight + gate.waiting,
            Condition::CircuitBreaker(breaker) => breaker.in_flight,
            Condition::Balance(balance) => balance.in_flight + balance.waiting,
            _ => 0,
        };
        (n > 0).then(|| (format!("{}, {} in the registry", component.name, component.layer), n as usize))
    };
    registry.snapshot().components.into_iter().filter_map(held).collect()
}

/// Bypasses the capture of the test harness, which hides the output of a passing test.
fn print_uncaptured(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
