//! How a service tells its clients how many requests it has in flight.

use std::future::pending;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use seawall::http::propagation::PropagationConfig;
use seawall::http::respond::RespondLayer;
use seawall::stack::{self, ServerConfig};
use tower::{BoxError, Service, ServiceExt, service_fn};

const HEADER: &str = "endpoint-load-metrics";

fn config(report_load: bool) -> ServerConfig {
    ServerConfig { propagation: PropagationConfig { report_load, ..Default::default() }, ..Default::default() }
}

/// Hangs for the path `/hang`, fails for `/fail`, and answers any other.
async fn shop(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
    match request.uri().path() {
        "/hang" => pending().await,
        "/fail" => Err("out of stock".into()),
        _ => Ok(Response::new(Full::default())),
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(path).body(Full::default()).unwrap()
}

async fn reported<S, B>(service: &S, path: &str) -> Option<String>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: std::fmt::Debug> + Clone,
{
    let response = service.clone().oneshot(get(path)).await.unwrap();
    response.headers().get(HEADER).map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn service_reports_its_other_requests_if_it_is_told_to() {
    let layers = stack::server(&config(false)).unwrap();
    let service = layers.service(service_fn(shop));
    assert_eq!(reported(&service, "/").await, None, "off by default");

    layers.reload(&config(true)).unwrap();
    let text = |number: u32| Some(format!("TEXT named_metrics.in_flight={number}"));
    assert_eq!(reported(&service, "/").await, text(0));
    let mut hangs: Vec<_> = (0..3).map(|_| Box::pin(service.clone().oneshot(get("/hang")))).collect();
    hangs.iter_mut().for_each(|call| assert!(call.now_or_never().is_none()));
    assert_eq!(reported(&service, "/").await, text(3));
    assert_eq!(reported(&service, "/fail").await, text(3), "a failure reports, too");
    hangs.pop();
    assert_eq!(reported(&service, "/").await, text(2), "a dropped request is over");

    layers.reload(&config(false)).unwrap();
    assert_eq!(reported(&service, "/").await, None);
    drop(hangs);
    layers.reload(&config(true)).unwrap();
    assert_eq!(reported(&service, "/").await, text(0), "requests that were counted are over");
    let verbose = layers.with_respond(RespondLayer::new().verbose()).service(service_fn(shop));
    assert_eq!(reported(&verbose, "/").await, text(0));
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn grpc_service_reports_in_the_head() {
    let service = stack::grpc::server(&config(true)).unwrap().service(service_fn(shop));
    assert_eq!(reported(&service, "/").await.as_deref(), Some("TEXT named_metrics.in_flight=0"));
}
