//! The recommended stacks, assembled: one call a client, one a server, one plain struct to tune each.
//!
//! | client, outermost first | why there |
//! |---|---|
//! | [`deadline`](crate::deadline) | every wait inside has this bound, bodies too |
//! | [`retry`](crate::retry) | all attempts together end in time; each is admitted, judged and sent by itself, and none holds a permit while the next one waits |
//! | [`bulkhead`](crate::bulkhead) | outside the breaker: a call that queues here takes no place among its probes, and is refused at once if the breaker opens |
//! | [`circuit_breaker`](crate::circuit_breaker) | sees what the dependency does, and not what our own queues do |
//! | [`inject`](crate::http::propagation) | each attempt is sent with its number, and with what is left to *it* |
//!
//! | server, outermost first | why there |
//! |---|---|
//! | [`extract`](crate::http::propagation) | whatever is done for a request knows the caller's deadline; answers, refusals too, tell the tiers above when to stop |
//! | [`respond`](crate::http::respond) | refusals become answers: what is outside never sees an error |
//! | [`deadline`](crate::deadline) | ends the handler, and the client calls in it; the body has a bound of its own |
//! | [`uploads`](crate::http::UploadLayer) | a request that waits for its client's body holds no place further in, and not for ever |
//! | [`load_shed`](crate::load_shed) | compares the time left with the time that a request takes; its place is free again when the head is there |
//!
//! An event stream says in its *response* that it is meant to last, or the server's stack cuts it after `deadline.body_timeout`:
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
//! A stack of one's own is as short: the layers are public, and the order above is all that there is to know. Where the
//! dependency gives so many calls per second, a [`rate_limit`](crate::rate_limit) belongs between retry and bulkhead.
//!
//! One value is one state: everything made by it and its clones shares one budget, one bulkhead, one breaker, or one for each
//! host with [`per_authority`](ClientConfig::per_authority). Make one for each dependency; and one for calls that are
//! [meant to last](crate::http::LongLived), so that they do not take the permits of short ones.
//!
//! All settings but the names of headers and `per_authority` may change while calls are in flight: [`ClientLayer::reload`] and
//! [`ServerLayer::reload`] take a whole new struct, or none of it. With [`ClientLayer::named`] and [`ServerLayer::named`] all layers of a stack are
//! seen under one name, in metrics, logs, refusals and the [registry](crate::registry). How to read the structs from a file is said in
//! [`config`](crate::config).
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

mod client;
pub(crate) mod config;
#[cfg(feature = "grpc")]
pub mod grpc;
mod per_authority;
mod server;
#[cfg(feature = "config")]
mod stacks;

pub use client::{Client, ClientLayer, client};
pub use config::{ClientConfig, ServerConfig};
pub use per_authority::PerAuthority;
pub use server::{Server, ServerLayer, server};
#[cfg(feature = "config")]
pub use stacks::{Following, SettingsFile, Stacks};
