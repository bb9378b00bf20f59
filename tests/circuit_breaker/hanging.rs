//! The breaker detects a hanging dependency by the clock, whether calls come or not.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::http::ReplayBody;

use super::half_open::{empty, post};
use super::*;

/// Completes `fast` calls, and returns this many hanging calls in flight.
async fn hang<S>(service: &S, fast: usize, hanging: usize) -> Vec<tokio::task::JoinHandle<()>>
where
    S: Service<u64, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: std::fmt::Debug,
{
    for _ in 0..fast {
        call(service, 2).await.expect("the dependency answers");
    }
    let one = |_| {
        let service = service.clone();
        tokio::spawn(async move {
            let _ = service.oneshot(HANGS).await;
        })
    };
    (0..hanging).map(one).collect()
}

/// How long the breaker stays closed.
async fn closed_for(handle: &seawall::circuit_breaker::CircuitBreakerHandle, longest: Duration) -> Duration {
    let start = Instant::now();
    while handle.state() == State::Closed && start.elapsed() < longest {
        sleep(10 * MS).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn hang_is_detected_without_new_calls() {
    for (fast, max_break) in [(10, 30), (10, 120), (1000, 30)] {
        let layer = layer(CircuitBreakerConfig { max_break: max_break * SECOND, ..Default::default() });
        let service = layer.layer(service_fn(callee));
        let _hanging = hang(&service, fast, 12).await;
        let closed = closed_for(&layer.handle(), 60 * SECOND).await;
        // The slow threshold is 500 ms.
        assert!(closed >= 500 * MS && closed < 1500 * MS, "after {fast} answers: {closed:?}");
    }
}

/// Right after the start, hanging calls stand beside the first answers.
#[tokio::test(start_paused = true)]
async fn hang_in_the_first_second_is_detected() {
    let layer = layer(CircuitBreakerConfig::default());
    let service = layer.layer(service_fn(callee));
    let _hanging = hang(&service, 0, 12).await;
    let _more = hang(&service, 10, 0).await;
    let closed = closed_for(&layer.handle(), 60 * SECOND).await;
    assert!(closed < 2 * SECOND, "{closed:?}");
}

/// There are no samples yet, so the dependency gets several times the minimum threshold, and no more.
#[tokio::test(start_paused = true)]
async fn hang_without_any_earlier_answer_is_detected() {
    let layer = layer(CircuitBreakerConfig { max_break: 120 * SECOND, ..Default::default() });
    let service = layer.layer(service_fn(callee));
    let _hanging = hang(&service, 0, 12).await;
    let closed = closed_for(&layer.handle(), 60 * SECOND).await;
    assert!(closed > 4 * SECOND && closed < 7 * SECOND, "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn hang_is_detected_while_hung_calls_hold_all_permits() {
    let breaker = layer(CircuitBreakerConfig::default());
    let handle = breaker.handle();
    let bulkhead = BulkheadLayer::new(BulkheadConfig { max_concurrent: 12, ..Default::default() }).unwrap();
    let service = ServiceBuilder::new().layer(bulkhead).layer(breaker).service(service_fn(callee));
    let _hanging = hang(&service, 20, 40).await;
    let closed = closed_for(&handle, 60 * SECOND).await;
    assert!(closed < 1500 * MS, "{closed:?}");
}

/// A configured slow threshold, short or long, moves the bound.
#[tokio::test(start_paused = true)]
async fn hang_is_detected_within_twice_the_slow_threshold() {
    for millis in [20, 100, 2000, 10_000] {
        let slow_after = Duration::from_millis(millis);
        let layer = layer(CircuitBreakerConfig { slow_after: Some(slow_after), ..Default::default() });
        let service = layer.layer(service_fn(callee));
        let _hanging = hang(&service, 20, 12).await;
        let closed = closed_for(&layer.handle(), 60 * SECOND).await;
        assert!(closed >= slow_after && closed < 2 * slow_after + 60 * MS, "{slow_after:?}: {closed:?}");
    }
}

/// A few hanging calls beside many answers are no hang of the dependency.
#[tokio::test(start_paused = true)]
async fn few_hanging_calls_among_answers_open_nothing() {
    let layer = layer(CircuitBreakerConfig::default());
    let service = layer.layer(service_fn(callee));
    let _hanging = hang(&service, 100, 12).await;
    for _ in 0..500 {
        call(&service, 20).await.expect("the other calls are answered");
    }
    assert_eq!(layer.handle().state(), State::Closed);
}

/// The process stands still for seconds, again and again: afterwards all answers are there, but unread.
#[tokio::test(start_paused = true)]
async fn process_stalls_open_nothing() {
    let layer = layer(CircuitBreakerConfig::default());
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    let _none = hang(&service, 50, 0).await;
    for _ in 0..20 {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let service = service.clone();
                tokio::spawn(async move { call(&service, 100).await.is_ok() })
            })
            .collect();
        sleep(50 * MS).await;
        // All timers that were due meanwhile fire at once.
        advance(3 * SECOND).await;
        for call in calls {
            assert!(call.await.unwrap(), "{:?}", handle.snapshot());
        }
    }
    assert_eq!(handle.state(), State::Closed);
}

/// The runtime of the first calls has ended; calls of another runtime are still checked.
#[test]
fn hang_is_detected_after_the_first_runtime_has_ended() {
    let layer = layer(CircuitBreakerConfig { slow_after: Some(50 * MS), ..Default::default() });
    let service = layer.layer(service_fn(callee));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let first = runtime();
    first.block_on(async {
        let _hanging = hang(&service, 10, 3).await;
        tokio::task::yield_now().await;
    });
    drop(first);
    runtime().block_on(async {
        sleep(2 * SECOND).await;
        let _hanging = hang(&service, 10, 12).await;
        let closed = closed_for(&layer.handle(), 60 * SECOND).await;
        assert!(closed < SECOND, "{closed:?}");
    });
}

/// The hung calls hold all permits of the bulkhead, and the other calls wait for one. The queued calls are refused
/// when the breaker opens, and so are later calls, host by host.
#[tokio::test(start_paused = true)]
async fn queued_calls_are_refused_when_the_breaker_opens() {
    use seawall::stack::{self, ClientConfig};

    for per_authority in [false, true] {
        let mut config = ClientConfig { per_authority, ..Default::default() };
        config.bulkhead.max_concurrent = 12;
        config.deadline.timeout = 60 * SECOND;
        config.retry.max_attempts = 1;
        config.retry.attempt_timeout = None;
        let client = stack::client(&config).unwrap().service(service_fn(|request: http::Request<_>| async move {
            let _: &seawall::http::ReplayBody<http_body_util::Empty<bytes::Bytes>> = request.body();
            if request.uri().path() == "/hangs" {
                pending::<()>().await;
            }
            sleep(2 * MS).await;
            Ok::<_, BoxError>(http::Response::new(http_body_util::Empty::<bytes::Bytes>::new()))
        }));
        let get = |host: &str, path: &str| {
            let request = http::Request::get(format!("http://{host}{path}")).body(http_body_util::Empty::new());
            client.clone().oneshot(request.unwrap())
        };
        for _ in 0..20 {
            get("a", "/").await.unwrap();
        }
        let _hanging: Vec<_> = (0..12).map(|_| tokio::spawn(get("a", "/hangs"))).collect();
        tokio::task::yield_now().await;
        let waiting: Vec<_> = (0..40).map(|_| tokio::spawn(get("a", "/"))).collect();
        if per_authority {
            get("b", "/").await.expect("another host has its own permits");
        }
        let start = Instant::now();
        for waiting in waiting {
            let error = waiting.await.unwrap().map(drop).unwrap_err();
            let rejected = rejection(&error).expect("a refusal");
            assert_eq!((rejected.layer(), rejected.reason()), ("circuit_breaker", Reason::CircuitOpen));
            assert!(rejected.retry_after().is_some());
        }
        assert!(start.elapsed() < 1500 * MS, "{:?}", start.elapsed());
        let (start, error) = (Instant::now(), get("a", "/").await.map(drop).unwrap_err());
        assert_eq!(rejection(&error).map(Rejected::reason), Some(Reason::CircuitOpen));
        assert_eq!(start.elapsed(), Duration::ZERO, "refused without a wait");
        if per_authority {
            get("b", "/").await.expect("another host answers");
        }
    }
}

/// The uploads waited in a rate limit's queue. It starts each one in the same poll in which its body begins to wait
/// for the producer.
#[tokio::test(start_paused = true)]
async fn stalled_uploads_released_by_a_queue_are_no_hang() {
    let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let queue = RateLimitConfig { permits: 100, per: SECOND, burst: Some(1), max_wait: SECOND, ..Default::default() };
    let dependency = service_fn(|request: Request<ReplayBody<Channel<Bytes>>>| async move {
        let _ = request.into_body().collect().await;
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    });
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::http(300 * SECOND).unwrap())
        .layer(RetryLayer::http(RetryConfig { max_attempts: 1, ..Default::default() }).unwrap())
        .layer(layer.clone())
        .layer(RateLimitLayer::new(queue).unwrap())
        .service(dependency);
    for _ in 0..20 {
        assert!(client.clone().oneshot(empty("/")).await.is_ok());
    }
    let uploads: Vec<_> = (0..30)
        .map(|_| {
            let (request, sender) = post("/");
            (tokio::spawn(client.clone().oneshot(request)), sender)
        })
        .collect();
    for _ in 0..20 {
        sleep(SECOND).await;
        assert!(client.clone().oneshot(empty("/")).await.is_ok());
        let seen = layer.handle().snapshot();
        assert_eq!((seen.state, seen.overdue), (State::Closed, 0), "{seen:?}");
    }
    for (upload, sender) in uploads {
        drop(sender);
        assert!(upload.await.unwrap().is_ok());
    }
    assert_eq!(layer.handle().snapshot().slow, 0);
}
