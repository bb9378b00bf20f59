//! Each attempt receives the whole body, or the request is not retried.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{Method, Request};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use seawall::http::ByMethod;
use seawall::retry::{Kept, Replay, Stop};
use seawall::verdict::Verdict;
use tower::Layer;

use crate::server::Act::{Answer, Die};
use crate::server::Server;
use crate::upload::{Piece, Upload};
use crate::{BOTH, Protocol, call, client, request, retry};

const EVERYTHING: usize = usize::MAX;

#[tokio::test]
async fn streamed_upload_is_replayed_with_its_trailers() {
    for protocol in BOTH {
        let server = Server::new(&[Answer(503), Die(EVERYTHING), Answer(200)]).await;
        let large = "x".repeat(20_000);
        let upload = Upload::of(&["a ", "", "few ", "small ones, "])
            .with(Piece::Data(large.clone().into()))
            .with(Piece::Pause)
            .with(Piece::Data(" and the rest".into()))
            .with_trailer("x-checksum", "7");
        let mut request = request(Method::PUT, server.address, upload);
        // HTTP/1.1 sends only trailers that were announced.
        request.headers_mut().insert(TRAILER, "x-checksum".parse().unwrap());

        let (answer, report) = call(retry().layer(client(protocol)), request).await;
        assert_eq!(answer.unwrap(), (200, Bytes::from("answered 200")), "{protocol:?}");
        let verdicts = [Verdict::Transient, Verdict::Lost, Verdict::Success];
        assert_eq!(report.verdicts, verdicts, "{protocol:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        for attempt in seen {
            let sent = format!("a few small ones, {large} and the rest");
            assert_eq!((attempt.method.as_str(), attempt.complete), ("PUT", Some(true)), "{protocol:?}");
            assert!(attempt.body == sent.as_bytes(), "{protocol:?}");
            assert_eq!(attempt.trailers.unwrap()["x-checksum"], "7", "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn each_attempt_has_the_known_length() {
    for protocol in BOTH {
        let server = Server::new(&[Answer(500), Die(3), Answer(200)]).await;
        let upload = Upload::of(&["hello ", "world"]).exact();
        let (answer, _) = call(retry().layer(client(protocol)), request(Method::PUT, server.address, upload)).await;
        assert_eq!(answer.unwrap().0, 200);
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        for attempt in seen {
            assert_eq!(attempt.headers[CONTENT_LENGTH], "11", "{protocol:?}");
            assert!(!attempt.headers.contains_key(TRANSFER_ENCODING), "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn request_without_a_body_is_replayed_without() {
    for protocol in BOTH {
        let server = Server::new(&[Answer(503), Answer(200)]).await;
        let request = request(Method::GET, server.address, Empty::<Bytes>::new());
        let (answer, _) = call(retry().layer(client(protocol)), request).await;
        assert_eq!(answer.unwrap().0, 200);
        let seen = server.seen();
        assert_eq!(seen.len(), 2);
        for attempt in seen {
            assert!(!attempt.headers.contains_key(CONTENT_LENGTH) && !attempt.headers.contains_key(TRANSFER_ENCODING));
            assert!(attempt.body.is_empty());
        }
    }
}

#[tokio::test]
async fn upload_over_the_bound_is_sent_once() {
    for (bound, attempts) in [(0, 1), (10, 1), (11, 3), (1000, 3)] {
        let server = Server::new(&[Answer(503)]).await;
        let retry = retry().with_replay(ByMethod::default().with_max_body(bound));
        let upload = Upload::of(&["hello", " ", "world"]);
        let (answer, report) =
            call(retry.layer(client(Protocol::Http1)), request(Method::PUT, server.address, upload)).await;
        assert_eq!(answer.unwrap(), (503, Bytes::from("answered 503")), "{bound}");
        assert_eq!(server.bodies(), vec!["hello world"; attempts], "{bound}");
        assert_eq!(report.stopped, if attempts == 1 { Stop::NotRepeatable } else { Stop::Attempts }, "{bound}");
    }
}

/// The bound applies to what must be kept; the last attempt needs no copy.
#[tokio::test]
async fn upload_over_the_bound_is_retried_if_a_prefix_was_read() {
    for protocol in BOTH {
        let server = Server::new(&[Die(2), Answer(200)]).await;
        // The connection dies before the rest is polled.
        let (gate, opened) = tokio::sync::oneshot::channel();
        let upload = Upload::of(&["start "]).with(Piece::Gate(opened)).with(Piece::Data("x".repeat(100_000).into()));
        let watched = server.clone();
        let opener = tokio::spawn(async move {
            crate::eventually("the second attempt begins", || watched.seen().len() == 2).await;
            gate.send(()).expect("someone waits");
        });
        let (answer, report) =
            call(retry().layer(client(protocol)), request(Method::PUT, server.address, upload)).await;
        opener.await.unwrap();
        assert_eq!((answer.unwrap().0, report.attempts), (200, 2), "{protocol:?}");
        assert_eq!(server.seen()[1].body.len(), 100_006, "{protocol:?}");
    }
}

#[tokio::test]
async fn failed_upload_is_not_retried_and_is_a_caller_fault() {
    let server = Server::new(&[Answer(200)]).await;
    let upload = Upload::of(&["hello"]).with(Piece::Pause).with(Piece::Error);
    let (answer, report) =
        call(retry().layer(client(Protocol::Http1)), request(Method::PUT, server.address, upload)).await;
    let error = answer.unwrap_err();
    let causes: Vec<String> = std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    assert!(causes.contains(&"the disk is gone".to_owned()), "{causes:?}");
    assert_eq!((report.verdicts, report.stopped), (vec![Verdict::Ignored], Stop::Verdict));
}

#[tokio::test]
async fn end_comes_with_the_last_frame_in_each_attempt() {
    let upload = Upload::of(&["one", "two"]).exact();
    let (first, mut kept) = ByMethod::default().first(Request::put("/").body(upload).unwrap());
    let mut first = first.into_body();
    for (frame, over) in [("one", false), ("two", true)] {
        assert!(!first.is_end_stream());
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), frame);
        assert_eq!(first.is_end_stream(), over);
    }
    for _ in 0..2 {
        let mut further = kept.next().unwrap().into_body();
        assert!(!further.is_end_stream());
        assert_eq!(further.frame().await.unwrap().unwrap().into_data().unwrap(), "onetwo");
        assert!(further.is_end_stream());
    }
}
