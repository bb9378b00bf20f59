//! A reader sees what it would see without any layer: lengths, ends, trailers.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{BoxError, ServiceExt};

use crate::client::{Settings, Stack, until};
use crate::pipes::{PipeListener, connect};
use crate::servers::{Answer, Protocol, Rest, Server};

both_protocols!(
    known_length_is_known_to_the_reader,
    proxy_sends_the_length_and_no_chunks,
    empty_body_is_at_its_end_at_once,
    reader_sees_trailers,
    proxy_passes_trailers_on,
);

fn stack(protocol: Protocol) -> Stack {
    Stack::new(protocol, Settings::lasting(Duration::from_secs(5)))
}

async fn known_length_is_known_to_the_reader(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Whole(vec![b'x'; 100_000].into())).await;
    let mut body = stack(protocol).get(&server).await.unwrap().into_body();
    let mut left = 100_000;
    assert_eq!(body.size_hint().exact(), Some(left));
    while let Some(frame) = body.frame().await {
        left -= frame.unwrap().into_data().unwrap().len() as u64;
        assert_eq!(body.size_hint().exact(), Some(left));
    }
    assert!(left == 0 && body.is_end_stream());
}

/// The bytes that a proxy made of the stack sends to its client.
async fn through_a_proxy(stack: Stack, server: &Server) -> String {
    let mut listener = PipeListener::bind();
    let proxy = listener.address();
    let uri = server.uri();
    let serving = async move {
        let stream = listener.accept().await;
        let service = service_fn(move |_| {
            let (calls, uri) = (stack.calls.clone(), uri.clone());
            async move {
                let mut response = calls.oneshot(Request::get(uri).body(Empty::new()).unwrap()).await?;
                // hyper derives the length by itself.
                response.headers_mut().remove("content-length");
                response.headers_mut().remove("transfer-encoding");
                Ok::<_, BoxError>(response)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new();
        connection.serve_connection(TokioIo::new(stream), service).await
    };
    let asking = async {
        let mut stream = connect(proxy, |_| Ok(())).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: proxy\r\nte: trailers\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut wire = String::new();
        stream.read_to_string(&mut wire).await.unwrap();
        wire
    };
    let (served, wire) = futures::join!(serving, asking);
    served.unwrap();
    wire
}

async fn proxy_sends_the_length_and_no_chunks(protocol: Protocol) {
    for (text, line) in [("well", "content-length: 4"), ("", "content-length: 0")] {
        let server = Server::answering(protocol, Rest::Whole(text.into())).await;
        let wire = through_a_proxy(stack(protocol), &server).await;
        assert!(
            wire.contains(line) && !wire.contains("chunked") && wire.ends_with(&format!("\r\n\r\n{text}")),
            "{wire}"
        );
    }
    // A failure after three attempts keeps its length too.
    let server = Server::scripted(protocol, |_| Answer::whole("broken").with_status(500)).await;
    let wire = through_a_proxy(stack(protocol), &server).await;
    assert!(wire.contains("content-length: 6") && !wire.contains("chunked") && wire.ends_with("broken"), "{wire}");
    assert_eq!(server.census.requests(), 3);
}

async fn empty_body_is_at_its_end_at_once(protocol: Protocol) {
    for status in [200, 204, 304, 404, 500] {
        let server = Server::scripted(protocol, move |_| Answer::whole("").with_status(status)).await;
        let stack = stack(protocol);
        let response = stack.get(&server).await.unwrap();
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
        assert!(response.body().is_end_stream(), "{status}");
        assert_eq!(response.body().size_hint().exact(), Some(0), "{status}");
        assert_eq!(stack.bulkhead.in_flight(), 0, "an unread empty body holds no permit: {status}");
    }
}

fn with_trailers() -> Rest {
    Rest::Trailers("well".into(), ("x-checksum", "17"))
}

async fn reader_sees_trailers(protocol: Protocol) {
    let server = Server::answering(protocol, with_trailers()).await;
    let stack = stack(protocol);
    let response: Response<_> = stack.get(&server).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().and_then(|trailers| trailers.get("x-checksum")).unwrap(), "17");
    assert_eq!(collected.to_bytes(), Bytes::from("well"));
    until(|| stack.bulkhead.in_flight() == 0).await;
}

async fn proxy_passes_trailers_on(protocol: Protocol) {
    // hyper sends only trailers that the head announced.
    let server = Server::scripted(protocol, |_| Answer::of(with_trailers()).with_header("trailer", "x-checksum")).await;
    let wire = through_a_proxy(stack(protocol), &server).await;
    assert!(wire.contains("chunked") && wire.contains("\r\n0\r\nx-checksum: 17\r\n"), "{wire}");
}
