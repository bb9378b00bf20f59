//! The deadline layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt;
use seawall::context;
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::{Reason, rejection};
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
/// A call that takes this long hangs, however busy the machine is.
const HANGS: Duration = Duration::from_secs(300);

fn layer(timeout: Duration) -> DeadlineLayer {
    DeadlineLayer::new(timeout).expect("a valid timeout")
}

#[tokio::test(start_paused = true)]
async fn hanging_call_ends_at_its_deadline() {
    let service = layer(SECOND).layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExceeded));
    assert_eq!(start.elapsed().as_millis(), 1000);
}

#[tokio::test(start_paused = true)]
async fn earlier_of_two_deadlines_holds() {
    let inner = service_fn(|()| async { Ok::<_, BoxError>(context::time_left()) });
    let outer = service_fn(move |()| layer(10 * SECOND).layer(inner).oneshot(()));
    assert_eq!(layer(SECOND).layer(outer).oneshot(()).await.unwrap(), Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn call_without_time_left_is_not_sent() {
    let outer = service_fn(|()| async {
        // Spawned work outlives the call that spawned it, and keeps the call's deadline.
        let background = tokio::spawn(context::carry(async {
            sleep(2 * SECOND).await;
            let sent = service_fn(|()| async { Ok::<_, std::io::Error>("sent") });
            layer(10 * SECOND).layer(sent).oneshot(()).await
        }));
        Ok::<_, BoxError>(background)
    });
    let background = layer(SECOND).layer(outer).oneshot(()).await.unwrap();
    let error = background.await.unwrap().unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExpired));
}

#[tokio::test(start_paused = true)]
async fn answer_at_the_deadline_is_returned() {
    let service = layer(SECOND).layer(service_fn(|()| async {
        sleep(SECOND).await;
        Ok::<_, BoxError>("just in time")
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), "just in time");
}

#[tokio::test(start_paused = true)]
async fn call_moved_out_of_its_context_still_ends() {
    let (escape, mut escaped) = tokio::sync::mpsc::unbounded_channel();
    let inner = layer(10 * SECOND).layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let outer = service_fn(move |()| {
        let mut inner = inner.clone();
        let escape = escape.clone();
        async move {
            inner.ready().await?;
            escape.send(inner.call(())).map_err(|_| "nobody waits")?;
            Ok::<_, BoxError>(())
        }
    });
    layer(SECOND).layer(outer).oneshot(()).await.unwrap();
    let start = Instant::now();
    let error = escaped.recv().await.unwrap().await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExceeded));
    assert_eq!(start.elapsed(), SECOND);
}

/// Two tasks share one call. The first one, in which the call began, is dropped; the call must still end for the
/// other.
#[tokio::test(start_paused = true)]
async fn shared_call_ends_after_its_first_task_is_dropped() {
    let inner = layer(10 * SECOND).layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let shared = inner.oneshot(()).map(|answer| answer.is_err()).shared();
    let theirs = shared.clone();
    let outer = service_fn(move |()| theirs.clone().map(Ok::<_, BoxError>));
    let first = tokio::spawn(layer(SECOND).layer(outer).oneshot(()));
    tokio::task::yield_now().await;
    assert!(timeout(5 * SECOND, shared).await.expect("the call ends"));
    first.await.unwrap().ok();
}

/// Synchronous code in between blocks on the inner call, so the outer layer is not polled meanwhile.
#[test]
fn blocking_nested_call_still_ends() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let inner = layer(2 * HANGS).layer(service_fn(|()| pending::<Result<(), BoxError>>()));
        let outer = service_fn(move |()| {
            let inner = inner.clone();
            async move {
                let blocking = || tokio::runtime::Handle::current().block_on(inner.oneshot(()));
                tokio::task::block_in_place(blocking)
            }
        });
        let call = layer(Duration::from_millis(20)).layer(outer).oneshot(());
        let answer = runtime.block_on(async { tokio::spawn(call).await.unwrap() });
        done.send(answer.is_err())
    });
    assert_eq!(finished.recv_timeout(HANGS), Ok(true));
}

/// Two executors whose wakers hold a null data pointer: the layer must not take them for the same task.
#[test]
fn nested_executor_whose_waker_has_no_data_ends_its_call() {
    fn run<F: Future>(waker: &Waker, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return output;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    let wakers = [Waker::noop(), futures::task::noop_waker_ref()];
    for (outer_waker, inner_waker) in
        [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(outer, inner)| (wakers[outer], wakers[inner]))
    {
        let (done, finished) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
            let _inside = runtime.enter();
            let hangs = layer(2 * HANGS).layer(service_fn(|()| pending::<Result<(), BoxError>>()));
            let nests = service_fn(move |()| {
                let hangs = hangs.clone();
                async move { run(inner_waker, hangs.oneshot(())) }
            });
            let answer = run(outer_waker, layer(Duration::from_millis(20)).layer(nests).oneshot(()));
            done.send(answer.is_err())
        });
        assert_eq!(finished.recv_timeout(HANGS), Ok(true));
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_near_the_largest_instant_saturate() {
    let ten_years = Duration::from_secs(10 * 365 * 24 * 3600);
    let service = layer(ten_years).layer(service_fn(|()| async {
        sleep(SECOND).await;
        Ok::<_, BoxError>(7)
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), 7);
    let error = DeadlineLayer::new(Duration::MAX).unwrap_err();
    assert_eq!(error.faults()[0].path(), "timeout");
}

/// A first attempt failed before the head timeout: the caller gets that failure.
#[tokio::test(start_paused = true)]
async fn head_timeout_spans_attempts_and_keeps_the_failure() {
    let attempts = AtomicU32::new(0);
    let callee = service_fn(|()| async {
        if attempts.fetch_add(1, Ordering::Relaxed) > 0 {
            pending::<()>().await;
        }
        Err::<(), BoxError>("stumbled".into())
    });
    for lasts in [None, Some(3600 * SECOND)] {
        attempts.store(0, Ordering::Relaxed);
        let config = DeadlineConfig { timeout: 10 * SECOND, head_timeout: Some(SECOND), ..DeadlineConfig::default() };
        let deadline = DeadlineLayer::new(config).unwrap().lasting_by(move |()| lasts);
        let service = deadline.layer(RetryLayer::new(RetryConfig::default()).unwrap().layer(callee));
        let start = Instant::now();
        assert_eq!(service.oneshot(()).await.unwrap_err().to_string(), "stumbled");
        assert_eq!((start.elapsed().as_secs(), attempts.load(Ordering::Relaxed)), (1, 2));
    }
}

/// How long a hanging call takes to end, which error ends it, and how much time the call saw as left.
async fn hangs(config: DeadlineConfig, lasts: Option<Duration>) -> (Duration, Reason, Option<Duration>) {
    let deadline = DeadlineLayer::new(config).unwrap().lasting_by(move |()| lasts);
    let left = deadline.layer(service_fn(|()| async { Ok::<_, BoxError>(context::time_left()) }));
    let left = left.oneshot(()).await.unwrap();
    let start = Instant::now();
    let error = deadline.layer(service_fn(|()| pending::<Result<(), BoxError>>())).oneshot(()).await.unwrap_err();
    (start.elapsed(), rejection(&error).unwrap().reason(), left)
}

#[tokio::test(start_paused = true)]
async fn long_lived_call_may_answer_within_its_own_timeout() {
    let config = DeadlineConfig { timeout: SECOND, idle_timeout: Some(SECOND / 2), ..DeadlineConfig::default() };
    let (usual, lasting) = (hangs(config.clone(), None).await, hangs(config, Some(60 * SECOND)).await);
    assert_eq!(usual, (SECOND, Reason::DeadlineExceeded, Some(SECOND)));
    assert_eq!(lasting, (60 * SECOND, Reason::DeadlineExceeded, Some(60 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn head_timeout_bounds_the_head_of_a_long_lived_call() {
    for head in [SECOND / 2, 20 * SECOND] {
        let config = DeadlineConfig { timeout: SECOND, head_timeout: Some(head), ..DeadlineConfig::default() };
        assert_eq!(hangs(config.clone(), Some(60 * SECOND)).await, (head, Reason::HeadTimeout, Some(head)));
        let usual = hangs(config, None).await.0;
        assert_eq!(usual, head.min(SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn long_lived_call_ends_at_an_inherited_deadline() {
    let inner = DeadlineLayer::new(SECOND).unwrap().lasting_by(|()| Some(60 * SECOND));
    let inner = inner.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    assert!(layer(3 * SECOND).layer(inner).oneshot(()).await.is_err());
    assert_eq!(start.elapsed(), 3 * SECOND);
}

/// A load that fills a cache for many callers belongs to none of their calls: its own client bounds it.
#[tokio::test(start_paused = true)]
async fn detached_work_outlives_the_deadline_of_its_call() {
    let client = layer(10 * SECOND).layer(service_fn(|()| async {
        assert_eq!((context::time_left(), context::priority()), (Some(10 * SECOND), context::Priority::Normal));
        sleep(3 * SECOND).await;
        Ok::<_, std::io::Error>("value")
    }));
    let load = async move { client.oneshot(()).await.map_err(|error| error.to_string()) };
    let load = context::detached(load).boxed_local().shared();
    let handler = |time| {
        let load = load.clone();
        let handle = service_fn(move |()| load.clone().map(|loaded| loaded.map_err(std::io::Error::other)));
        context::with_priority(context::Priority::Low, layer(time).layer(handle).oneshot(()))
    };
    let (first, second) = futures::join!(handler(SECOND), async {
        sleep(SECOND / 10).await;
        handler(5 * SECOND).await
    });
    assert!(first.is_err(), "the load has the deadline of its own client");
    assert_eq!(second.unwrap(), "value");
}

/// What a service behind a buffer sees of the call's context.
#[tokio::test(start_paused = true)]
async fn buffer_loses_the_context_unless_it_is_captured() {
    type Seen = (Option<Duration>, context::Priority);
    let callee = service_fn(|()| {
        // Read in `call`, as layers do, and in the worker's task.
        let seen: Seen = (context::time_left(), context::priority());
        async move { Ok::<_, BoxError>(seen) }
    });
    let seen = async |service: tower::util::BoxCloneService<(), Seen, BoxError>| {
        context::with_priority(context::Priority::High, layer(SECOND).layer(service).oneshot(())).await.unwrap()
    };
    let plain = tower::ServiceBuilder::new().boxed_clone().buffer(4).service(callee);
    assert_eq!(seen(plain).await, (None, context::Priority::Normal));
    let captured =
        tower::ServiceBuilder::new().boxed_clone().map_request(|()| context::capture()).buffer(4).service(service_fn(
            move |context: context::Captured| context.carry(async move { callee.oneshot(()).await }),
        ));
    assert_eq!(seen(captured).await, (Some(SECOND), context::Priority::High));
}

/// The worker still runs the call behind the buffer, but its caller does not wait for it.
#[tokio::test(start_paused = true)]
async fn call_through_a_buffer_ends_at_the_deadline_outside() {
    let buffered = tower::ServiceBuilder::new().buffer(4).service(service_fn(|()| pending::<Result<(), BoxError>>()));
    let start = Instant::now();
    assert!(layer(SECOND).layer(buffered).oneshot(()).await.is_err());
    assert_eq!(start.elapsed(), SECOND);
}

/// The error names the time that was given: by the layer's own setting, by the head timeout, or by the caller.
#[tokio::test(start_paused = true)]
async fn timeout_reports_the_time_given_and_elapsed() {
    let hangs = || service_fn(|()| pending::<Result<(), BoxError>>());
    let head = DeadlineConfig { timeout: SECOND, head_timeout: Some(SECOND / 4), ..DeadlineConfig::default() };
    let head = DeadlineLayer::new(head).unwrap();
    // In a task of its own, so that the deadline outside does not end it first.
    let inherits = service_fn(move |()| async move {
        sleep(SECOND / 4).await;
        Ok::<_, BoxError>(tokio::spawn(context::carry(layer(10 * SECOND).layer(hangs()).oneshot(()))))
    });
    let inherited = layer(SECOND).layer(inherits).oneshot(()).await.unwrap().await.unwrap().unwrap_err();
    let own = layer(SECOND).layer(hangs()).oneshot(()).await.unwrap_err();
    let head = head.layer(hangs()).oneshot(()).await.unwrap_err();
    assert_eq!(own.to_string(), "deadline exceeded after 1.0s (layer `deadline`): given 1.0s");
    for (error, given) in [(own, SECOND), (head, SECOND / 4), (inherited, 3 * SECOND / 4)] {
        let numbers = rejection(&error).unwrap().numbers();
        assert_eq!((numbers.given(), numbers.elapsed()), (Some(given), Some(given)), "{error}");
    }
}

/// The process itself stood still: the dependency may have answered long ago.
#[tokio::test(start_paused = true)]
async fn timeout_after_a_process_stall_reports_the_lateness() {
    let mut call = Box::pin(layer(SECOND).layer(service_fn(|()| pending::<Result<(), BoxError>>())).oneshot(()));
    assert!((&mut call).now_or_never().is_none());
    tokio::time::advance(7 * SECOND).await;
    let error = call.await.unwrap_err();
    let numbers = rejection(&error).unwrap().numbers();
    assert_eq!((numbers.given(), numbers.elapsed()), (Some(SECOND), Some(7 * SECOND)));
}
