//! Responses that nobody reads, of real clients and servers: the warning names the request.
//!
//! Each stack has a name: those without one share the limit of one log line a second, in all tests.

use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::registry::Registry;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::time::sleep;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt};

use crate::events::{Fields, logged};
use crate::pipes::{Connector, PipeListener, serve};

const SECOND: Duration = Duration::from_secs(1);

/// The events of bodies that were cut: layer, method and path of each.
fn cut(events: &[Fields]) -> Vec<[&str; 3]> {
    let cut = events.iter().filter(|event| event["message"] == "body cut");
    cut.map(|event| ["layer", "method", "path"].map(|field| event.get(field).map_or("", String::as_str))).collect()
}

/// A body without an end.
async fn endless() -> Body {
    Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>())
}

fn client_config() -> ClientConfig {
    ClientConfig { deadline: SECOND.into(), ..ClientConfig::default() }
}

#[test]
fn leaked_response_of_an_http_client_is_named() {
    let events = logged(async {
        let address = serve(axum::Router::new().route("/report", get(endless)));
        let client = Client::builder(TokioExecutor::new()).build(Connector);
        let stack = stack::client(&client_config()).unwrap().named_in(&Registry::new(), "client").unwrap();
        let client = stack.service(client);
        let request = http::Request::get(format!("http://{address}/report?token=secret"));
        let parked = client.oneshot(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        sleep(5 * SECOND).await;
        drop(parked);
    });
    assert_eq!(cut(&events), [["deadline", "GET", "/report"]]);
}

#[test]
fn leaked_response_of_an_http_server_is_named() {
    let events = logged(async {
        let config = ServerConfig { deadline: SECOND.into(), ..ServerConfig::default() };
        let stack = stack::server(&config).unwrap().named_in(&Registry::new(), "server").unwrap();
        let app = axum::Router::new().route("/report", get(endless)).layer(stack);
        let parked =
            app.oneshot(http::Request::get("/report?token=secret").body(Body::empty()).unwrap()).await.unwrap();
        sleep(500 * SECOND).await;
        drop(parked);
    });
    assert_eq!(cut(&events), [["deadline", "GET", "/report"]]);
}

#[test]
fn leaked_stream_of_a_grpc_client_is_named() {
    let events = logged(async {
        let listener = PipeListener::bind();
        let address = listener.address();
        let (_reporter, health) = tonic_health::server::health_reporter();
        let server = tonic::transport::Server::builder().add_service(health);
        tokio::spawn(async move { server.serve_with_incoming(listener.into_stream()).await });
        let channel =
            Endpoint::from_shared(format!("http://{address}")).unwrap().connect_with_connector_lazy(Connector);
        let channel = seawall::http::MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel);
        let stack = stack::grpc::client(&client_config()).unwrap().named_in(&Registry::new(), "grpc").unwrap();
        let client = stack.service(channel);
        let parked = HealthClient::new(client).watch(HealthCheckRequest::default()).await.unwrap();
        sleep(5 * SECOND).await;
        drop(parked);
    });
    assert_eq!(cut(&events), [["deadline", "POST", "/grpc.health.v1.Health/Watch"]]);
}
