//! An idempotent request is retried; another request only if it was never sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seawall::http::{ByMethod, Idempotent, ReplayBody};
use seawall::retry::{Kept, Replay, Stop};
use seawall::verdict::Verdict;
use tokio::net::TcpStream;
use tower::{Layer, Service, service_fn};

use crate::server::Act::{self, Answer, Die};
use crate::server::Server;
use crate::upload::Upload;
use crate::{BOTH, Protocol, call, client, not_listening, request, retry, unused_address};

async fn attempts(script: &'static [Act], mut request: Request<Upload>) -> usize {
    let server = Server::new(script).await;
    *request.uri_mut() = format!("http://{}/", server.address).parse().unwrap();
    let _ = call(retry().layer(client(Protocol::Http1)), request).await;
    server.seen().len()
}

fn post() -> Request<Upload> {
    Request::post("/").body(Upload::of(&["pay"])).unwrap()
}

#[tokio::test]
async fn post_is_sent_once() {
    for script in [&[Answer(503)][..], &[Answer(500)], &[Die(0)], &[Die(3)], &[Die(usize::MAX)]] {
        assert_eq!(attempts(script, post()).await, 1, "{script:?}");
    }
}

#[tokio::test]
async fn idempotency_can_be_set_per_request() {
    let mut keyed = post();
    keyed.headers_mut().insert("idempotency-key", "7".parse().unwrap());
    assert_eq!(attempts(&[Answer(503)], keyed).await, 3);
    let mut marked = post();
    marked.extensions_mut().insert(Idempotent(true));
    assert_eq!(attempts(&[Answer(503)], marked).await, 3);
    let mut ticket = Request::get("/").body(Upload::default()).unwrap();
    ticket.extensions_mut().insert(Idempotent(false));
    assert_eq!(attempts(&[Answer(503)], ticket).await, 1);
}

#[tokio::test]
async fn lost_request_is_retried_once() {
    let put = || Request::put("/").body(Upload::of(&["state"])).unwrap();
    assert_eq!(attempts(&[Die(usize::MAX)], put()).await, 2);
    assert_eq!(attempts(&[Die(1), Answer(200)], put()).await, 2);
}

/// A server that listens from the second attempt on.
async fn late_server(request: Request<Upload>, protocol: Protocol) -> (Server, u16, Vec<Verdict>) {
    let (socket, address) = not_listening();
    let socket = Arc::new(Mutex::new(Some(socket)));
    let server = Arc::new(Mutex::new(None));
    let late = Arc::clone(&server);
    let client = client(protocol);
    let inner = service_fn(move |request: Request<ReplayBody<Upload>>| {
        let (late, socket, mut client) = (Arc::clone(&late), Arc::clone(&socket), client.clone());
        async move {
            if seawall::context::attempt() == 2 {
                let listener = socket.lock().unwrap().take().expect("one second attempt").listen(8).unwrap();
                *late.lock().unwrap() = Some(Server::on(listener, &[Answer(200)]));
            }
            client.call(request).await
        }
    });
    let mut request = request;
    *request.uri_mut() = format!("http://{address}/").parse().unwrap();
    let (answer, report) = call(retry().layer(inner), request).await;
    let server = server.lock().unwrap().take().expect("a second attempt");
    (server, answer.unwrap().0, report.verdicts)
}

#[tokio::test]
async fn unsent_request_is_retried() {
    for protocol in BOTH {
        let (server, status, verdicts) = late_server(post(), protocol).await;
        assert_eq!((status, verdicts), (200, vec![Verdict::Unsent, Verdict::Success]));
        assert_eq!(server.bodies(), ["pay"]);
    }
    let mut ticket = Request::get("/").body(Upload::default()).unwrap();
    ticket.extensions_mut().insert(Idempotent(false));
    assert_eq!(late_server(ticket, Protocol::Http1).await.1, 200);
}

/// The bound does not apply to an upload that was not begun.
#[tokio::test]
async fn unstarted_upload_over_the_bound_is_retried() {
    let upload = Upload::new((0..10).map(|_| crate::upload::Piece::Data("x".repeat(50_000).into())));
    let (server, status, _) = late_server(Request::post("/").body(upload).unwrap(), Protocol::Http1).await;
    assert_eq!((status, server.seen()[0].body.len()), (200, 500_000));
}

#[tokio::test]
async fn dead_host_is_unsent_and_returns_the_connector_error() {
    let request = request(Method::POST, unused_address(), Full::<Bytes>::from("pay"));
    let (answer, report) = call(retry().layer(client(Protocol::Http1)), request).await;
    let error = answer.unwrap_err();
    assert!(error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()));
    assert_eq!((report.verdicts, report.stopped), (vec![Verdict::Unsent; 3], Stop::Attempts));
}

/// A host that accepts no connection: its backlog is full.
#[tokio::test]
async fn connect_timeout_is_unsent() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let _listener = socket.listen(1).unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(20)));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = request(Method::POST, address, Full::<Bytes>::from("pay"));
    let (answer, report) = call(retry().layer(client), request).await;
    assert!(answer.is_err());
    assert_eq!(report.verdicts, [Verdict::Unsent; 3]);
}

#[tokio::test]
async fn request_that_cannot_be_sent_is_a_caller_fault() {
    let nowhere = Request::put("/no/host").body(Full::<Bytes>::from("pay")).unwrap();
    let (answer, report) = call(retry().layer(client(Protocol::Http1)), nowhere).await;
    assert!(answer.is_err());
    assert_eq!((report.verdicts, report.stopped), (vec![Verdict::Ignored], Stop::Verdict));
}

#[test]
fn methods_are_idempotent_as_in_rfc_9110() {
    let repeatable = |request: Request<Upload>, verdict| ByMethod::default().first(request).1.repeatable(verdict);
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "BREW"] {
        let request = |method| Request::builder().method(method).body(Upload::default()).unwrap();
        let idempotent = !["POST", "PATCH", "BREW"].contains(&method);
        for verdict in [Verdict::Lost, Verdict::Transient, Verdict::TimedOut] {
            assert_eq!(repeatable(request(method), verdict), idempotent, "{method} {verdict:?}");
        }
        assert!(repeatable(request(method), Verdict::Unsent), "{method}");
    }
}

#[test]
fn upgrade_and_connect_are_never_retried() {
    let upgrade = Request::get("/").header("upgrade", "websocket").body(Upload::default()).unwrap();
    let connect = Request::connect("callee:80").body(Upload::default()).unwrap();
    for request in [upgrade, connect] {
        let (_, mut kept) = ByMethod::default().first(request);
        assert!(!kept.repeatable(Verdict::Unsent) && !kept.repeatable(Verdict::Transient));
        assert!(kept.next().is_none());
    }
}

#[test]
fn each_attempt_has_the_head_of_the_first() {
    let request = Request::builder()
        .method("PUT")
        .uri("http://callee/a?b")
        .version(http::Version::HTTP_2)
        .header("x-one", "1")
        .extension(Idempotent(true))
        .body(Upload::of(&["body"]))
        .unwrap();
    let (first, mut kept) = ByMethod::default().first(request);
    let second = kept.next().unwrap();
    for sent in [first, second] {
        assert_eq!(
            (sent.method(), sent.uri(), sent.version()),
            (&Method::PUT, &"http://callee/a?b".parse().unwrap(), http::Version::HTTP_2)
        );
        assert_eq!(
            (&sent.headers()["x-one"], sent.extensions().get()),
            (&"1".parse().unwrap(), Some(&Idempotent(true)))
        );
    }
}
