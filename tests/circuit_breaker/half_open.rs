//! No kind of call keeps a breaker half-open for longer than the slow threshold.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use seawall::http::{LongLived, ReplayBody};

use super::*;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// An HTTP client whose dependency answers with this status and, for 200 to 299, an endless stream if `streams`.
fn http(
    layer: CircuitBreakerLayer<seawall::http::ByStatus>,
) -> impl Service<
    Request<(u16, bool)>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = impl std::fmt::Debug> + Unpin>,
    Error = BoxError,
> + Clone {
    layer.layer(service_fn(|request: Request<(u16, bool)>| async move {
        let (status, streams) = *request.body();
        let frames = futures::stream::unfold((), |()| async {
            sleep(SECOND).await;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"."))), ()))
        });
        let body: Body = if streams {
            StreamBody::new(frames).boxed_unsync()
        } else {
            Empty::new().map_err(BoxError::from).boxed_unsync()
        };
        let response = Response::builder().status(status).extension(LongLived::new(3600 * SECOND)).body(body);
        Ok::<_, BoxError>(response.unwrap())
    }))
}

fn opened() -> CircuitBreakerLayer<seawall::http::ByStatus> {
    CircuitBreakerLayer::http(CircuitBreakerConfig { jitter: 0.0, ..Default::default() }).expect("valid")
}

#[tokio::test(start_paused = true)]
async fn streaming_probe_refuses_no_later_calls() {
    for read in [true, false] {
        let layer = opened();
        let client = http(layer.clone());
        for _ in 0..10 {
            let _ = client.clone().oneshot(Request::new((500, false))).await;
        }
        assert_eq!(layer.handle().state(), State::Open);
        sleep(2 * SECOND).await;
        let stream = client.clone().oneshot(Request::new((200, true))).await.expect("the probe");
        let reader = tokio::spawn(async move {
            let mut body = pin!(stream.into_body());
            while read && body.frame().await.is_some() {}
            pending::<()>().await;
        });
        let mut refused = 0;
        for _ in 0..60 {
            sleep(SECOND).await;
            refused += u32::from(client.clone().oneshot(Request::new((200, false))).await.is_err());
        }
        assert!(refused <= 1, "{refused} of 60, read: {read}");
        assert_eq!(layer.handle().state(), State::Closed);
        reader.abort();
    }
}

/// All calls are streams: each round of probes counts as answered after the slow threshold.
#[tokio::test(start_paused = true)]
async fn streaming_probes_close_it() {
    let layer = opened();
    let client = http(layer.clone());
    for _ in 0..10 {
        let _ = client.clone().oneshot(Request::new((500, false))).await;
    }
    sleep(SECOND).await;
    let (start, mut streams) = (Instant::now(), Vec::new());
    while layer.handle().state() != State::Closed {
        streams.extend(client.clone().oneshot(Request::new((200, true))).await.ok());
        sleep(10 * MS).await;
        assert!(start.elapsed() < 10 * SECOND, "{:?}", layer.handle().snapshot());
    }
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
}

/// A failed head is a failure, even if the body is never read.
#[tokio::test(start_paused = true)]
async fn unread_failures_do_not_close_it() {
    let layer = opened();
    let client = http(layer.clone());
    for _ in 0..10 {
        let _ = client.clone().oneshot(Request::new((500, false))).await;
    }
    sleep(SECOND).await;
    let mut kept = Vec::new();
    for _ in 0..1000 {
        kept.extend(client.clone().oneshot(Request::new((500, true))).await.ok());
        sleep(10 * MS).await;
        assert_ne!(layer.handle().state(), State::Closed);
    }
    assert!(kept.len() < 40, "{} probes in ten seconds", kept.len());
}

/// Futures that were created and never polled, or leaked.
#[tokio::test(start_paused = true)]
async fn unpolled_probes_hold_no_slot() {
    for leak in [false, true] {
        let layer = quick();
        let handle = layer.handle();
        let mut service = layer.layer(service_fn(callee));
        for _ in 0..3 {
            let _ = call(&service, FAILS).await;
        }
        sleep(SECOND).await;
        let parked = service.ready().await.unwrap().call(OK);
        if leak {
            std::mem::forget(parked);
        } else {
            tokio::spawn(async move {
                sleep(3600 * SECOND).await;
                drop(parked);
            });
        }
        assert!(call(&service, OK).await.is_err(), "the slot is in use");
        sleep(500 * MS).await;
        for _ in 0..15 {
            assert_eq!(call(&service, OK).await, Ok(0));
        }
        assert_eq!(handle.state(), State::Closed);
    }
}

/// A leaked probe that was polled is indistinguishable from one that hangs.
#[tokio::test(start_paused = true)]
async fn leaked_probe_releases_its_slot_after_slow_threshold() {
    let layer = quick();
    let service = layer.layer(service_fn(callee));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
    }
    sleep(SECOND).await;
    let mut probe = Box::pin(service.clone().oneshot(HANGS));
    assert!(poll_once(probe.as_mut()).is_pending());
    std::mem::forget(probe);
    sleep(500 * MS).await;
    for _ in 0..15 {
        assert_eq!(call(&service, OK).await, Ok(0));
    }
    assert_eq!(layer.handle().state(), State::Closed);
}

/// Calls with milliseconds left would take all the probes, and leave no time for an answer.
#[tokio::test(start_paused = true)]
async fn calls_with_short_deadlines_do_not_delay_recovery() {
    let layer = layer(CircuitBreakerConfig::default());
    let down = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let dependency = {
        let down = Arc::clone(&down);
        service_fn(move |millis: u64| {
            let fails = down.load(Ordering::Relaxed);
            async move {
                sleep(Duration::from_millis(millis)).await;
                if fails { Err(BoxError::from("down")) } else { Ok(millis) }
            }
        })
    };
    let service = layer.layer(dependency);
    let with_time = |millis| DeadlineLayer::new(Duration::from_millis(millis)).unwrap().layer(service.clone());
    for millis in 1..=45 {
        let hurried = with_time(millis);
        tokio::spawn(async move {
            sleep(5 * millis as u32 * MS).await;
            loop {
                tokio::spawn(hurried.clone().oneshot(50));
                sleep(225 * MS).await;
            }
        });
    }
    let patient = with_time(2000);
    for _ in 0..400 {
        let _ = patient.clone().oneshot(50).await;
        sleep(20 * MS).await;
    }
    assert_ne!(layer.handle().state(), State::Closed);
    down.store(false, Ordering::Relaxed);
    let mut served = 0;
    for _ in 0..1000 {
        served += u32::from(patient.clone().oneshot(50).await.is_ok());
        sleep(20 * MS).await;
    }
    assert!(served > 800, "{served} of 1000");
}

/// If all calls have short deadlines, they are the probes, and the breaker closes.
#[tokio::test(start_paused = true)]
async fn breaker_recovers_on_calls_with_short_deadlines_alone() {
    let layer = quick();
    let hurried = DeadlineLayer::new(45 * MS).unwrap().layer(layer.layer(service_fn(callee)));
    for _ in 0..3 {
        let _ = call(&hurried, FAILS).await;
    }
    assert_eq!(layer.handle().state(), State::Open);
    sleep(SECOND).await;
    for _ in 0..15 {
        assert!(call(&hurried, 20).await.is_ok());
    }
    assert_eq!(layer.handle().state(), State::Closed);
}

/// An HTTP client whose dependency reads each request to its end and answers with the status that the path names. Its
/// breaker is half-open: the next call is a probe.
async fn half_open_uploads() -> (
    CircuitBreakerLayer<seawall::http::ByStatus>,
    impl Service<Request<Channel<Bytes>>, Response = Response<impl Sized>, Error = BoxError, Future: Send> + Clone + Send,
) {
    let layer = opened();
    let dependency = service_fn(|request: Request<ReplayBody<Channel<Bytes>>>| async move {
        let status = if request.uri().path() == "/down" { 500 } else { 200 };
        let _ = request.into_body().collect().await;
        Ok::<_, BoxError>(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
    });
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::http(300 * SECOND).unwrap())
        .layer(RetryLayer::http(RetryConfig { max_attempts: 1, ..Default::default() }).unwrap())
        .layer(layer.clone())
        .service(dependency);
    for _ in 0..10 {
        let _ = client.clone().oneshot(empty("/down")).await;
    }
    assert_eq!(layer.handle().state(), State::Open);
    sleep(2 * SECOND).await;
    (layer, client)
}

pub(super) fn post(path: &str) -> (Request<Channel<Bytes>>, Sender<Bytes>) {
    let (sender, body) = Channel::new(8);
    (Request::post(path).body(body).unwrap(), sender)
}

pub(super) fn empty(path: &str) -> Request<Channel<Bytes>> {
    let (request, _sender) = post(path);
    request
}

/// A byte now and then.
#[tokio::test(start_paused = true)]
async fn trickling_upload_probe_refuses_no_later_calls() {
    for pause in [100 * MS, 400 * MS, 700 * MS] {
        let (layer, client) = half_open_uploads().await;
        let (request, mut sender) = post("/");
        let probe = tokio::spawn(client.clone().oneshot(request));
        let trickle = tokio::spawn(async move {
            let end = Instant::now() + 60 * SECOND;
            while Instant::now() < end {
                sleep(pause).await;
                sender.send_data(Bytes::from_static(b".")).await.expect("the dependency reads");
            }
        });
        let mut refused = 0;
        for _ in 0..60 {
            sleep(SECOND).await;
            refused += u32::from(client.clone().oneshot(empty("/")).await.is_err());
        }
        // The first byte may come late, and the slow threshold starts with it.
        assert!(refused <= 1, "{refused} of 60, a byte each {pause:?}");
        assert_eq!(layer.handle().state(), State::Closed);
        trickle.await.unwrap();
        assert!(probe.await.unwrap().is_ok());
    }
}

/// The dependency has nothing to answer yet: that is no hang, whether the uploads go on or are dropped.
#[tokio::test(start_paused = true)]
async fn stalled_uploads_as_probes_do_not_open_it() {
    for given_up in [false, true] {
        let (layer, client) = half_open_uploads().await;
        let mut senders = Vec::new();
        for _ in 0..20 {
            let (request, sender) = post("/");
            let probe = tokio::spawn(client.clone().oneshot(request));
            senders.push(sender);
            sleep(1100 * MS).await;
            assert_eq!(layer.handle().state(), State::HalfOpen, "given up: {given_up}");
            if given_up {
                probe.abort();
            }
        }
        for _ in 0..15 {
            assert!(client.clone().oneshot(empty("/")).await.is_ok(), "given up: {given_up}");
        }
        assert_eq!(layer.handle().state(), State::Closed);
    }
}

/// Once all of a stalled upload has been sent, its answer is awaited.
#[tokio::test(start_paused = true)]
async fn resumed_upload_is_answered_and_counted() {
    let (layer, client) = half_open_uploads().await;
    let mut probes = Vec::new();
    for _ in 0..15 {
        let (request, sender) = post("/");
        probes.push((tokio::spawn(client.clone().oneshot(request)), sender));
        sleep(SECOND).await;
    }
    for (probe, sender) in probes {
        drop(sender);
        assert!(probe.await.unwrap().is_ok());
    }
    assert_eq!(layer.handle().state(), State::Closed);
}
