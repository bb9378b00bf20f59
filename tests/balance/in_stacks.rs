//! The stacks over several endpoints, with real servers.

use http::StatusCode;
use seawall::balance::EndpointMode;
use seawall::registry::Registry;
use seawall::stack::{self, BalancedClientConfig};

use super::over_http::server;
use super::*;

type HttpClient = stack::BalancedClient<
    seawall::balance::AtEndpoint<
        hyper_util::client::legacy::Client<
            hyper_util::client::legacy::connect::HttpConnector,
            seawall::http::ReplayBody<http_body_util::Empty<bytes::Bytes>>,
        >,
    >,
>;

async fn status(client: &HttpClient) -> Result<StatusCode, BoxError> {
    use http_body_util::BodyExt;

    let request = http::Request::get("http://orders.internal/").body(http_body_util::Empty::new())?;
    let response = client.clone().oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

/// One of two servers refuses connections: each call is answered by the other, with the default settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_endpoint_fails_no_call_of_the_http_stack() {
    let (dead, gone) = server().await;
    gone.abort();
    let _ = gone.await;
    let (alive, _server) = server().await;
    let registry = Registry::new();
    let layers = stack::balanced_client(&BalancedClientConfig::default()).unwrap();
    let endpoints = [dead, alive].map(|address| Endpoint::new(address.to_string()));
    let layers = layers.with_endpoints(endpoints).unwrap().named_in(&registry, "orders").unwrap();
    let http = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let client: HttpClient = layers.service(move |endpoint| seawall::balance::AtEndpoint::new(endpoint, http.clone()));
    for _ in 0..50 {
        assert_eq!(status(&client).await.unwrap(), StatusCode::OK);
    }
    assert_eq!(registry.snapshot().of("orders").count(), 5);
    // By hand, through the name: the last endpoint is isolated, and the refusal says what there is.
    registry.set_endpoint_mode("orders", &alive.to_string(), EndpointMode::Isolated).unwrap();
    registry.set_endpoint_mode("orders", &dead.to_string(), EndpointMode::Isolated).unwrap();
    let refusal = status(&client).await.unwrap_err();
    let rejected = seawall::error::rejection(&refusal).unwrap();
    assert_eq!((rejected.reason(), rejected.name()), (seawall::error::Reason::NoEndpoints, Some("orders")));
    assert!(rejected.to_string().contains("set aside by hand 2"), "{rejected}");
    assert_eq!(layers.balance().in_flight(), 0);
}

#[cfg(feature = "grpc")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_endpoint_fails_no_call_of_the_grpc_stack() {
    use seawall::http::MapRequestBodyLayer;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tower::Layer;

    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(); // closed again
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let alive = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let router = tonic::transport::Server::builder().add_service(health);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));

    let layers = stack::grpc::balanced_client(&BalancedClientConfig::default()).unwrap();
    let layers = layers.with_endpoints([dead, alive].map(|address| Endpoint::new(address.to_string()))).unwrap();
    let client = layers.service(|endpoint| {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", endpoint.address())).unwrap();
        MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel.connect_lazy())
    });
    let mut client = HealthClient::new(client);
    for _ in 0..50 {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
    assert_eq!(layers.balance().in_flight(), 0);
}
