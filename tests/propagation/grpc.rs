//! The same over gRPC, with tonic at both ends.

use std::sync::Mutex;

use seawall::context;
use seawall::grpc::propagation::{GrpcPropagator, PropagationConfig};
use seawall::grpc::{ByCall, ByCode, ByTimeout};
use seawall::http::propagation::Inject;
use seawall::http::{MapRequestBody, MapRequestBodyLayer, ReplayBody};
use seawall::stack::{self, ClientConfig, ServerConfig};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::service_fn;

use super::*;

type Client = HealthClient<Inject<Channel, GrpcPropagator>>;

fn inject() -> InjectLayer<GrpcPropagator> {
    InjectLayer::grpc(PropagationConfig::default()).unwrap()
}

fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_with_connector_lazy(Connector)
}

fn client(below: SocketAddr) -> Client {
    HealthClient::new(inject().layer(channel(below)))
}

/// What a tier does. The last tier calls no other.
enum Does {
    Ask(Client),
    /// Through all layers.
    AskWell(Box<Whole>),
    Hang,
    Fail,
}

/// What the tiers saw, the first tier first.
#[derive(Clone, Default)]
struct Seen {
    left: Arc<Mutex<Vec<Option<Duration>>>>,
    attempts: Arc<Mutex<Vec<u32>>>,
    begun: Count,
    dropped: Count,
}

struct Tier(Does, Seen);

#[tonic::async_trait]
impl Health for Tier {
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let Self(does, seen) = self;
        seen.left.lock().unwrap().push(context::time_left());
        seen.attempts.lock().unwrap().push(context::attempt());
        match does {
            Does::Ask(client) => {
                let answer = client.clone().check(HealthCheckRequest::default()).await;
                // A new error, which contains nothing of the status from below.
                answer.map_err(|status| Status::new(status.code(), "of the tier below"))
            }
            Does::AskWell(client) => client.clone().check(HealthCheckRequest::default()).await,
            Does::Hang => {
                hang(&seen.begun, &seen.dropped).await;
                Ok(Response::new(HealthCheckResponse::default()))
            }
            Does::Fail => {
                let failing =
                    RetryLayer::new(retries()).unwrap().layer(service_fn(|()| async { Err::<(), _>("down") }));
                failing.oneshot(()).await.map_err(|error| Status::unavailable(error.to_string()))?;
                Ok(Response::new(HealthCheckResponse::default()))
            }
        }
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

macro_rules! serve_tier {
    ($layer:expr, $does:expr, $seen:expr) => {{
        let listener = PipeListener::bind();
        let address = listener.address();
        let server = Server::builder().layer($layer).add_service(HealthServer::new(Tier($does, $seen.clone())));
        tokio::spawn(server.serve_with_incoming(listener.into_stream()));
        address
    }};
}

async fn tier(does: Does, seen: &Seen) -> SocketAddr {
    serve_tier!(ExtractLayer::grpc(PropagationConfig::default()).unwrap(), does, seen)
}

/// Three tiers, the last of which does this.
async fn three_tiers(last: Does) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let third = tier(last, &seen).await;
    let second = tier(Does::Ask(client(third)), &seen).await;
    (tier(Does::Ask(client(second)), &seen).await, seen)
}

#[tokio::test(start_paused = true)]
async fn last_tier_has_less_time_and_is_cancelled_with_the_call() {
    let (first, seen) = three_tiers(Does::Hang).await;
    let stack = ServiceBuilder::new().layer(DeadlineLayer::new(Duration::from_secs(3)).unwrap()).layer(inject());
    let call = async move {
        HealthClient::new(stack.service(channel(first))).check(HealthCheckRequest::default()).await.map(drop)
    };
    let call = tokio::spawn(call);
    eventually("the last tier is reached", || seen.begun.get() == 1).await;
    let left: Vec<_> = seen.left.lock().unwrap().iter().map(|left| left.expect("the handler has a deadline")).collect();
    assert_eq!(left.len(), 3);
    assert!(left[0] < Duration::from_secs(3) && left[1] < left[0] && left[2] < left[1], "{left:?}");
    assert_eq!(seen.dropped.get(), 0);
    call.abort();
    eventually("the last handler is dropped", || seen.dropped.get() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn shorter_timeout_of_tonic_is_inherited_and_kept() {
    let (first, seen) = three_tiers(Does::Hang).await;
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_millis(300));
    let stack = ServiceBuilder::new().layer(DeadlineLayer::new(LONG).unwrap()).layer(inject());
    let status = HealthClient::new(stack.service(channel(first))).check(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    let left = seen.left.lock().unwrap().clone();
    assert_eq!(left, [300, 295, 290].map(|ms| Some(Duration::from_millis(ms))), "less by the allowance of each hop");
    eventually("every handler was dropped", || seen.dropped.get() == seen.begun.get()).await;
}

#[tokio::test(start_paused = true)]
async fn exhausted_tier_pushes_back_and_so_do_those_above() {
    let (first, _) = three_tiers(Does::Fail).await;
    let status = client(first).check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "of the tier below"));
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
}

#[tokio::test(start_paused = true)]
async fn attempt_number_travels() {
    let (first, seen) = three_tiers(Does::Fail).await;
    let mut request = Request::new(HealthCheckRequest::default());
    request.metadata_mut().insert("grpc-previous-rpc-attempts", "2".parse().unwrap());
    client(first).check(request).await.unwrap_err();
    assert_eq!(*seen.attempts.lock().unwrap(), [3, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn hostile_values_are_ignored() {
    for value in ["-5S", "999999999n", "1", "S", "5 S", "5s", "1.5S", "99999999999999999999H", "99999999H"] {
        let (first, seen) = three_tiers(Does::Fail).await;
        let mut request = Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("grpc-timeout", value.parse().unwrap());
        assert_eq!(client(first).check(request).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(*seen.left.lock().unwrap(), [None, None, None], "{value}");
    }
}

/// The recommended setup: whole stacks at both ends of each hop, and a deadline that only the first caller sets.
#[tokio::test(start_paused = true)]
async fn one_deadline_bounds_three_tiers_of_whole_stacks() {
    let seen = Seen::default();
    let third = whole_tier(Does::Hang, &seen).await;
    let second = whole_tier(Does::AskWell(Box::new(whole_client(third))), &seen).await;
    let first = whole_tier(Does::AskWell(Box::new(whole_client(second))), &seen).await;
    let mut request = Request::new(HealthCheckRequest::default());
    request.set_timeout(Duration::from_millis(300));
    let status = whole_client(first).check(request).await.unwrap_err();
    // Any of the four may be the first to detect the timeout.
    let cut = seawall::error::rejection_in(&status).is_some_and(|rejected| rejected.layer() == "deadline");
    assert!(cut || matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    let left: Vec<_> = seen.left.lock().unwrap().iter().map(|left| left.expect("the handler has a deadline")).collect();
    assert_eq!(left.len(), 3, "no tier retries without time left");
    assert!(left[0] < Duration::from_millis(300) && left[1] < left[0] && left[2] < left[1], "{left:?}");
    assert_eq!(*seen.attempts.lock().unwrap(), [1, 1, 1]);

    // And before the deadline, when the first caller drops the call.
    let call = tokio::spawn(async move { whole_client(first).check(HealthCheckRequest::default()).await.map(drop) });
    eventually("the last tier is reached again", || seen.begun.get() == 2).await;
    eventually("the handler of the first call is dropped", || seen.dropped.get() == 1).await;
    call.abort();
    eventually("the handler of the second call is dropped", || seen.dropped.get() == 2).await;
}

type Whole = HealthClient<
    stack::Client<
        MapRequestBody<Channel, fn(ReplayBody<tonic::body::Body>) -> tonic::body::Body>,
        ByCode,
        ByCall,
        GrpcPropagator,
        ByTimeout,
    >,
>;

async fn whole_tier(does: Does, seen: &Seen) -> SocketAddr {
    serve_tier!(stack::grpc::server(&ServerConfig::default()).unwrap(), does, seen)
}

fn whole_client(below: SocketAddr) -> Whole {
    let layers = stack::grpc::client(&ClientConfig::default()).unwrap();
    HealthClient::new(
        layers.service(MapRequestBodyLayer::new(tonic::body::Body::new as fn(_) -> _).layer(channel(below))),
    )
}
