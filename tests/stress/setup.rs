//! One server, one proxy in front of it, clients behind the proxy, and the stacks around either or both.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fastrand::Rng;
use http::Response;
use seawall::registry::Registry;
use seawall::stack;
use tokio::time::timeout;

use crate::counted::Bodies;
use crate::layers::{self, Layers};
use crate::progress::{End, Failure};
use crate::proxy::Proxy;
use crate::server::Server;
use crate::{grpc, http as plain};

/// How long a client without layers waits, as its user would write it.
///
/// hyper's client loses a call now and then when HTTP/2 connections end all the time: the call waits although its
/// connection is gone. That happens without any layer of ours on either side, too, and is reported
/// (<https://github.com/seanmonstar/reqwest/issues/1323>). A client stack ends such a call by its deadline.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a call of this kind.
pub(crate) type Call =
    Arc<dyn Fn(usize, Rng) -> Pin<Box<dyn Future<Output = Result<End, Failure>> + Send>> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Grpc,
}

impl Protocol {
    /// The name as it appears in figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "h1",
            Self::Http2 => "h2",
            Self::Grpc => "grpc",
        }
    }

    pub(crate) fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Http1 | Self::Http2 => &plain::KINDS,
            Self::Grpc => &grpc::KINDS,
        }
    }
}

/// Which sides have layers, and whether the layers have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stacks {
    pub(crate) client: bool,
    pub(crate) server: bool,
    pub(crate) named: bool,
}

impl Stacks {
    pub(crate) const ALL: [Self; 7] = [
        // Calls that are lost here are lost by the client, the server or the harness.
        Self { client: false, server: false, named: false },
        Self { client: true, server: false, named: false },
        Self { client: true, server: false, named: true },
        Self { client: false, server: true, named: false },
        Self { client: false, server: true, named: true },
        Self { client: true, server: true, named: false },
        Self { client: true, server: true, named: true },
    ];
}

impl fmt::Display for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.client, self.server) {
            (true, true) => "both stacks",
            (true, false) => "client stack",
            (false, true) => "server stack",
            (false, false) => "no stack",
        })?;
        f.write_str(if self.named { ", named" } else { "" })
    }
}

/// Ends calls after [`PATIENCE`].
fn impatient(call: Call) -> Call {
    Arc::new(move |kind, rng| {
        let call = call(kind, rng);
        Box::pin(async move { timeout(PATIENCE, call).await.unwrap_or(Ok(End::Lost)) })
    })
}

pub(crate) struct Setup {
    stacks: Stacks,
    layers: Vec<Box<dyn Layers>>,
    server: Server,
    proxy: Proxy,
    bodies: Bodies,
    call: Option<Call>,
}

impl Setup {
    pub(crate) async fn new(protocol: Protocol, stacks: Stacks, registry: &Registry, rng: &mut Rng) -> Self {
        let (client, server) = (layers::client(0), layers::server(0));
        let client_name = stacks.named.then(|| format!("{stacks}, client"));
        let server_name = stacks.named.then(|| format!("{stacks}, server"));
        let (client_name, server_name) = (client_name.as_deref(), server_name.as_deref());
        let mut layers: Vec<Box<dyn Layers>> = Vec::new();
        let bodies = Bodies::default();
        let served = bodies.clone();
        let count = move |response: Response<axum::body::Body>| {
            let served = served.clone();
            async move { response.map(|body| axum::body::Body::new(served.counted(body))) }
        };
        // Repeated, because the stacks of the two protocols have different types.
        macro_rules! named {
            ($layers:expr, $name:expr) => {
                match $name {
                    Some(name) => $layers.and_then(|layers| layers.named_in(registry, name)).unwrap(),
                    None => $layers.unwrap(),
                }
            };
        }
        macro_rules! serve {
            ($app:expr, $stack:path, $start:path) => {{
                let mut app: Router = $app.layer(axum::middleware::map_response(count));
                if stacks.server {
                    let stack = named!($stack(&server), server_name);
                    app = app.layer(stack.clone());
                    layers.push(Box::new(stack));
                }
                $start(app, rng.fork()).await
            }};
        }
        let server = match protocol {
            Protocol::Http1 | Protocol::Http2 => serve!(plain::app(), stack::server, Server::http),
            Protocol::Grpc => serve!(grpc::app(), stack::grpc::server, Server::grpc),
        };
        let proxy = Proxy::before(server.address, rng.fork()).await;
        let mut client_layers = |layers_of_client: Box<dyn Layers>| layers.push(layers_of_client);
        let call = match protocol {
            Protocol::Http1 | Protocol::Http2 => {
                let stack = stacks.client.then(|| named!(stack::client(&client), client_name));
                let call = plain::calls(proxy.address, protocol == Protocol::Http2, stack.as_ref(), &bodies);
                stack.into_iter().for_each(|stack| client_layers(Box::new(stack)));
                call
            }
            Protocol::Grpc => {
                let stack = stacks.client.then(|| named!(stack::grpc::client(&client), client_name));
                let call = grpc::calls(proxy.address, stack.as_ref(), &bodies);
                stack.into_iter().for_each(|stack| client_layers(Box::new(stack)));
                call
            }
        };
        let call = if stacks.client { call } else { impatient(call) };
        Self { stacks, layers, server, proxy, bodies, call: Some(call) }
    }

    pub(crate) fn call(&self) -> Call {
        Arc::clone(self.call.as_ref().expect("it is not shut down"))
    }

    pub(crate) fn reload(&self, round: u64) {
        self.layers.iter().for_each(|layers| layers.reload(round));
    }

    /// Drops the client and tells the server to end.
    pub(crate) fn shut_down(&mut self) {
        self.call = None;
        self.server.shut_down();
        self.proxy.close();
    }

    /// What has not been released, with its number.
    pub(crate) fn leaks(&self) -> Vec<(String, usize)> {
        let permits = self.layers.iter().map(|layers| layers.held()).sum();
        let held = [("permits", permits), ("bodies", self.bodies.held()), ("connections", self.proxy.open())];
        held.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| (format!("{}: {what}", self.stacks), n)).collect()
    }
}
