//! Real listeners on loopback for the services of a run.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::Error;

/// Listens on `port` of the loopback interface; 0 = any free port.
pub(crate) async fn listener(port: u16) -> Result<TcpListener, Error> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(wanted).await.map_err(|cause| {
        format!("cannot listen on {wanted}: {cause}; choose other ports with --port, or leave it out to take free ones")
    })?;
    Ok(listener)
}

/// Serves `app` on `port` of the loopback interface (0 = any free port) until the runtime ends.
pub(crate) async fn serve(port: u16, app: Router) -> Result<SocketAddr, Error> {
    let listener = listener(port).await?;
    let address = listener.local_addr()?;
    // Small answers must not wait for the peer's delayed acknowledgement. A connection without the option is only slower.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(address)
}
