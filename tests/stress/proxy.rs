//! A TCP proxy that ends each connection after a random time, by FIN or by RST.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a connection lives, in milliseconds.
const LIFE: std::ops::Range<u64> = 200..3000;

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    open: Arc<()>,
    accepting: AbortHandle,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr, mut rng: Rng) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(());
        let counter = Arc::downgrade(&open);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let (open, rng) = (Weak::clone(&counter), rng.fork());
                tokio::spawn(async move {
                    relay(client, server, rng).await;
                    drop(open);
                });
            }
        })
        .abort_handle();
        Self { address, open, accepting }
    }

    /// The number of connections that are not closed by both ends.
    pub(crate) fn open(&self) -> usize {
        // The accepting task holds one reference until it ends; each connection holds one more.
        Arc::weak_count(&self.open)
    }

    pub(crate) fn close(&self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, mut rng: Rng) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let life = Duration::from_millis(rng.u64(LIFE));
    if timeout(life, copy_bidirectional(&mut client, &mut server)).await.is_ok() {
        return;
    }
    for socket in [&mut client, &mut server] {
        if rng.bool() {
            let _ = socket.set_zero_linger(); // RST on drop
        } else {
            let _ = socket.shutdown().await;
        }
    }
}
