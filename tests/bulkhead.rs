//! The bulkhead layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::pending;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::{FutureExt, join_all};
use futures::poll;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, Order};
use seawall::context::{Priority, with_priority};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, Rejected, rejection};
use seawall::verdict::{Classify, Guard, Verdict};
use tokio::time::{Instant, advance, sleep};
use tower::limit::ConcurrencyLimitLayer;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn config(max_concurrent: u32) -> BulkheadConfig {
    BulkheadConfig { max_concurrent, ..Default::default() }
}

fn layer(max_concurrent: u32) -> BulkheadLayer {
    BulkheadLayer::new(config(max_concurrent)).unwrap()
}

/// Sleeps as many milliseconds as the request says.
fn sleeper()
-> tower::util::ServiceFn<impl FnMut(u32) -> futures::future::BoxFuture<'static, Result<u32, BoxError>> + Clone> {
    service_fn(|ms: u32| {
        async move {
            sleep(ms * MS).await;
            Ok(ms)
        }
        .boxed()
    })
}

fn rejected<T>(answer: Result<T, BoxError>) -> Option<Rejected> {
    rejection(&answer.err()?).cloned()
}

fn reason<T>(answer: Result<T, BoxError>) -> Option<Reason> {
    rejected(answer).map(|rejected| rejected.reason())
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait() {
    let layer = layer(2);
    let handle = layer.handle();
    let running = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&running);
    let service = layer.layer(service_fn(move |()| {
        let running = Arc::clone(&counted);
        async move {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
            sleep(SECOND).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, BoxError>(())
        }
    }));
    let start = Instant::now();
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
    tokio::task::yield_now().await;
    assert_eq!((handle.in_flight(), handle.waiting()), (2, 3));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((start.elapsed(), handle.in_flight(), handle.waiting()), (3 * SECOND, 0, 0));
}

/// tower's `LoadShed<ConcurrencyLimit>` refuses everything while nothing is in flight, because readied clones hold
/// permits.
#[tokio::test(start_paused = true)]
async fn idle_readied_clones_hold_no_permit() {
    let service = layer(1).layer(sleeper());
    let mut idle: Vec<_> = (0..1000).map(|_| service.clone()).collect();
    for clone in &mut idle {
        clone.ready().await.unwrap();
    }
    assert_eq!(service.oneshot(1).now_or_never().map(|_| ()), None, "it runs");
    for clone in &mut idle[..3] {
        assert_eq!(clone.call(1).await.unwrap(), 1);
    }
}

/// By default tower-resilience's bulkhead waits without a bound: 10,000 of 10,000 callers were parked.
#[tokio::test(start_paused = true)]
async fn default_queue_and_wait_are_bounded() {
    let layer = layer(1);
    let handle = layer.handle();
    let service = layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    let calls: Vec<_> = (0..10_000).map(|_| tokio::spawn(service.clone().oneshot(()))).collect();
    sleep(MS).await;
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 1024));
    let mut reasons = std::collections::HashMap::new();
    for call in calls {
        *reasons.entry(reason(call.await.unwrap()).unwrap()).or_insert(0) += 1;
    }
    let expected = [(Reason::QueueFull, 8975), (Reason::QueueTimeout, 1024), (Reason::HoldExceeded, 1)];
    assert_eq!(reasons, expected.into());
    assert_eq!(start.elapsed(), 60 * SECOND);
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

/// tower-resilience's outlier layer spins while it waits: 463,754 polls in 200 ms.
#[tokio::test(start_paused = true)]
async fn queued_call_is_woken_only_with_its_outcome() {
    let service = layer(1).layer(sleeper());
    let _running = tokio::spawn(service.clone().oneshot(5000));
    tokio::task::yield_now().await;
    let mut polls = 0;
    let mut call = Box::pin(service.oneshot(1));
    let answer = std::future::poll_fn(|cx| {
        polls += 1;
        call.as_mut().poll(cx)
    });
    assert_eq!(answer.await.unwrap(), 1);
    assert!(polls <= 4, "{polls}");
}

/// Netflix' limiter exceeds its limit under a race; its own test tolerates five calls too many.
#[test]
fn concurrent_admissions_stay_within_the_limit() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let layer = BulkheadLayer::new(BulkheadConfig { max_waiting: 64, max_wait: Duration::from_secs(600), ..config(3) })
        .unwrap();
    let (handle, running) = (layer.handle(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&running);
    let service = layer.layer(service_fn(move |()| {
        let running = Arc::clone(&counted);
        async move {
            assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, std::convert::Infallible>(())
        }
    }));
    runtime.block_on(async {
        let tasks = (0..8).map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                for _ in 0..2000 {
                    service.clone().oneshot(()).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
    assert_eq!((handle.in_flight(), handle.waiting(), running.load(Ordering::SeqCst)), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_dropped_at_any_poll_releases_everything() {
    for polls in 0..8 {
        for busy in [false, true] {
            let layer = layer(1);
            let handle = layer.handle();
            let service = layer.layer(service_fn(|()| async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                Ok::<_, BoxError>(())
            }));
            let company = busy.then(|| tokio::spawn(service.clone().oneshot(())));
            tokio::task::yield_now().await;
            let mut call = Box::pin(service.clone().oneshot(()));
            for _ in 0..polls {
                if poll!(&mut call).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(call);
            if let Some(company) = company {
                company.await.unwrap().unwrap();
            }
            assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "after {polls} polls, busy: {busy}");
            service.oneshot(()).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_callee_releases_the_permit() {
    let layer = layer(1);
    let handle = layer.handle();
    let in_call = layer.layer(service_fn(|()| -> std::future::Ready<Result<(), BoxError>> { panic!("in call") }));
    let in_poll = layer.layer(service_fn(|()| async { panic!("in poll") as Result<(), BoxError> }));
    assert!(AssertUnwindSafe(in_call.oneshot(())).catch_unwind().await.is_err());
    assert!(AssertUnwindSafe(in_poll.oneshot(())).catch_unwind().await.is_err());
    assert_eq!(handle.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn refusal_takes_one_poll_and_releases_a_readied_callee() {
    let config = BulkheadConfig { max_waiting: 0, ..config(1) };
    let limited = ConcurrencyLimitLayer::new(2).layer(sleeper());
    let mut observer = limited.clone();
    let service = BulkheadLayer::new(config).unwrap().layer(limited);
    let mut running = Box::pin(service.clone().oneshot(1000));
    assert!(poll!(&mut running).is_pending());
    let mut refused = service.clone();
    refused.ready().await.unwrap();
    let mut call = pin!(refused.call(1));
    let Poll::Ready(answer) = poll!(&mut call) else { panic!("the refusal took more than one poll") };
    assert_eq!(reason(answer), Some(Reason::QueueFull));
    assert!(observer.ready().now_or_never().is_some(), "the callee's second permit is free");
}

#[tokio::test(start_paused = true)]
async fn queued_call_releases_a_readied_callee() {
    let limited = ConcurrencyLimitLayer::new(2).layer(sleeper());
    let mut observer = limited.clone();
    let service = layer(1).layer(limited);
    let mut running = Box::pin(service.clone().oneshot(1000));
    assert!(poll!(&mut running).is_pending());
    let mut waiting = service.clone();
    waiting.ready().await.unwrap();
    let waiting = waiting.call(1);
    assert!(observer.ready().now_or_never().is_some());
    drop(observer);
    let (first, second) = tokio::join!(running, waiting);
    assert_eq!((first.unwrap(), second.unwrap()), (1000, 1));
}

#[tokio::test(start_paused = true)]
async fn queued_calls_go_by_priority_and_then_order() {
    for (order, expected) in [(Order::Fifo, [2, 0, 1]), (Order::Lifo, [2, 1, 0])] {
        let service = BulkheadLayer::new(BulkheadConfig { order, ..config(1) }).unwrap().layer(sleeper());
        let _running = tokio::spawn(service.clone().oneshot(100));
        tokio::task::yield_now().await;
        let ended = std::sync::Mutex::new(Vec::new());
        let calls =
            [Priority::Normal, Priority::Normal, Priority::High].into_iter().enumerate().map(|(n, priority)| {
                let (call, ended) = (with_priority(priority, service.clone().oneshot(10)), &ended);
                async move {
                    call.await.unwrap();
                    ended.lock().unwrap().push(n);
                }
            });
        join_all(calls).await;
        assert_eq!(ended.into_inner().unwrap(), expected, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_without_enough_time_is_refused_at_once() {
    let layer = layer(1);
    let service = layer.layer(sleeper());
    for _ in 0..100 {
        service.clone().oneshot(100).await.unwrap();
    }
    let hurried = DeadlineLayer::new(350 * MS).unwrap().layer(service.clone());
    let mut calls: Vec<_> = (0..4).map(|_| Box::pin(hurried.clone().oneshot(100))).collect();
    for call in &mut calls[..3] {
        assert!(poll!(call).is_pending());
    }
    let Poll::Ready(answer) = poll!(&mut calls[3]) else {
        panic!("it would get its permit after 300 ms and end at 400 ms")
    };
    let rejected = rejected(answer).unwrap();
    assert_eq!((rejected.layer(), rejected.reason()), ("bulkhead", Reason::NotInTime));
    assert_eq!(rejected.retry_after().unwrap().as_millis(), 300);
    for answer in join_all(calls.drain(..3)).await {
        assert_eq!(answer.unwrap(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn call_without_deadline_releases_its_permit_at_max_hold() {
    let layer = BulkheadLayer::new(BulkheadConfig { max_hold: 3 * SECOND, ..config(1) }).unwrap();
    let handle = layer.handle();
    let mut service = layer.layer(sleeper());
    let mut hangs = Box::pin(service.ready().await.unwrap().call(1_000_000));
    let start = Instant::now();
    assert_eq!(reason((&mut hangs).await), Some(Reason::HoldExceeded));
    assert_eq!((start.elapsed(), handle.in_flight()), (3 * SECOND, 0), "the future still exists");
}

#[tokio::test(start_paused = true)]
async fn services_share_permits_and_each_key_has_its_own() {
    let layer = BulkheadLayer::new(BulkheadConfig { max_waiting: 0, ..config(1) }).unwrap();
    let _running = tokio::spawn(layer.layer(sleeper()).oneshot(1000));
    tokio::task::yield_now().await;
    assert_eq!(reason(layer.clone().layer(sleeper()).oneshot(1)), Some(Reason::QueueFull));

    let keyed = layer.keyed_by(|ms: &u32| ms % 2);
    let handle = keyed.handle();
    let service = keyed.layer(sleeper());
    let running = [1000, 1001].map(|ms| tokio::spawn(service.clone().oneshot(ms)));
    tokio::task::yield_now().await;
    assert_eq!(handle.in_flight(), 2);
    assert_eq!(reason(service.oneshot(3)), Some(Reason::QueueFull));
    drop(running);

    fn reason<F: Future<Output = Result<u32, BoxError>>>(call: F) -> Option<Reason> {
        crate::reason(call.now_or_never().expect("at once"))
    }
}

#[tokio::test(start_paused = true)]
async fn heavy_calls_take_more_permits_and_the_limit_can_change() {
    let layer = layer(10).weighed_by(|ms: &u32| *ms);
    let handle = layer.handle();
    let service = layer.layer(sleeper());
    let mut heavy = Box::pin(service.clone().oneshot(8));
    let mut light = Box::pin(service.clone().oneshot(3));
    assert!(poll!(&mut heavy).is_pending() && poll!(&mut light).is_pending());
    assert_eq!((handle.in_flight(), handle.waiting(), handle.limit()), (8, 1, 10));
    handle.set_limit(NonZeroU32::new(11).unwrap());
    assert_eq!((handle.in_flight(), handle.waiting(), handle.limit()), (11, 0, 11));
    assert_eq!(tokio::join!(heavy, light).1.unwrap(), 3);
    assert_eq!(service.oneshot(50).await.unwrap(), 50, "a call heavier than the limit runs alone");
    assert_eq!(handle.in_flight(), 0);
}

/// A classifier whose calls last until their response streams end; the permit lives in the stream.
#[derive(Clone)]
struct Streams;

struct Stream<G: Guard> {
    guard: Option<G>,
}

impl Classify<u32> for Streams {
    type Held<G: Guard> = Stream<G>;
    type Settled = u32;
    type Settling = std::future::Ready<(Verdict, u32)>;
    type Detaching = std::future::Ready<u32>;

    fn classify(&self, _: Result<&u32, &BoxError>) -> Verdict {
        Verdict::Success
    }

    fn hold<G: Guard>(&self, _: u32, _: Verdict, guard: G) -> Stream<G> {
        Stream { guard: Some(guard) }
    }

    fn settle(&self, response: u32) -> Self::Settling {
        std::future::ready((Verdict::Success, response))
    }

    fn detach(&self, response: u32) -> Self::Detaching {
        std::future::ready(response)
    }
}

#[tokio::test(start_paused = true)]
async fn permit_lasts_until_the_call_ends_and_knows_its_expiry() {
    let layer = layer(1).with_classifier(Streams);
    let handle = layer.handle();
    let service = layer.layer(sleeper());
    let start = Instant::now();
    let mut stream = service.clone().oneshot(10).await.unwrap();
    assert_eq!(handle.in_flight(), 1);
    let guard = stream.guard.take().unwrap();
    assert_eq!(guard.expiry().at(), start + 60 * SECOND);
    guard.settle(Verdict::Success);
    assert_eq!(handle.in_flight(), 0);
    drop(service.oneshot(10).await.unwrap());
    assert_eq!(handle.in_flight(), 0, "dropping the stream ends the call too");
}

#[tokio::test(start_paused = true)]
async fn quick_call_is_admitted_after_calls_queued_further_in() {
    let inner = layer(1);
    let outer = layer(100);
    let service = outer.layer(inner.layer(sleeper()));
    // Fifty calls of ten milliseconds each run one after the other: the last one waits for half a second.
    let calls = (0..50).map(|_| service.clone().oneshot(10));
    for answer in join_all(calls).await {
        answer.unwrap();
    }
    // Permits were held for a quarter of a second on average, but some for 10 ms only, and permits are free.
    let mut busy = Box::pin(service.clone().oneshot(1));
    assert!(poll!(&mut busy).is_pending());
    advance(MS).await;
    let hurried = DeadlineLayer::new(30 * MS).unwrap().layer(service);
    let (_, answer) = tokio::join!(busy, hurried.oneshot(10));
    assert_eq!(answer.unwrap(), 10);
}

#[test]
fn every_fault_of_a_config_is_reported_at_once() {
    let config = BulkheadConfig {
        max_concurrent: 0,
        max_wait: Duration::MAX,
        max_hold: Duration::ZERO,
        max_keys: 0,
        ..Default::default()
    };
    let error = BulkheadLayer::new(config).unwrap_err();
    let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(paths, ["max_concurrent", "max_wait", "max_hold", "max_keys"]);
}
