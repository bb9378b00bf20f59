//! The router: axum in front, and seawall's balancer over the predictors behind.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Args;
use http_body_util::Empty;
use seawall::balance::{
    AtEndpoint, BalanceConfig, BalanceHandle, EjectionConfig, Endpoint, EndpointMode, SlowStartConfig,
};
use seawall::circuit_breaker::{CircuitBreakerConfig, Window};
use seawall::deadline::DeadlineLayer;
use seawall::http::respond::RespondLayer;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig};
use seawall::stack::{self, BalancedClientConfig};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::Error;
use crate::process;
use crate::topology::{SLOTS, node_name};
use crate::users::http_client;

/// The timeout of an attempt at a predictor, in service times.
pub(crate) const ATTEMPT: u32 = 2;

/// Serves as the router, for its parent
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    service_ms: u64,
    /// A predictor: its tier and its address, as in 0@127.0.0.1:8080
    #[arg(long = "node")]
    nodes: Vec<String>,
    /// Leaves the breaker and the retries at the library's defaults
    #[arg(long)]
    defaults: bool,
}

/// The settings of the router's client. The library's defaults are for calls of well below a second; these calls take a whole one, and
/// all times follow that.
fn settings(service: Duration, defaults: bool) -> BalancedClientConfig {
    let mut settings = BalancedClientConfig {
        deadline: (6 * service).into(),
        retry: RetryConfig {
            backoff: Backoff::exponential(service / 20, 2.0),
            budget: BudgetConfig { ttl: (10 * service).max(Duration::from_secs(1)), ..BudgetConfig::default() },
            ..RetryConfig::default()
        },
        balance: BalanceConfig {
            // As many as a predictor has slots: further calls wait here, and take the first slot that is free.
            max_concurrent: SLOTS,
            max_wait: 2 * service,
            slow_start: SlowStartConfig { window: 10 * service, ..SlowStartConfig::default() },
            ejection: EjectionConfig { interval: 10 * service, base_time: 30 * service, ..EjectionConfig::default() },
            circuit_breaker: CircuitBreakerConfig {
                window: Window::Time(10 * service),
                slow_floor: service / 2,
                break_duration: service,
                max_break: 30 * service,
                ..CircuitBreakerConfig::default()
            },
            ..BalanceConfig::default()
        },
        ..BalancedClientConfig::default()
    };
    if !defaults {
        // The other predictors are as good as this one, so to give up on it early costs nothing.
        let breaker = &mut settings.balance.circuit_breaker;
        breaker.consecutive_failures = Some(5);
        breaker.minimum_calls = 5;
        // A probe costs its caller a retry. A long break would keep a predictor idle that is back.
        breaker.max_break = 2 * service;
        // Not by the median: a standby has none before its first calls, and the floor is shorter than a call.
        breaker.slow_after = Some(service.mul_f64(1.5));
        settings.retry.max_attempts = 5;
    }
    settings
}

/// Runs until the parent ends it.
pub(crate) async fn serve(arguments: Arguments) -> Result<(), Error> {
    let mut commands = process::commands();
    let service = Duration::from_millis(arguments.service_ms);
    let layers = stack::balanced_client(&settings(service, arguments.defaults))?;
    let layers = layers.with_endpoints(endpoints(&arguments.nodes)?)?;
    let handle = layers.balance();
    // The time of one attempt at a predictor, without the wait for a slot.
    let attempt = DeadlineLayer::http(ATTEMPT * service)?;
    let http = http_client();
    let client = layers.service(move |endpoint| attempt.layer(AtEndpoint::new(endpoint, http.clone())));
    let client = RespondLayer::new().layer(client);
    let app = proxy(client);
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    process::tell(listener.local_addr()?);

    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            match control(&handle, &command) {
                Some(()) => process::tell("done"),
                None => process::tell(format_args!("unknown command {command}")),
            }
        }
    });
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, app).await?;
    Ok(())
}

fn endpoints(nodes: &[String]) -> Result<Vec<Endpoint>, Error> {
    let endpoint = |(node, text): (usize, &String)| {
        let (tier, address) = text.split_once('@').ok_or("a predictor is TIER@ADDRESS")?;
        Ok(Endpoint::new(address).with_key(node_name(node)).with_tier(tier.parse()?))
    };
    nodes.iter().enumerate().map(endpoint).collect()
}

/// `drain a`, before it is stopped, or `serve a`, after it has started again.
fn control(handle: &BalanceHandle, command: &str) -> Option<()> {
    let (command, key) = command.split_once(' ')?;
    match command {
        "drain" => handle.set_mode(key, EndpointMode::Draining).then_some(()),
        "serve" => handle.set_mode(key, EndpointMode::Serving).then_some(()),
        _ => None,
    }
}

/// Proxies each request. Refusals of the client are responses already.
fn proxy<C, B>(client: C) -> Router
where
    C: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    C::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let handler = async move |method: Method| {
        let query = Request::builder().method(method).uri("http://predictors/");
        let query = query.body(Empty::new()).map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(answer) = client.clone().oneshot(query).await;
        Ok::<_, StatusCode>(answer.map(Body::new))
    };
    Router::new().route("/", get(handler.clone()).post(handler))
}
