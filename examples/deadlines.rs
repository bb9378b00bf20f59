//! Three services in a row, on real sockets. The caller gives the first one a second. The time left travels with the
//! calls that the handlers make, without code in the handlers, and the last service sees how little is left.
//!
//! ```text
//! cargo run --example deadlines
//! ```

#![allow(clippy::disallowed_methods, reason = "a service works in real time")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use seawall::context;
use seawall::deadline::DeadlineLayer;
use seawall::http::propagation::{ExtractLayer, Inject, InjectLayer, PropagationConfig};
use seawall::http::respond::RespondLayer;
use tokio::net::TcpListener;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

/// The deadline of the caller.
const GIVEN: Duration = Duration::from_secs(1);

/// How long the second service works before it calls the third.
const WORK: Duration = Duration::from_millis(150);

type Seen = Arc<Mutex<Vec<(&'static str, Duration)>>>;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let seen = Seen::default();
    let stock = serve(service("stock", Duration::ZERO, None, &seen)?).await?;
    let orders = serve(service("orders", WORK, Some(stock), &seen)?).await?;
    let shop = serve(service("shop", Duration::ZERO, Some(orders), &seen)?).await?;

    println!("the caller gives {GIVEN:?}");
    let caller = DeadlineLayer::http(GIVEN)?.layer(client()?);
    let status = get(caller.clone(), shop).await?;
    println!("the answer: {status}");

    let left = std::mem::take(&mut *seen.lock().map_err(|_| "a handler panicked")?);
    let names: Vec<_> = left.iter().map(|(name, _)| *name).collect();
    let mut holds = status == StatusCode::OK && names == ["shop", "orders", "stock"];
    holds &= left.iter().all(|(_, left)| *left < GIVEN);
    holds &= left.windows(2).all(|pair| pair[1].1 < pair[0].1);
    holds &= left.last().is_some_and(|(_, left)| *left < GIVEN - WORK);

    // A caller with a short deadline: the work of the second service uses all of it, and the third one is not called.
    println!("the caller gives 100ms");
    let hurried = DeadlineLayer::http(Duration::from_millis(100))?.layer(client()?);
    match get(hurried, shop).await {
        Ok(status) => println!("the answer: {status}"),
        Err(error) => println!("no answer: {error}"),
    }
    let left = seen.lock().map_err(|_| "a handler panicked")?;
    let spared = !left.iter().any(|(name, _)| *name == "stock");
    if spared {
        println!("   stock was not called: orders, which works for {WORK:?}, was cut before that");
    }
    holds &= spared;

    if !holds {
        eprintln!("a deadline was not kept: {left:?}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

type HttpClient = Inject<Client<HttpConnector, Empty<Bytes>>>;

/// A client whose requests carry the time left until the deadline.
fn client() -> Result<HttpClient, BoxError> {
    Ok(InjectLayer::http(PropagationConfig::default())?.layer(Client::builder(TokioExecutor::new()).build_http()))
}

/// A service that works, and then calls the service below.
fn service(name: &'static str, work: Duration, below: Option<SocketAddr>, seen: &Seen) -> Result<Router, BoxError> {
    let (seen, client) = (Arc::clone(seen), client()?);
    let handler = move || async move {
        let left = context::time_left().unwrap_or(Duration::MAX);
        println!("{name:>8} has {left:>10.1?} left");
        if let Ok(mut seen) = seen.lock() {
            seen.push((name, left));
        }
        tokio::time::sleep(work).await;
        match below {
            Some(below) => get(client, below).await.unwrap_or(StatusCode::BAD_GATEWAY),
            None => StatusCode::OK,
        }
    };
    let layers = ServiceBuilder::new()
        // Outermost: inner layers see the caller's deadline, and the response can forbid a retry.
        .layer(ExtractLayer::http(PropagationConfig::default())?)
        .layer(RespondLayer::new())
        // Callers without a deadline get this one, and no caller gets more.
        .layer(DeadlineLayer::http(Duration::from_secs(10))?);
    Ok(Router::new().fallback(handler).layer(layers))
}

async fn get<S, B>(client: S, address: SocketAddr) -> Result<StatusCode, BoxError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    B: http_body::Body<Error: Into<BoxError>>,
{
    let request = Request::get(format!("http://{address}/")).body(Empty::new())?;
    let response = client.oneshot(request).await.map_err(Into::into)?;
    let status = response.status();
    response.into_body().collect().await.map_err(Into::into)?;
    Ok(status)
}

async fn serve(app: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
