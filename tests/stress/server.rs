//! Servers that shut down each connection after a random time, with `GOAWAY` or `connection: close`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use fastrand::Rng;
use futures::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long a connection lives before its shutdown, in milliseconds.
const AGE: std::ops::Range<u64> = 100..2000;

/// A server that runs until [`shut_down`](Self::shut_down).
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: watch::Sender<()>,
}

impl Server {
    pub(crate) async fn http(app: Router, mut rng: Rng) -> Self {
        let (listener, address) = listen().await;
        let (shutdown, mut told) = watch::channel(());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = told.changed() => return,
                };
                let Ok((socket, _)) = accepted else { continue };
                tokio::spawn(serve(socket, app.clone(), Duration::from_millis(rng.u64(AGE)), told.clone()));
            }
        });
        Self { address, shutdown }
    }

    /// tonic's own server, which sends `GOAWAY` to all its connections when it shuts down, and starts again.
    pub(crate) async fn grpc(app: Router, mut rng: Rng) -> Self {
        let (listener, address) = listen().await;
        let (shutdown, mut told) = watch::channel(());
        tokio::spawn(async move {
            let mut ends = false;
            while !ends {
                let incoming = stream::poll_fn(|cx| listener.poll_accept(cx).map_ok(|(socket, _)| socket).map(Some));
                let end = async {
                    let age = Duration::from_millis(rng.u64(AGE));
                    ends = timeout(age, told.changed()).await.is_ok();
                };
                let server = tonic::transport::Server::builder().add_routes(app.clone().into());
                server.serve_with_incoming_shutdown(incoming, end).await.unwrap();
            }
        });
        Self { address, shutdown }
    }

    pub(crate) fn shut_down(&self) {
        let _ = self.shutdown.send(());
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection, HTTP/1.1 or HTTP/2, as the client chooses.
async fn serve(socket: TcpStream, app: Router, age: Duration, mut told: watch::Receiver<()>) {
    let _ = socket.set_nodelay(true);
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        () = sleep(age) => {}
        _ = told.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
