//! The dependency answers at once, but for some time it sends only a head and the first frame of a body.
//!
//! A stalled body stays stalled, as when the server has lost its own source: only the caller can end it. Connections
//! are counted as a server sees them: accepted, and not yet seen closed.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::get;
use futures::StreamExt;
use futures::stream::once;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::gauge::{Gauge, Inside};
use crate::Error;
use crate::listen;

/// A running dependency and its counters.
#[derive(Clone)]
pub(crate) struct Dependency {
    pub(crate) address: SocketAddr,
    /// Connections.
    pub(crate) open: Gauge,
    /// Connections with an unfinished body.
    pub(crate) stalled: Gauge,
    stalling: Arc<AtomicBool>,
}

impl Dependency {
    pub(crate) async fn start(port: u16) -> Result<Self, Error> {
        let listener = listen::listener(port).await?;
        let address = listener.local_addr()?;
        let dependency = Self { address, open: Gauge::default(), stalled: Gauge::default(), stalling: Arc::default() };
        let app = Router::new().route("/{call}", get(answer)).with_state(dependency.clone());
        tokio::spawn(accept(listener, app, dependency.open.clone()));
        Ok(dependency)
    }

    /// Sets whether bodies that begin from now on stall.
    pub(crate) fn stall(&self, stalling: bool) {
        self.stalling.store(stalling, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, app: Router, open: Gauge) -> ! {
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // Most likely there are no free file descriptors.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let inside = open.enter();
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let _open = inside;
            // How a connection ends depends on its client.
            drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), service).await);
        });
    }
}

async fn answer(State(dependency): State<Dependency>) -> Body {
    if dependency.stalling.load(Ordering::Relaxed) { stalled(dependency.stalled.enter()) } else { Body::from("whole") }
}

/// A part of a body that is never finished. It counts until the server drops it, which it does when the client has
/// closed.
fn stalled(inside: Inside) -> Body {
    let piece = once(async { Ok::<_, Infallible>(Bytes::from_static(b"half")) });
    let never = once(async move {
        let _stalled = inside;
        pending().await
    });
    Body::from_stream(piece.chain(never))
}
