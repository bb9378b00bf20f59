//! A server's stack refuses, by a status with a pushback, and its client throttles.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall::error::{Reason, rejection_in};
use seawall::http::MapRequestBodyLayer;
use seawall::load_shed::LoadShedConfig;
use seawall::stack::{self, ClientConfig, ServerConfig};
use seawall::throttle::ThrottleConfig;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::Layer;

use crate::fault::channel;

const MS: Duration = Duration::from_millis(1);

/// Each check takes 20 ms.
struct Slow(Arc<AtomicU32>);

#[tonic::async_trait]
impl Health for Slow {
    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        self.0.fetch_add(1, Ordering::Relaxed);
        sleep(20 * MS).await;
        Ok(tonic::Response::new(HealthCheckResponse { status: 1 }))
    }

    type WatchStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, _: tonic::Request<HealthCheckRequest>) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("no watch"))
    }
}

fn is_throttled(status: &Status) -> bool {
    rejection_in(status).is_some_and(|rejected| rejected.reason() == Reason::Throttled)
}

#[tokio::test(start_paused = true)]
async fn client_throttles_calls_that_are_pushed_back() {
    let served = Arc::new(AtomicU32::new(0));
    let shed = LoadShedConfig { max_in_flight: 2, queue_ratio: 0.0, ..LoadShedConfig::default() };
    let server = stack::grpc::server(&ServerConfig { load_shed: shed, ..ServerConfig::default() }).unwrap();
    let listener = crate::pipes::PipeListener::bind();
    let address = listener.address();
    let server =
        tonic::transport::Server::builder().layer(server).add_service(HealthServer::new(Slow(Arc::clone(&served))));
    tokio::spawn(async move { server.serve_with_incoming(listener.into_stream()).await });

    let config = ClientConfig { throttle: ThrottleConfig::default(), ..ClientConfig::default() };
    let layers = stack::grpc::client(&config).unwrap();
    let client =
        HealthClient::new(layers.service(MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel(address))));
    let mut running = JoinSet::new();
    for _ in 0..2000 {
        let mut client = client.clone();
        running.spawn(async move { client.check(HealthCheckRequest::default()).await });
        sleep(MS).await;
    }
    let answers = running.join_all().await;
    let refused_here = answers.iter().filter(|answer| answer.as_ref().is_err_and(is_throttled)).count();
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(refused_here > 1200 && good > 180, "{refused_here} refused here, {good} good");
    assert_eq!(served.load(Ordering::Relaxed) as usize, good);

    let mut client = client;
    for _ in 0..300 {
        let _ = client.check(HealthCheckRequest::default()).await;
        sleep(20 * MS).await;
    }
    for _ in 0..100 {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
}
