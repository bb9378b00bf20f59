//! Requests with bodies: each attempt sends all of it, and a body that is still being sent is not taken away.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use seawall::http::ReplayBody;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};

use super::*;

/// What each attempt received, or why it did not, and when.
type Received = Arc<Mutex<Vec<(u32, Result<Bytes, String>)>>>;

/// A service that reads the request, with a pause after each frame, and answers attempts after these times.
fn reader<B>(
    received: &Received,
    pause: Duration,
    times: &'static [u64],
) -> impl Service<Request<ReplayBody<B>>, Response = Response<String>, Error = BoxError, Future: Send> + Clone
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let received = Arc::clone(received);
    service_fn(move |request: Request<ReplayBody<B>>| {
        let (attempt, received) = (context::attempt(), Arc::clone(&received));
        async move {
            let (mut body, mut all) = (std::pin::pin!(request.into_body()), Vec::new());
            let read = loop {
                match body.frame().await {
                    Some(Ok(frame)) => all.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                    Some(Err(error)) => break Err(error.to_string()),
                    None => break Ok(Bytes::from(all)),
                }
                sleep(pause).await;
            };
            received.lock().unwrap().push((attempt, read));
            sleep(millis(times[attempt as usize - 1])).await;
            Ok(Response::builder().header("attempt", attempt).body(String::new())?)
        }
    })
}

fn put<B>(body: B) -> Request<B> {
    Request::put("http://callee.test/").body(body).unwrap()
}

/// A body that takes so long to arrive, in pieces of a byte.
fn slow(pieces: usize, pause: Duration) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    StreamBody::new(futures::stream::unfold(0, move |sent| async move {
        if sent == pieces {
            return None;
        }
        sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from_static(b"x"))), sent + 1))
    }))
}

#[tokio::test(start_paused = true)]
async fn each_attempt_sends_the_whole_body() {
    let received = Received::default();
    let layer = HedgeLayer::http(fixed()).unwrap();
    let service = layer.layer(reader(&received, Duration::ZERO, &[100, 5]));
    let response = service.oneshot(put(Full::new(Bytes::from("all of it")))).await.unwrap();
    assert_eq!(response.headers()["attempt"], "2");
    let all = Ok(Bytes::from("all of it"));
    assert_eq!(*received.lock().unwrap(), [(1, all.clone()), (2, all)]);
}

/// The upload is the caller's, and says nothing about the dependency.
#[tokio::test(start_paused = true)]
async fn upload_in_progress_is_not_hedged() {
    let received = Received::default();
    let layer = HedgeLayer::http(fixed()).unwrap();
    let service = layer.layer(reader(&received, Duration::ZERO, &[100, 5]));
    let start = Instant::now();
    let response = service.oneshot(put(slow(10, millis(10)))).await.unwrap();
    assert_eq!(response.headers()["attempt"], "2");
    assert!((100..125).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let all = Ok(Bytes::from("xxxxxxxxxx"));
    assert_eq!(*received.lock().unwrap(), [(1, all.clone()), (2, all)]);
}

/// Attempts that read the record at the same time leave each other alone.
#[tokio::test(start_paused = true)]
async fn three_attempts_read_one_body_at_once() {
    let received = Received::default();
    let layer = HedgeLayer::http(HedgeConfig { max_attempts: 3, ..fixed() }).unwrap();
    let service = layer.layer(reader(&received, millis(12), &[500, 500, 5]));
    let piece = Bytes::from(vec![b'x'; 2000]);
    let pieces = [piece.clone(), piece].map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let chained = StreamBody::new(futures::stream::iter(pieces));
    let response = service.oneshot(put(chained)).await.unwrap();
    assert_eq!(response.headers()["attempt"], "3");
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|(_, body)| body.as_ref().is_ok_and(|body| body.len() == 4000)), "{received:?}");
}

#[tokio::test(start_paused = true)]
async fn request_that_is_not_idempotent_is_not_hedged() {
    for (request, attempts) in [
        (Request::post("http://callee.test/"), 1),
        (Request::post("http://callee.test/").header("idempotency-key", "7"), 2),
        (Request::get("http://callee.test/"), 2),
    ] {
        let received = Received::default();
        let layer = HedgeLayer::http(fixed()).unwrap();
        let service = layer.layer(reader(&received, Duration::ZERO, &[100, 100]));
        let request = request.body(Full::new(Bytes::from("order"))).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().headers()["attempt"], "1");
        assert_eq!(received.lock().unwrap().len(), attempts);
    }
}
