use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use tower::{BoxError, Layer, Service, service_fn};

use super::*;
use crate::ground::stopwatch::Stopwatch;
use crate::ground::time;

/// An outer layer must not count our backoff as the dependency's latency.
#[tokio::test(start_paused = true)]
async fn backoff_is_not_dependency_time() {
    let second = Duration::from_secs(1);
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(second) };
    let layer = RetryLayer::new(RetryConfig { backoff, ..RetryConfig::default() }).unwrap();
    let mut service = layer.layer(service_fn(|()| ready(Err::<(), BoxError>("down".into()))));
    let mut watch = Stopwatch::start(time::now());
    let mut call = pin!(service.call(()));
    let mut cx = Context::from_waker(Waker::noop());
    for rests in [true, true, false] {
        assert_eq!(watch.watch(|| call.as_mut().poll(&mut cx)).is_pending(), rests);
        if rests {
            tokio::time::advance(second + Duration::from_millis(1)).await;
        }
    }
    assert_eq!(watch.elapsed(time::now()), Duration::ZERO);
}
