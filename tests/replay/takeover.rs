//! An attempt that was answered early still sends its body when the next attempt begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use seawall::http::ByMethod;
use seawall::retry::{Backoff, Jitter, Kept, Replay, RetryConfig, RetryLayer};
use tokio::sync::oneshot;
use tower::Layer;

use crate::server::Act::{Answer, Early};
use crate::server::Server;
use crate::upload::{Piece, Upload};
use crate::{BOTH, Protocol, call, client, config, eventually, request, retry};

#[tokio::test]
async fn next_attempt_takes_over_a_slow_upload() {
    for protocol in BOTH {
        let server = Server::new(&[Early(503, 6), Answer(200)]).await;
        let (gate, opened) = oneshot::channel();
        let upload = Upload::of(&["hello "]).with(Piece::Gate(opened)).with(Piece::Data("world".into()));
        let retry = retry().layer(client(protocol));
        let calling = tokio::spawn(call(retry, request(Method::PUT, server.address, upload)));
        // The rest comes after the second attempt has received the prefix.
        eventually("the prefix is replayed", || server.bodies() == ["hello ", "hello "]).await;
        gate.send(()).unwrap();
        let (answer, report) = calling.await.unwrap();
        assert_eq!((answer.unwrap().0, report.attempts), (200, 2), "{protocol:?}");
        assert_eq!(server.bodies(), ["hello ", "hello world"], "{protocol:?}");
        eventually("the first attempt is cut", || server.seen()[0].complete == Some(false)).await;
    }
}

#[tokio::test]
async fn failed_attempt_is_cut_before_the_backoff() {
    for protocol in BOTH {
        let server = Server::new(&[Early(503, 6), Answer(200)]).await;
        let (gate, opened) = oneshot::channel();
        let upload = Upload::of(&["hello "]).with(Piece::Gate(opened)).with(Piece::Data("world".into()));
        let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(Duration::from_secs(60)) };
        let retry = RetryLayer::http(RetryConfig { backoff, max_hold: Duration::from_secs(600), ..config() }).unwrap();
        let retry = retry.layer(client(protocol));
        let calling = tokio::spawn(call(retry, request(Method::PUT, server.address, upload)));
        eventually("the first attempt is cut", || server.seen().iter().any(|seen| seen.complete == Some(false))).await;
        if protocol == Protocol::Http1 {
            eventually("its connection is free", || server.open() == 0).await;
        }
        assert_eq!((server.seen().len(), calling.is_finished()), (1, false), "the next attempt is in its backoff");
        calling.abort();
        drop(gate);
    }
}

/// The response may come long before the upload ends. Then the library must not stop the upload.
#[tokio::test]
async fn upload_continues_after_an_early_success() {
    for protocol in BOTH {
        let server = Server::new(&[Early(200, 6)]).await;
        let (gate, opened) = oneshot::channel();
        let upload = Upload::of(&["hello "]).with(Piece::Gate(opened)).with(Piece::Data("world".into()));
        let client = client(protocol);
        let (answer, _) = call(retry().layer(client.clone()), request(Method::PUT, server.address, upload)).await;
        assert_eq!(answer.unwrap().0, 200);
        gate.send(()).unwrap();
        eventually("the upload is whole", || server.seen()[0].complete == Some(true)).await;
        assert_eq!(server.bodies(), ["hello world"], "{protocol:?}");
        drop(client);
    }
}

#[tokio::test]
async fn superseded_attempt_gets_an_error_and_releases_the_body() {
    for waits_between in [false, true] {
        let live = Arc::new(());
        let (gate, opened) = oneshot::channel();
        let upload = Upload::of(&["hello "]).with(Piece::Gate(opened)).with(Piece::Data("world".into()));
        let request = Request::put("/").body(upload.counted(&live)).unwrap();
        let (first, mut kept) = ByMethod::default().first(request);
        let mut first = first.into_body();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "hello ");
        let mut parked = tokio_test::task::spawn(first.frame());
        assert!(parked.poll().is_pending());

        let begin = if waits_between { Kept::give_up } else { |_: &mut _| {} };
        begin(&mut kept);
        assert_eq!(parked.is_woken(), waits_between);
        let second = kept.next().unwrap().into_body();
        assert!(parked.is_woken(), "otherwise its connection would stay open");
        let error = parked.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "attempt superseded: the next attempt uses the request body");
        assert!(first.frame().await.is_none());

        gate.send(()).unwrap();
        drop(kept);
        assert_eq!(second.collect().await.unwrap().to_bytes(), Bytes::from("hello world"));
        assert_eq!(Arc::strong_count(&live), 1, "while the first body still exists");
        drop(first);
    }
}

/// Frames are kept only while another attempt may follow.
#[tokio::test]
async fn frames_after_the_call_are_not_kept() {
    struct Counted(#[expect(dead_code, reason = "it is only there to be counted")] Arc<()>);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &[0; 2048]
        }
    }

    let live = Arc::new(());
    let frames: Vec<_> = (0..4).map(|_| Piece::Data(Bytes::from_owner(Counted(Arc::clone(&live))))).collect();
    let (request, kept) = ByMethod::default().first(Request::put("/").body(Upload::new(frames)).unwrap());
    let mut body = request.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&live), 5, "the first frame is sent, and kept");
    drop(kept);
    body.frame().await.unwrap().unwrap();
    assert_eq!(Arc::strong_count(&live), 3, "two frames are to come");
}
