//! Refusals become responses, on a real axum server, over connections in memory.
#![cfg(feature = "http")]

#[path = "pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::deadline::DeadlineLayer;
use seawall::http::respond::RespondLayer;
use tokio::net::TcpListener;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

async fn get_from(app: Router, path: &str) -> (u16, String) {
    let address = pipes::serve(app);
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(pipes::Connector);
    let response = client.get(format!("http://{address}{path}").parse().unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn handler_past_its_deadline_is_answered_with_504() {
    let layers =
        ServiceBuilder::new().layer(RespondLayer::new()).layer(DeadlineLayer::http(Duration::from_millis(20)).unwrap());
    let app = Router::new()
        .route("/slow", get(std::future::pending::<String>))
        .route("/quick", get(|| async { "hello" }))
        .layer(layers);
    let (status, body) = get_from(app.clone(), "/slow").await;
    assert_eq!((status, body.as_str()), (504, "deadline_exceeded"), "no names and no numbers by default");
    assert_eq!(get_from(app, "/quick").await, (200, "hello".to_owned()));
}

#[tokio::test]
async fn verbose_response_contains_the_whole_refusal() {
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::new().verbose())
        .layer(DeadlineLayer::http(Duration::from_millis(20)).unwrap());
    let app = Router::new().route("/", get(std::future::pending::<String>)).layer(layers);
    let (status, body) = get_from(app, "/").await;
    assert_eq!(status, 504);
    assert!(
        body.starts_with("deadline exceeded after ") && body.ends_with(" (layer `deadline`): given 20.0ms"),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn other_errors_are_answered_with_500_without_their_text() {
    let failing = service_fn(|_: axum::extract::Request| async {
        Err::<axum::response::Response, BoxError>("the password is 1234".into())
    });
    let failing = ServiceBuilder::new().layer(RespondLayer::new()).service(failing);
    let app = Router::new().route_service("/", failing);
    assert_eq!(get_from(app, "/").await, (500, "internal server error".to_owned()));
}

/// A proxy: the tiers above must not record the failure of its dependency as its own.
#[tokio::test]
async fn client_errors_are_answered_with_502_without_their_text() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (closing, unused) =
        (listener.local_addr().unwrap(), { TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap() });
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket)
        }
    });
    for (address, text) in [(unused, "the dependency was not reached"), (closing, "the dependency did not answer")] {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let proxy =
            service_fn(move |_: axum::extract::Request| client.get(format!("http://{address}/").parse().unwrap()));
        let app = Router::new().route_service("/", ServiceBuilder::new().layer(RespondLayer::new()).service(proxy));
        assert_eq!(get_from(app, "/").await, (502, text.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn service_that_fails_to_become_ready_is_answered() {
    #[derive(Clone)]
    struct Broken;
    impl Service<()> for Broken {
        type Response = http::Response<Empty<Bytes>>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("closed".into()))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("the service is never ready")
        }
    }
    let service = ServiceBuilder::new().layer(RespondLayer::new()).service(Broken);
    let answer: Result<_, Infallible> = service.oneshot(()).await;
    assert_eq!(answer.unwrap().status(), 500);
}
