//! A predictor: axum with seawall in front, a few slots, and a fixed time for each call.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Args;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::http::respond::RespondLayer;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;
use tower::ServiceBuilder;

use crate::Error;
use crate::process;
use crate::topology::SLOTS;

/// The header of an answer that names its predictor.
pub(crate) const NODE: &str = "x-node";

/// Serves as a predictor, for its parent
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    name: String,
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long)]
    service_ms: u64,
}

/// What a call meets.
#[derive(Debug)]
struct Model {
    name: String,
    service: Duration,
    slowdown: AtomicU32,
    fails: AtomicBool,
    /// The requests in progress that must not be sent twice.
    posts: AtomicUsize,
}

/// A request in progress that must not be sent twice.
struct Post<'a>(&'a Model);

impl<'a> Post<'a> {
    fn begin(model: &'a Model) -> Self {
        model.posts.fetch_add(1, Ordering::Relaxed);
        Self(model)
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.0.posts.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs until the parent ends it.
pub(crate) async fn serve(arguments: Arguments) -> Result<(), Error> {
    let mut commands = process::commands();
    let model = Arc::new(Model {
        name: arguments.name,
        service: Duration::from_millis(arguments.service_ms),
        slowdown: AtomicU32::new(1),
        fails: AtomicBool::new(false),
        posts: AtomicUsize::new(0),
    });
    let slots = BulkheadConfig { max_concurrent: SLOTS, ..BulkheadConfig::default() };
    let app = Router::new()
        .route("/", get(predict).post(predict))
        .layer(ServiceBuilder::new().layer(RespondLayer::new()).layer(BulkheadLayer::http(slots)?))
        .with_state(Arc::clone(&model));
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port))).await?;
    process::tell(listener.local_addr()?);

    let finishes = Arc::new(Notify::new());
    let finish = Arc::clone(&finishes);
    tokio::spawn(async move {
        while let Some(command) = commands.recv().await {
            match command.as_str() {
                "finish" => finish.notify_one(),
                "slow" => model.slowdown.store(10, Ordering::Relaxed),
                "fail" => model.fails.store(true, Ordering::Relaxed),
                "heal" => {
                    model.slowdown.store(1, Ordering::Relaxed);
                    model.fails.store(false, Ordering::Relaxed);
                }
                "posts" => {
                    process::tell(model.posts.load(Ordering::Relaxed));
                    continue;
                }
                other => process::tell(format_args!("unknown command {other}")),
            }
            if command != "finish" {
                process::tell("done");
            }
        }
    });
    // A small answer must not wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    axum::serve(listener, app).with_graceful_shutdown(async move { finishes.notified().await }).await?;
    Ok(())
}

async fn predict(State(model): State<Arc<Model>>, method: Method) -> impl IntoResponse {
    let _post = (method == Method::POST).then(|| Post::begin(&model));
    let status = if model.fails.load(Ordering::Relaxed) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        sleep(model.service * model.slowdown.load(Ordering::Relaxed)).await;
        StatusCode::OK
    };
    (status, [(NODE, model.name.clone())], "prediction")
}
