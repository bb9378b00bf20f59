//! Outside a tokio runtime no timer can end a wait: a call that has to wait panics with a message instead of hanging.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use futures::executor::block_on;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{Backoff, RetryConfig, RetryLayer};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const BOUND: Duration = Duration::from_millis(50);

/// Returns the panic message of a call that panics. Fails if the call never ends.
fn ends<F: Future>(call: impl FnOnce() -> F + Send + 'static) -> Option<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let message = |panic: Box<dyn Any + Send>| panic.downcast_ref::<String>().cloned().unwrap_or_default();
        let ended = catch_unwind(AssertUnwindSafe(|| drop(block_on(call()))));
        tell.send(ended.err().map(message))
    });
    told.recv_timeout(Duration::from_secs(300)).expect("it hangs")
}

#[track_caller]
fn assert_names_the_missing_runtime<F: Future>(call: impl FnOnce() -> F + Send + 'static) {
    let message = ends(call).expect("the call panics");
    assert!(message.contains("no reactor running"), "{message}");
}

/// A call to a hanging service, through a layer.
#[track_caller]
fn hangs<L>(layer: L)
where
    L: Layer<tower::util::BoxCloneService<(), (), BoxError>> + Send + 'static,
    L::Service: Service<(), Error = BoxError>,
{
    assert_names_the_missing_runtime(move || {
        layer.layer(service_fn(|()| pending::<Result<(), BoxError>>()).boxed_clone()).oneshot(())
    });
}

#[test]
fn call_that_hangs_panics_in_every_layer() {
    hangs(DeadlineLayer::new(BOUND).unwrap());
    hangs(RetryLayer::new(RetryConfig { max_hold: BOUND, ..RetryConfig::default() }).unwrap());
    hangs(
        CircuitBreakerLayer::new(CircuitBreakerConfig { max_hold: BOUND, ..CircuitBreakerConfig::default() }).unwrap(),
    );
    hangs(BulkheadLayer::new(BulkheadConfig { max_hold: BOUND, ..BulkheadConfig::default() }).unwrap());
    hangs(LoadShedLayer::new(LoadShedConfig { max_hold: BOUND, ..LoadShedConfig::default() }).unwrap());
    hangs(RateLimitLayer::new(RateLimitConfig::default()).unwrap());
}

#[test]
fn wait_of_a_layer_panics() {
    let hour = Duration::from_secs(3600);
    let rate = RateLimitConfig { permits: 1, per: hour, burst: Some(1), max_wait: hour, ..RateLimitConfig::default() };
    let limited = RateLimitLayer::new(rate).unwrap().layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    assert_names_the_missing_runtime(move || async move {
        limited.clone().oneshot(()).await.unwrap();
        limited.oneshot(()).await
    });
    let retry = RetryLayer::new(RetryConfig { backoff: Backoff::constant(BOUND), ..RetryConfig::default() }).unwrap();
    let retried = retry.layer(service_fn(|()| async { Err::<(), BoxError>("it fails".into()) }));
    let message = ends(move || retried.oneshot(()));
    assert!(message.is_none_or(|message| message.contains("no reactor running")));
    let one = BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() }).unwrap();
    let queued = one.layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    assert_names_the_missing_runtime(
        move || async move { futures::join!(queued.clone().oneshot(()), queued.oneshot(())) },
    );
}

#[test]
fn call_that_does_not_wait_needs_no_runtime() {
    let layers = tower::ServiceBuilder::new()
        .layer(DeadlineLayer::new(BOUND).unwrap())
        .layer(RetryLayer::new(RetryConfig::default()).unwrap())
        .layer(BulkheadLayer::new(BulkheadConfig::default()).unwrap())
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap());
    let service = layers.service(service_fn(|()| async { Ok::<_, BoxError>(7) }));
    assert_eq!(ends(move || async move { assert_eq!(service.oneshot(()).await.unwrap(), 7) }), None);
}

/// A body that is handed out as it is written waits a moment for its reader. Where no timer can end that wait, it does
/// not wait.
#[cfg(feature = "http")]
#[test]
fn body_made_in_a_runtime_is_readable_outside() {
    use bytes::Bytes;
    use http::{Request, Response, Version};
    use http_body_util::{BodyExt as _, Full};
    use seawall::deadline::DeadlineConfig;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let body = runtime.block_on(async {
            let config = DeadlineConfig { body_timeout: Some(Duration::from_secs(60)), ..DeadlineConfig::default() };
            let layer = DeadlineLayer::http(config).unwrap();
            let callee = service_fn(|_: Request<()>| async {
                Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(vec![7; 1 << 20]))))
            });
            let request = Request::builder().version(version).body(()).unwrap();
            layer.layer(callee).oneshot(request).await.unwrap().into_body()
        });
        let (tell, told) = mpsc::channel();
        let message = ends(move || async move { tell.send(body.collect().await.unwrap().to_bytes().len()) });
        assert_eq!(message, None);
        assert_eq!(told.recv(), Ok(1 << 20));
    }
}
