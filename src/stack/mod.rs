//! The recommended stacks: one call assembles a client's layers, one a server's, and one plain struct configures each.
//!
//! | client, outermost first | why there |
//! |---|---|
//! | [`deadline`](crate::deadline) | bounds every wait inside, bodies included |
//! | [`retry`](crate::retry) | all attempts together end by the deadline; each is admitted, classified and sent separately, and none holds a permit while the next one waits |
//! | [`throttle`](crate::throttle), off by default | each attempt counts; what it refuses takes no permit and is no evidence for the breaker |
//! | [`bulkhead`](crate::bulkhead) | outside the breaker: a queued call takes no probe slot, and is refused at once if the breaker opens |
//! | [`circuit_breaker`](crate::circuit_breaker) | sees what the dependency does, not what the client's own queues do |
//! | [`inject`](crate::http::propagation) | sends each attempt with its number and the time that *it* has left |
//!
//! | server, outermost first | why there |
//! |---|---|
//! | [`extract`](crate::http::propagation) | all work for a request knows the caller's deadline; responses, refusals included, tell the tiers above when to stop |
//! | [`respond`](crate::http::respond) | turns refusals into responses: layers further out never see an error |
//! | [`deadline`](crate::deadline) | ends the handler and the client calls in it; the body has its own timeout |
//! | [`uploads`](crate::http::UploadLayer) | a request that waits for its client's body holds no permit further in, and its wait is bounded |
//! | [`load_shed`](crate::load_shed) | compares the time left with the time that a request takes; releases its permit when the response's head is ready |
//!
//! An event stream must declare in its *response* that it is long-lived. Otherwise the server's stack cuts it after
//! `deadline.body_timeout`:
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//! use axum::response::sse::{Event, KeepAlive, Sse};
//! use axum::{Extension, Router, routing::get};
//! use futures::stream;
//! use seawall::http::LongLived;
//! use seawall::stack::{self, ServerConfig};
//!
//! # fn main() -> Result<(), seawall::error::InvalidConfig> {
//! let events = || async {
//!     let ticks = stream::iter(["one", "two"]).map(|text| Ok::<_, Infallible>(Event::default().data(text)));
//!     // an extension of the response
//!     (Extension(LongLived::new(Duration::from_secs(3600))), Sse::new(ticks).keep_alive(KeepAlive::default()))
//! };
//! let app: Router = Router::new().route("/events", get(events)).layer(stack::server(&ServerConfig::default())?);
//! # use futures::StreamExt as _;
//! # let _ = app;
//! # Ok(())
//! # }
//! ```
//!
//! For gRPC there are the same stacks in
#![cfg_attr(feature = "grpc", doc = "[`stack::grpc`](self::grpc).")]
#![cfg_attr(not(feature = "grpc"), doc = "`stack::grpc` (feature `grpc`).")]
//!
//! A dependency with several endpoints has a stack of its own, [`balanced_client`]: deadline, retry,
//! throttle, [`hedge`](crate::hedge), [`balance`](crate::balance) and inject. The balancer takes the place of bulkhead and circuit breaker, as each endpoint
//! has both.
//!
//! You can assemble your own stack from the public layers in the order above. If the dependency allows a fixed number of calls per
//! second, put a [`rate_limit`](crate::rate_limit) between throttle and bulkhead.
//!
//! One value has one state: all services made by it and its clones share one budget, one bulkhead and one breaker, or one of each
//! per host with [`per_authority`](ClientConfig::per_authority). Make one value for each dependency. Make another one for
//! [long-lived](crate::http::LongLived) calls, so that they do not take the permits of short calls.
//!
//! All settings but the names of headers and `per_authority` may change while calls are in flight: [`ClientLayer::reload`] and
//! [`ServerLayer::reload`] apply a whole new struct, or none of it. [`ClientLayer::named`] and [`ServerLayer::named`] give all layers
//! of a stack one name in metrics, logs, refusals and the [registry](crate::registry). [`config`](crate::config) describes how to
//! read the structs from a file.
//!
//! # Example
//! ```
//! use axum::{Router, routing::get};
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use seawall::stack::{self, ClientConfig, ServerConfig};
//! # use bytes::Bytes;
//! # use http_body_util::Full;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = stack::client(&ClientConfig::default())?
//!     .service(Client::builder(TokioExecutor::new()).build_http());
//! # fn is_client<S: tower::Service<http::Request<Full<Bytes>>>>(_: &S) {}
//! # is_client(&client);
//!
//! let app: Router =
//!     Router::new().route("/", get(|| async { "hello" })).layer(stack::server(&ServerConfig::default())?);
//! # let _ = app;
//! # Ok(())
//! # }
//! ```

mod balanced_client;
mod client;
pub(crate) mod config;
#[cfg(feature = "grpc")]
pub mod grpc;
mod per_authority;
mod reload;
mod server;
#[cfg(feature = "config")]
mod stacks;

pub use balanced_client::{BalancedClient, BalancedClientLayer, balanced_client};
pub use client::{Client, ClientLayer, client};
pub use config::{BalancedClientConfig, ClientConfig, ServerConfig};
pub use per_authority::PerAuthority;
pub use server::{Server, ServerLayer, server};
#[cfg(feature = "config")]
pub use stacks::{Following, SettingsFile, Stacks};
