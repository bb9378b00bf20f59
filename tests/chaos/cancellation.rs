//! A call or a body with a fault that is dropped at any poll holds nothing.

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosFault, ChaosLayer};
use tokio::time::sleep;
use tokio_test::task::spawn;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use crate::{MS, all, always};

#[tokio::test(start_paused = true)]
async fn fault_dropped_at_any_poll_holds_nothing() {
    for fault in all() {
        let bulkhead = BulkheadLayer::http(BulkheadConfig { max_concurrent: 1, ..Default::default() }).unwrap();
        let (permits, chaos) = (bulkhead.handle(), ChaosLayer::http(always(fault)).unwrap());
        let handle = chaos.handle();
        let inner = service_fn(|_: Request<Empty<Bytes>>| async {
            sleep(MS).await;
            let frames = stream::unfold(0, |n| async move {
                sleep(MS).await;
                (n < 4).then(|| (Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"four"))), n + 1))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(Box::pin(frames))))
        });
        let service = ServiceBuilder::new().layer(chaos).layer(bulkhead).service(inner);
        let mut most = 0;
        for polls in 0..30 {
            let service = service.clone();
            let mut call = spawn(async move {
                let response = service.oneshot(Request::new(Empty::new())).await?;
                let mut body = response.into_body();
                while let Some(frame) = body.frame().await {
                    frame?;
                }
                Ok::<_, BoxError>(())
            });
            for _ in 0..polls {
                if call.poll().is_ready() {
                    break;
                }
                most = most.max(handle.active());
                sleep(200 * MS).await;
            }
            drop(call);
            assert_eq!((handle.active(), permits.in_flight()), (0, 0), "{fault:?} after {polls} polls");
        }
        let lasts =
            fault.affects_body() || matches!(fault, ChaosFault::Latency(_) | ChaosFault::Hang | ChaosFault::Drop);
        assert_eq!(most, u32::from(lasts), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_selector_holds_nothing() {
    let chaos = ChaosLayer::http(always(ChaosFault::Hang)).unwrap();
    let handle = chaos.handle();
    let chaos = chaos.only(|_: &Request<Empty<Bytes>>| panic!("in the selector"));
    let inner =
        service_fn(|_: Request<Empty<Bytes>>| async { Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new())) });
    let service = ServiceBuilder::new().layer(chaos).service(inner);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = spawn(service.oneshot(Request::new(Empty::new()))).poll();
    }));
    assert!(panicked.is_err());
    assert_eq!(handle.active(), 0);
}
