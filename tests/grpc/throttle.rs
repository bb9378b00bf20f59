//! A server's stack refuses, and its client throttles: by a pushback in the head, or by a status in the trailers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use seawall::error::{Reason, rejection_in};
use seawall::http::MapRequestBodyLayer;
use seawall::load_shed::LoadShedConfig;
use seawall::stack::{self, ClientConfig, ServerConfig};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Status;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::Layer;

use crate::fault::channel;

const MS: Duration = Duration::from_millis(1);

/// Each check takes 20 ms. A watch is refused in the trailers, after a message.
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
        self.0.fetch_add(1, Ordering::Relaxed);
        let frames = [Ok(HealthCheckResponse { status: 1 }), Err(Status::resource_exhausted("no more streams"))];
        Ok(tonic::Response::new(Box::pin(tokio_stream::iter(frames))))
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
    for _ in 0..100 {
        let _ = client.check(HealthCheckRequest::default()).await;
        sleep(20 * MS).await;
    }
    for _ in 0..100 {
        client.check(HealthCheckRequest::default()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn refusal_in_the_trailers_counts_at_the_end_of_the_stream() {
    let served = Arc::new(AtomicU32::new(0));
    let address =
        crate::respond::serve!(HealthServer::new(Slow(Arc::clone(&served))), tower::layer::util::Identity::new());
    let layer = ThrottleLayer::grpc(ThrottleConfig::default()).unwrap();
    let mut client = HealthClient::new(layer.layer(channel(address)));
    let mut refused_here = 0;
    for call in 0..200 {
        let mut stream = match client.watch(HealthCheckRequest::default()).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                refused_here += u32::from(is_throttled(&status));
                continue;
            }
        };
        assert!(stream.message().await.unwrap().is_some());
        assert_eq!(layer.handle().accepted(), 1, "call {call}, until its end");
        assert_eq!(stream.message().await.unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert_eq!(layer.handle().accepted(), 0, "call {call}");
    }
    assert!(refused_here > 100, "{refused_here}");
}
