//! A long stream passes in constant memory, and no frame allocates.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::retry::{RetryConfig, RetryLayer};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use crate::client::{Settings, Stack};
use crate::servers::{Protocol, Rest, Server};

const GIBIBYTE: usize = 1 << 30;
const PIECE: usize = 16 * 1024;
static PIECES: [u8; PIECE] = [b'x'; PIECE];

/// A number of frames, all of them ready.
struct Stream(usize);

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.checked_sub(1).map(|left| {
            self.0 = left;
            Ok(Frame::data(Bytes::from_static(&PIECES)))
        }))
    }
}

async fn through_all_layers(pieces: usize) -> Response<impl Body<Data = Bytes, Error: Into<BoxError>>> {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::http(Duration::from_secs(3600)).unwrap())
        .layer(RetryLayer::http(RetryConfig::default()).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap())
        .layer(CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap())
        .service(service_fn(move |_| async move { Ok::<_, BoxError>(Response::new(Stream(pieces))) }));
    let Ok(response) = service.oneshot(Request::new(Empty::<Bytes>::new())).await else { panic!("the call succeeds") };
    response
}

#[test]
fn ready_frame_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let pieces = GIBIBYTE / PIECE;
    let mut body = pin!(runtime.block_on(through_all_layers(pieces + 10)).into_body());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut next = || matches!(body.as_mut().poll_frame(cx), Poll::Ready(Some(Ok(_))));
    (0..9).for_each(|_| assert!(next()));
    let info = allocation_counter::measure(|| (0..pieces).for_each(|_| assert!(next())));
    assert_eq!(info.count_total, 0);
}

/// The timers and wakers of a body are set up once, and not for each wait.
#[test]
fn awaited_frame_allocates_nothing() {
    /// Has a frame at every other poll.
    struct Halting(bool);
    impl Body for Halting {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0 = !self.0;
            if self.0 { Poll::Pending } else { Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECES))))) }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::http(Duration::from_secs(3600)).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap())
        .service(service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(Halting(false))) }));
    let mut body = pin!(runtime.block_on(service.oneshot(Request::new(()))).unwrap().into_body());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut polls = |count| (0..count).filter(|_| body.as_mut().poll_frame(cx).is_ready()).count();
    assert_eq!(polls(20), 10);
    let info = allocation_counter::measure(|| assert_eq!(polls(2000), 1000));
    assert_eq!(info.count_total, 0);
}

#[test]
fn gibibyte_from_a_socket_passes_in_constant_memory() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The server runs on a thread of its own, so that only the client is measured.
    let servers = runtime();
    let server = servers.block_on(Server::on_a_socket(Protocol::Http1, Rest::Endless));
    let (uri, (end, ended)) = (server.uri(), tokio::sync::oneshot::channel::<()>());
    let serving = std::thread::spawn(move || servers.block_on(ended).is_ok());
    let client = runtime();
    let mut bytes = 0;
    let info = allocation_counter::measure(|| {
        client.block_on(async {
            let stack = Stack::new(Protocol::Http1, Settings::lasting(Duration::from_secs(3600)));
            let request = Request::get(uri).body(Empty::new()).unwrap();
            let mut body = stack.calls.oneshot(request).await.unwrap().into_body();
            while bytes < GIBIBYTE {
                bytes += body.frame().await.unwrap().unwrap().data_ref().unwrap().len();
            }
        });
    });
    assert!(info.bytes_max < 4 << 20, "{} bytes at once", info.bytes_max);
    drop(client);
    end.send(()).unwrap();
    assert!(serving.join().unwrap());
}
