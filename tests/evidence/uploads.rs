//! A caller sends its request slowly. The dependency cannot answer an incomplete request, so the wait is no sample and
//! no hang.

use std::pin::Pin;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::{self, Stream};
use http_body::Frame;
use http_body_util::StreamBody;
use seawall::circuit_breaker::State;
use tokio::time::sleep;

use super::*;

type Pieces = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BoxError>> + Send>>>;

/// Two frames with this pause between them.
fn body(pause: Duration) -> Pieces {
    let pieces = stream::iter([Duration::ZERO, pause]).then(|pause| async move {
        sleep(pause).await;
        Ok(Frame::data(Bytes::from_static(b"piece")))
    });
    StreamBody::new(Box::pin(pieces))
}

fn post(to: SocketAddr, pause: Duration) -> Request<Pieces> {
    Request::post(format!("http://{to}/")).body(body(pause)).unwrap()
}

/// Reads requests to their end, and answers at once.
fn reads() -> Router {
    Router::new().fallback(|body: Bytes| async move { body.len().to_string() })
}

async fn slow_uploads_open_nothing(http2: bool, to: SocketAddr) {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let http = legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build(Connector);
    let client = layers.service(http);
    let send = |pause| {
        let (client, request) = (client.clone(), post(to, pause));
        async move { client.oneshot(request).await.unwrap().status() }
    };
    // One after another, so that the usual time is known and the slow threshold is at its minimum of half a second.
    for _ in 0..20 {
        assert_eq!(send(Duration::ZERO).await, 200);
    }
    let uploads = join_all((0..30).map(|_| send(1500 * MS)));
    let others = async {
        // The uploads pause for three times the slow threshold; other calls must not be affected meanwhile.
        for _ in 0..14 {
            sleep(100 * MS).await;
            assert_eq!(send(Duration::ZERO).await, 200, "{:?}", layers.circuit_breaker().snapshot());
            assert_eq!(layers.circuit_breaker().snapshot().overdue, 0);
        }
    };
    let (statuses, ()) = futures::join!(uploads, others);
    assert!(statuses.iter().all(|status| *status == 200));
    let seen = layers.circuit_breaker().snapshot();
    assert_eq!((seen.state, seen.slow, seen.in_flight), (State::Closed, 0, 0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn slow_uploads_open_nothing_over_http1() {
    slow_uploads_open_nothing(false, serve(reads())).await;
}

#[tokio::test(start_paused = true)]
async fn slow_uploads_open_nothing_over_http2() {
    slow_uploads_open_nothing(true, serve(reads())).await;
}

/// The body of a request fails because its producer, the client of a server that passes uploads on, has hung up.
async fn failing_uploads_open_nothing(http2: bool) {
    let to = serve(reads());
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let http = legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build(Connector);
    let client = layers.service(http);
    for _ in 0..60 {
        let pieces = stream::iter([Ok(Frame::data(Bytes::from_static(b"piece"))), Err("hung up".into())]);
        let pieces: Pieces = StreamBody::new(Box::pin(pieces.then(|piece| async move {
            sleep(10 * MS).await;
            piece
        })));
        let request = Request::post(format!("http://{to}/")).body(pieces).unwrap();
        assert!(client.clone().oneshot(request).await.is_err());
    }
    let seen = layers.circuit_breaker().snapshot();
    assert_eq!((seen.state, seen.failures, seen.in_flight), (State::Closed, 0, 0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn failing_uploads_open_nothing_over_http1() {
    failing_uploads_open_nothing(false).await;
}

#[tokio::test(start_paused = true)]
async fn failing_uploads_open_nothing_over_http2() {
    failing_uploads_open_nothing(true).await;
}

#[tokio::test(start_paused = true)]
async fn proxied_slow_uploads_open_nothing() {
    let to = serve(reads());
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let client = layers.service(legacy::Client::builder(TokioExecutor::new()).build(Connector));
    let proxy = serve(Router::new().fallback(move |request: axum::extract::Request| {
        let client = client.clone();
        async move {
            let request = Request::post(format!("http://{to}/")).body(request.into_body()).unwrap();
            client.oneshot(request).await.unwrap().status()
        }
    }));
    let direct = legacy::Client::builder(TokioExecutor::new()).build(Connector);
    let send = |pause| {
        let call = direct.request(post(proxy, pause));
        async move { call.await.unwrap().status() }
    };
    for _ in 0..20 {
        assert_eq!(send(Duration::ZERO).await, 200);
    }
    assert!(join_all((0..30).map(|_| send(1200 * MS))).await.iter().all(|status| *status == 200));
    let seen = layers.circuit_breaker().snapshot();
    assert_eq!((seen.state, seen.slow, seen.in_flight), (State::Closed, 0, 0), "{seen:?}");
}

/// A dependency that does not answer a complete request hangs, however slowly the request was sent.
#[tokio::test(start_paused = true)]
async fn hang_after_a_slow_upload_is_detected() {
    let hangs = Router::new().fallback(|body: Bytes| async move {
        if body.len() > 5 {
            std::future::pending::<()>().await;
        }
    });
    // Without a server stack it ignores the propagated deadline.
    let to = pipes::serve(hangs);
    let config = ClientConfig { deadline: (2 * SECOND).into(), ..ClientConfig::default() };
    let layers = stack::client(&config).unwrap();
    let client = layers.service(legacy::Client::builder(TokioExecutor::new()).build(Connector));
    let calls = join_all((0..30).map(|_| client.clone().oneshot(post(to, 200 * MS)))).await;
    let answers: Vec<_> = calls.iter().map(|answer| answer.as_ref().map(|answer| answer.status())).collect();
    assert!(answers.iter().all(|answer| answer.is_err()), "{answers:?}");
    assert_ne!(layers.circuit_breaker().state(), State::Closed);
}
