//! Requests with bodies: each attempt sends all of it, and a body that is still being sent is not taken away.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use seawall::http::{Idempotent, ReplayBody};
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
) -> impl Service<Request<ReplayBody<B>>, Response = Response<String>, Error = BoxError, Future: Send + 'static>
+ Clone
+ use<B>
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

/// A request that may be hedged.
fn put<B>(body: B) -> Request<B> {
    Request::put("http://callee.test/").extension(Idempotent(true)).body(body).unwrap()
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

/// The same with gRPC's rules.
#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn upload_in_progress_of_a_grpc_call_is_waited_for() {
    let received = Received::default();
    let layer = HedgeLayer::http(fixed()).unwrap().with_replay(seawall::grpc::ByCall::default());
    let service = layer.layer(reader(&received, Duration::ZERO, &[100, 5]));
    assert_eq!(service.oneshot(put(slow(10, millis(10)))).await.unwrap().headers()["attempt"], "2");
    let all = Ok(Bytes::from("xxxxxxxxxx"));
    assert_eq!(*received.lock().unwrap(), [(1, all.clone()), (2, all)]);
}

/// A service that reads the request in another task, as a connection does, and answers attempts after these times.
fn connection<B>(
    received: &Received,
    times: &'static [u64],
) -> impl Service<Request<ReplayBody<B>>, Response = Response<String>, Error = BoxError, Future: Send + 'static>
+ Clone
+ use<B>
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let reader = reader(received, Duration::ZERO, times);
    service_fn(move |request: Request<ReplayBody<B>>| {
        let call = context::carry(reader.clone().call(request));
        async move { tokio::spawn(call).await? }
    })
}

/// The delay is time of the dependency. It begins after the upload.
#[tokio::test(start_paused = true)]
async fn upload_time_is_no_part_of_the_delay() {
    for (answers_after, attempts) in [(7, 1), (100, 2)] {
        let received = Received::default();
        let layer = HedgeLayer::http(fixed()).unwrap();
        let times: &[u64] = Box::leak(Box::new([answers_after, 5]));
        let service = layer.layer(connection(&received, times));
        let start = Instant::now();
        let response = service.oneshot(put(slow(5, millis(5)))).await.unwrap();
        assert_eq!(response.headers()["attempt"], attempts.to_string());
        assert_eq!(received.lock().unwrap().len(), attempts);
        let took = start.elapsed().as_millis();
        assert!((31..=46).contains(&took), "{took}");
    }
}

/// The end of the upload wakes the call. Without that, a short delay would wake it each millisecond.
#[tokio::test(start_paused = true)]
async fn upload_in_progress_is_waited_for_without_polls() {
    for delay in [Duration::ZERO, millis(1), DELAY] {
        let received = Received::default();
        let layer = HedgeLayer::http(HedgeConfig { delay: HedgeDelay::Fixed(delay), ..fixed() }).unwrap();
        let service = layer.layer(connection(&received, &[100, 5]));
        let start = Instant::now();
        let (mut call, mut polls) = (Box::pin(service.oneshot(put(slow(1, SECOND)))), 0);
        let response = std::future::poll_fn(|cx| {
            polls += 1;
            call.as_mut().poll(cx)
        });
        assert_eq!(response.await.unwrap().headers()["attempt"], "2");
        assert!(polls <= 10, "{polls} polls with a delay of {delay:?}");
        let took = start.elapsed() - SECOND - delay;
        assert!((5..=15).contains(&took.as_millis()), "{took:?} with a delay of {delay:?}");
    }
}

/// A request whose body the caller's own task reads wakes the call at each piece, and at no other time.
#[tokio::test(start_paused = true)]
async fn upload_in_the_task_of_the_call_is_polled_by_piece() {
    let received = Received::default();
    let service = HedgeLayer::http(fixed()).unwrap().layer(reader(&received, Duration::ZERO, &[100, 5]));
    let (mut call, mut polls) = (Box::pin(service.oneshot(put(slow(5, millis(50))))), 0);
    let response = std::future::poll_fn(|cx| {
        polls += 1;
        assert!(polls <= 30, "{polls} polls");
        call.as_mut().poll(cx)
    });
    assert_eq!(response.await.unwrap().headers()["attempt"], "2");
}

/// The hedge that waits for such an upload is given up as soon as the bound is exceeded, and the upload goes on.
#[tokio::test(start_paused = true)]
async fn upload_that_is_too_long_to_keep_is_not_hedged() {
    let received = Received::default();
    let service = HedgeLayer::http(fixed()).unwrap().layer(connection(&received, &[100]));
    let piece = Bytes::from(vec![b'x'; 40 * 1024]);
    let pieces = futures::stream::iter(vec![piece; 3]);
    let body = StreamBody::new(pieces.then(|piece| async {
        sleep(millis(20)).await;
        Ok::<_, Infallible>(Frame::data(piece))
    }));
    let (mut call, mut polls) = (Box::pin(service.oneshot(put(body))), 0);
    let response = std::future::poll_fn(|cx| {
        polls += 1;
        call.as_mut().poll(cx)
    });
    assert_eq!(response.await.unwrap().headers()["attempt"], "1");
    assert!(polls <= 10, "{polls} polls");
    let received = received.lock().unwrap();
    assert!(matches!(&received[..], [(1, Ok(body))] if body.len() == 120 * 1024), "{received:?}");
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
async fn only_request_that_may_run_beside_itself_is_hedged() {
    for (request, attempts) in [
        (Request::post("http://callee.test/"), 1),
        (Request::post("http://callee.test/").header("idempotency-key", "7"), 1),
        (Request::put("http://callee.test/"), 1),
        (Request::delete("http://callee.test/"), 1),
        (Request::get("http://callee.test/").extension(Idempotent(false)), 1),
        (Request::get("http://callee.test/"), 2),
        (Request::head("http://callee.test/"), 2),
        (Request::put("http://callee.test/").extension(Idempotent(true)), 2),
    ] {
        let received = Received::default();
        let layer = HedgeLayer::http(fixed()).unwrap();
        let service = layer.layer(reader(&received, Duration::ZERO, &[100, 100]));
        let request = request.body(Full::new(Bytes::from("order"))).unwrap();
        assert_eq!(service.oneshot(request).await.unwrap().headers()["attempt"], "1");
        assert_eq!(received.lock().unwrap().len(), attempts);
    }
}

/// What does not run beside itself is sent again after a failure.
#[tokio::test(start_paused = true)]
async fn request_that_is_not_hedged_follows_a_failure() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let begun = Arc::clone(&attempts);
    let layer = HedgeLayer::http(fixed()).unwrap();
    let service = layer.layer(service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| {
        let failed = begun.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            sleep(5 * DELAY).await;
            let response = Response::builder().status(if failed { 503 } else { 200 });
            Ok::<_, BoxError>(response.body(String::new())?)
        }
    }));
    let (start, put) = (Instant::now(), Request::put("http://callee.test/").body(Full::default()).unwrap());
    assert_eq!(service.oneshot(put).await.unwrap().status(), 200);
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    assert!(start.elapsed() >= 10 * DELAY, "one after the other: {:?}", start.elapsed());
}
