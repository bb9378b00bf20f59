//! Servers, a proxy in front of each, clients behind the proxies, and the stacks around either or both.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fastrand::Rng;
use http::Response;
use seawall::balance::Endpoint;
use seawall::registry::Registry;
use seawall::stack;
use tokio::time::timeout;

use crate::counted::Bodies;
use crate::endpoints::{Endpoints, Hedged};
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

/// The layers of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientSide {
    None,
    Stack,
    /// A balancer over several servers.
    Balanced,
    /// The same, with quarantine and hedges.
    Hedged,
}

impl ClientSide {
    fn servers(self) -> usize {
        match self {
            Self::None | Self::Stack => 1,
            Self::Balanced | Self::Hedged => 3,
        }
    }
}

/// Which sides have layers, and whether the layers have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stacks {
    pub(crate) client: ClientSide,
    pub(crate) server: bool,
    pub(crate) named: bool,
}

impl Stacks {
    pub(crate) const ALL: [Self; 10] = [
        // Calls that are lost here are lost by the client, the server or the harness.
        Self { client: ClientSide::None, server: false, named: false },
        Self { client: ClientSide::Stack, server: false, named: false },
        Self { client: ClientSide::Stack, server: false, named: true },
        Self { client: ClientSide::None, server: true, named: false },
        Self { client: ClientSide::None, server: true, named: true },
        Self { client: ClientSide::Stack, server: true, named: false },
        Self { client: ClientSide::Stack, server: true, named: true },
        Self { client: ClientSide::Balanced, server: false, named: false },
        Self { client: ClientSide::Balanced, server: true, named: true },
        Self { client: ClientSide::Hedged, server: true, named: true },
    ];

    /// Those for a run that warms up everything that the library keeps.
    pub(crate) const WARM_UP: &[Self] = Self::ALL.split_at(6).1;
}

impl fmt::Display for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.client, self.server) {
            (ClientSide::Stack, true) => "both stacks",
            (ClientSide::Stack, false) => "client stack",
            (ClientSide::None, true) => "server stack",
            (ClientSide::None, false) => "no stack",
            (ClientSide::Balanced, true) => "balanced client and server stack",
            (ClientSide::Balanced, false) => "balanced client stack",
            (ClientSide::Hedged, true) => "hedged client and server stack",
            (ClientSide::Hedged, false) => "hedged client",
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
    servers: Vec<Server>,
    proxies: Vec<Proxy>,
    bodies: Bodies,
    call: Option<Call>,
}

impl Setup {
    pub(crate) async fn new(protocol: Protocol, stacks: Stacks, registry: &Registry, rng: &mut Rng) -> Self {
        let server = layers::server(0);
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
                // All servers share the permits of one shedder, like instances on one machine.
                let stack = stacks.server.then(|| named!($stack(&server), server_name));
                let mut servers = Vec::new();
                for _ in 0..stacks.client.servers() {
                    let mut app: Router = $app.layer(axum::middleware::map_response(count.clone()));
                    if let Some(stack) = &stack {
                        app = app.layer(stack.clone());
                    }
                    servers.push($start(app, rng.fork()).await);
                }
                stack.into_iter().for_each(|stack| layers.push(Box::new(stack)));
                servers
            }};
        }
        let servers = match protocol {
            Protocol::Http1 | Protocol::Http2 => serve!(plain::app(), stack::server, Server::http),
            Protocol::Grpc => serve!(grpc::app(), stack::grpc::server, Server::grpc),
        };
        let mut proxies = Vec::new();
        for server in &servers {
            proxies.push(Proxy::before(server.address, rng.fork()).await);
        }
        let addresses: Vec<_> = proxies.iter().map(|proxy| proxy.address).collect();
        let endpoints = addresses.iter().map(|address| Endpoint::new(format!("http://{address}")));
        macro_rules! client {
            ($clients:expr, $stack:path, $balanced:path, $hedged:path) => {{
                let clients = $clients;
                match stacks.client {
                    ClientSide::None => clients.bare(addresses[0]),
                    ClientSide::Stack => {
                        let stack = named!($stack(&layers::client(0)), client_name);
                        let call = clients.with_stack(addresses[0], &stack);
                        layers.push(Box::new(stack));
                        call
                    }
                    ClientSide::Balanced => {
                        let stack = $balanced(&layers::balanced(0)).and_then(|stack| stack.with_endpoints(endpoints));
                        let stack = named!(stack, client_name);
                        let call = clients.balanced(&stack);
                        layers.push(Box::new(Endpoints::of(stack)));
                        call
                    }
                    ClientSide::Hedged => {
                        let stack = $hedged(endpoints, registry, client_name.unwrap_or("hedged"));
                        let call = clients.hedged(&stack);
                        layers.push(Box::new(stack));
                        call
                    }
                }
            }};
        }
        let call = match protocol {
            Protocol::Http1 | Protocol::Http2 => {
                let clients = plain::Clients { http2: protocol == Protocol::Http2, bodies: &bodies };
                client!(clients, stack::client, stack::balanced_client, Hedged::http)
            }
            Protocol::Grpc => {
                let clients = grpc::Clients { bodies: &bodies };
                client!(clients, stack::grpc::client, stack::grpc::balanced_client, Hedged::grpc)
            }
        };
        let call = if stacks.client == ClientSide::None { impatient(call) } else { call };
        Self { stacks, layers, servers, proxies, bodies, call: Some(call) }
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
        self.servers.iter().for_each(Server::shut_down);
        self.proxies.iter().for_each(Proxy::close);
    }

    /// What has not been released, with its number.
    pub(crate) fn leaks(&self) -> Vec<(String, usize)> {
        let permits = self.layers.iter().map(|layers| layers.held()).sum();
        let connections = self.proxies.iter().map(Proxy::open).sum();
        let held = [("permits", permits), ("bodies", self.bodies.held()), ("connections", connections)];
        held.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| (format!("{}: {what}", self.stacks), n)).collect()
    }
}
