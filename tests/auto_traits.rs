//! The auto traits of the public types, which the snapshot of the API does not show: layers, services and handles can be shared between
//! threads, and a call can be spawned.

use std::future::{Ready, ready};
use std::time::Duration;

use seawall::bulkhead::{Bulkhead, BulkheadConfig, BulkheadLayer, PermitsHandle};
use seawall::circuit_breaker::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer};
use seawall::deadline::{Deadline, DeadlineLayer};
use seawall::error::{InvalidConfig, Rejected};
use seawall::fair_share::FairShareLayer;
use seawall::load_shed::{LoadShed, LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{Quarantine, QuarantineConfig, QuarantineHandle, QuarantineLayer};
use seawall::rate_limit::{RateLimit, RateLimitConfig, RateLimitHandle, RateLimitLayer};
use seawall::registry::Registry;
use seawall::retry::{Budget, Retry, RetryConfig, RetryLayer};
use seawall::throttle::{Throttle, ThrottleConfig, ThrottleHandle, ThrottleLayer};
use tower::{BoxError, Layer, Service, service_fn};

type Callee = tower::util::ServiceFn<fn(u32) -> Ready<Result<u32, BoxError>>>;

fn callee() -> Callee {
    service_fn(|request| ready(Ok(request)))
}

fn is_shared<T: Send + Sync + Clone + 'static>() {}

fn is_shared_value<T: Send + Sync + Clone + 'static>(_: &T) {}

/// The layer and its service can be shared, and a call of it can be sent to another thread.
fn has_shared_parts<L, S, Request>(layer: L, callee: S, request: Request)
where
    L: Layer<S, Service: Service<Request, Future: Send + 'static> + Send + Sync + Clone + 'static>,
    L: Send + Sync + Clone + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let mut service = layer.layer(callee);
    is_shared_value(&layer);
    is_shared_value(&service);
    drop(service.call(request));
}

#[test]
fn layers_services_and_handles_are_send_sync_clone() {
    is_shared::<Deadline<Callee>>();
    is_shared::<Retry<Callee>>();
    is_shared::<CircuitBreaker<Callee>>();
    is_shared::<Bulkhead<Callee>>();
    is_shared::<RateLimit<Callee>>();
    is_shared::<Throttle<Callee>>();
    is_shared::<ThrottleHandle>();
    is_shared::<LoadShed<Callee>>();
    is_shared::<Quarantine<Callee, fn(&u32) -> u32>>();
    is_shared::<QuarantineHandle>();
    is_shared::<CircuitBreakerHandle>();
    is_shared::<PermitsHandle>();
    is_shared::<RateLimitHandle>();
    is_shared::<Budget>();
    is_shared::<Registry>();
    is_shared::<InvalidConfig>();
    is_shared::<Rejected>();
}

#[test]
fn calls_of_every_layer_are_send() {
    let quarantine = QuarantineLayer::new(QuarantineConfig::default(), |request: &u32| *request).unwrap();
    has_shared_parts(quarantine, callee(), 7);
    has_shared_parts(DeadlineLayer::new(Duration::from_secs(1)).unwrap(), callee(), 7);
    has_shared_parts(RetryLayer::new(RetryConfig::default()).unwrap(), callee(), 7);
    has_shared_parts(CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap(), callee(), 7);
    has_shared_parts(BulkheadLayer::new(BulkheadConfig::default()).unwrap(), callee(), 7);
    has_shared_parts(RateLimitLayer::new(RateLimitConfig::default()).unwrap(), callee(), 7);
    has_shared_parts(ThrottleLayer::new(ThrottleConfig::default()).unwrap(), callee(), 7);
    has_shared_parts(LoadShedLayer::new(LoadShedConfig::default()).unwrap(), callee(), 7);
    has_shared_parts(FairShareLayer::by(|request: &u32| *request), callee(), 7);
}

#[cfg(feature = "http")]
mod http_types {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use seawall::http::propagation::{ExtractLayer, InjectLayer, PropagationConfig};
    use seawall::http::respond::RespondLayer;
    use seawall::http::{ReplayBody, UploadLayer};
    use seawall::stack::{self, ClientConfig, ServerConfig, Stacks};

    use super::*;

    type Body = Full<Bytes>;

    type Answering<B> = fn(Request<B>) -> Ready<Result<Response<Body>, BoxError>>;

    fn answering<B>() -> tower::util::ServiceFn<Answering<B>> {
        service_fn(|_| ready(Ok(Response::new(Body::default()))))
    }

    #[test]
    fn calls_of_http_layers_and_stacks_are_send() {
        let config = PropagationConfig::default;
        has_shared_parts(ExtractLayer::http(config()).unwrap(), answering(), Request::new(Body::default()));
        has_shared_parts(InjectLayer::http(config()).unwrap(), answering(), Request::new(Body::default()));
        has_shared_parts(RespondLayer::new(), answering(), Request::new(Body::default()));
        has_shared_parts(UploadLayer::new(), answering(), Request::new(Body::default()));
        let client = stack::client(&ClientConfig::default()).unwrap();
        has_shared_parts(client, answering::<ReplayBody<Body>>(), Request::new(Body::default()));
        let server = stack::server(&ServerConfig::default()).unwrap();
        has_shared_parts(server, answering(), Request::new(Body::default()));
        is_shared::<Stacks>();
    }
}

#[cfg(feature = "grpc")]
#[test]
fn calls_of_grpc_stacks_are_send() {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use seawall::http::ReplayBody;
    use seawall::stack::{ClientConfig, grpc};

    type Answering = fn(Request<ReplayBody<Full<Bytes>>>) -> Ready<Result<Response<Full<Bytes>>, BoxError>>;
    let answering: Answering = |_| ready(Ok(Response::new(Full::default())));
    let client = grpc::client(&ClientConfig::default()).unwrap();
    has_shared_parts(client, service_fn(answering), Request::new(Full::<Bytes>::default()));
}

#[cfg(feature = "dashboard")]
#[test]
fn dashboard_is_send_sync_clone() {
    is_shared::<seawall::dashboard::Dashboard>();
}

#[cfg(feature = "reqwest")]
#[test]
fn reqwest_service_gives_its_client_back() {
    use seawall::http::reqwest::ReqwestService;

    is_shared::<ReqwestService>();
    let mut service = ReqwestService::new(reqwest::Client::new());
    let _: &reqwest::Client = service.get_ref();
    *service.get_mut() = reqwest::Client::new();
    let _: reqwest::Client = service.into_inner();
}
