//! The same stacks for gRPC: verdicts by code, retries of calls, `grpc-timeout`, and refusals as statuses.
//!
//! # Example
//! A tonic `Channel` takes only tonic's own body type, so the innermost layer maps the request body.
//! ```
//! use seawall::http::MapRequestBodyLayer;
//! use seawall::stack::{self, ClientConfig, ServerConfig};
//! use tonic::service::Routes;
//! use tonic::transport::Endpoint;
//! use tonic_health::pb::health_client::HealthClient;
//! use tower::Layer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = Endpoint::from_static("http://[::1]:50051").connect_lazy();
//! let channel = stack::grpc::client(&ClientConfig::default())?
//!     .service(MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel));
//! let client = HealthClient::new(channel);
//!
//! let (_, health) = tonic_health::server::health_reporter();
//! let server = stack::grpc::server(&ServerConfig::default())?
//!     .service(Routes::new(health).prepare());
//! # drop((client, server));
//! # Ok(())
//! # }
//! ```

use super::config::{BalancedClientConfig, ClientConfig, ServerConfig};
use crate::ground::error::InvalidConfig;
use crate::grpc::propagation::GrpcPropagator;
use crate::grpc::respond::WithCode;
use crate::grpc::{ByCall, ByCode, ByTimeout};
use crate::http::propagation::{ExtractLayer, InjectLayer};
use crate::http::respond::RespondLayer;

/// The type of a gRPC client with all its layers, for places that need a type. A tonic `Channel` in it is mapped:
///
/// ```
/// use seawall::http::{MapRequestBody, ReplayBody};
/// use seawall::stack;
/// use tonic::body::Body;
/// use tonic::transport::Channel;
/// use tonic_health::pb::health_client::HealthClient;
///
/// struct Shop {
///     health: HealthClient<stack::grpc::Client<MapRequestBody<Channel, fn(ReplayBody<Body>) -> Body>>>,
/// }
/// # let _ = |shop: Shop| shop.health;
/// ```
pub type Client<S> = super::Client<S, ByCode, ByCall, GrpcPropagator, ByTimeout>;

/// The type of a gRPC service with all its layers, for places that need a type.
pub type Server<S> = super::Server<S, ByCode, GrpcPropagator, WithCode>;

/// The type of a gRPC client over several endpoints with all its layers, for places that need a type:
///
/// ```
/// use seawall::balance::Endpoint;
/// use seawall::http::{MapRequestBody, MapRequestBodyLayer, ReplayBody};
/// use seawall::stack::{self, BalancedClientConfig};
/// use tonic::body::Body;
/// use tonic::transport::Channel;
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::Layer;
///
/// /// A function pointer, as the type of a closure has no name.
/// type ToBody = fn(ReplayBody<Body>) -> Body;
///
/// struct Shop {
///     health: HealthClient<stack::grpc::BalancedClient<MapRequestBody<Channel, ToBody>>>,
/// }
///
/// fn shop(endpoints: Vec<Endpoint>) -> Result<Shop, seawall::error::InvalidConfig> {
///     let layers = stack::grpc::balanced_client(&BalancedClientConfig::default())?.with_endpoints(endpoints)?;
///     let client = layers.service(|endpoint| {
///         let uri: http::Uri = endpoint.address().parse().unwrap_or_default();
///         MapRequestBodyLayer::new(Body::new as ToBody).layer(Channel::builder(uri).connect_lazy())
///     });
///     Ok(Shop { health: HealthClient::new(client) })
/// }
/// # let _ = |endpoints| shop(endpoints).map(|shop| shop.health);
/// ```
pub type BalancedClient<S> = super::BalancedClient<S, ByCode, ByCall, GrpcPropagator, ByTimeout>;

/// The layers around a gRPC client: the result of [`client`].
pub type ClientLayer = super::ClientLayer<ByCode, ByCall, GrpcPropagator, ByTimeout>;

/// The layers around the gRPC clients of several endpoints: the result of [`balanced_client`].
pub type BalancedClientLayer = super::BalancedClientLayer<ByCode, ByCall, GrpcPropagator, ByTimeout>;

/// The layers in front of a gRPC service: the result of [`server`].
pub type ServerLayer = super::ServerLayer<ByCode, GrpcPropagator, WithCode>;

/// The layers around a gRPC client, such as a tonic `Channel`.
///
/// # Errors
/// If a setting is out of its range. The error lists all faults, each with the path of its field.
pub fn client(config: &ClientConfig) -> Result<ClientLayer, InvalidConfig> {
    ClientLayer::new(config, ByCode::new(), ByCall::default(), ByTimeout::default(), InjectLayer::grpc)
}

/// The layers around the gRPC clients of a dependency with several endpoints, such as a tonic `Channel` to each of them.
///
/// ```
/// use seawall::balance::Endpoint;
/// use seawall::http::MapRequestBodyLayer;
/// use seawall::stack::{self, BalancedClientConfig};
/// use tonic::transport::Channel;
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layers = stack::grpc::balanced_client(&BalancedClientConfig::default())?
///     .with_endpoints(["http://10.0.0.1:50051", "http://10.0.0.2:50051"].map(Endpoint::new))?;
/// let client = layers.service(|endpoint| {
///     // It must not panic. An address that is no URI makes an endpoint whose calls fail, as if it were down.
///     let uri: http::Uri = endpoint.address().parse().unwrap_or_default();
///     MapRequestBodyLayer::new(tonic::body::Body::new).layer(Channel::builder(uri).connect_lazy())
/// });
/// let health = HealthClient::new(client);
/// # drop(health);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a setting is out of its range. The error lists all faults, each with the path of its field.
pub fn balanced_client(config: &BalancedClientConfig) -> Result<BalancedClientLayer, InvalidConfig> {
    BalancedClientLayer::new(config, ByCode::new(), ByCall::default(), ByTimeout::default(), InjectLayer::grpc)
}

/// The layers in front of a gRPC service, such as tonic's `Routes`.
///
/// # Errors
/// If a setting is out of its range. The error lists all faults, each with the path of its field.
pub fn server(config: &ServerConfig) -> Result<ServerLayer, InvalidConfig> {
    ServerLayer::new(config, ByCode::new(), ExtractLayer::grpc, RespondLayer::grpc())
}
