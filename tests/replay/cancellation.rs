//! A call that is dropped at any point leaves no body, and no connection that is neither reusable nor closed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::Method;
use tower::Layer;

use crate::server::Act::{Answer, Die, Early};
use crate::server::Server;
use crate::upload::{Piece, Upload};
use crate::{BOTH, call, client, eventually, request, retry};

/// Polls a future up to this many times, whenever it is woken. Returns whether it completed.
async fn polled(future: impl Future, times: usize) -> bool {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(true),
            // Dropped right after the last poll, not at the next wake-up.
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn call_dropped_at_any_poll_leaves_nothing() {
    for protocol in BOTH {
        let mut whole = false;
        for times in 0..200 {
            let server = Server::new(&[Early(503, 3), Die(3), Answer(200)]).await;
            let live = Arc::new(());
            let upload = Upload::of(&["one", "two"])
                .with(Piece::Pause)
                .with(Piece::Data("three".into()))
                .with(Piece::Pause)
                .with(Piece::Data("four".into()))
                .counted(&live);
            let client = client(protocol);
            let retry = retry().layer(client.clone());
            whole = polled(call(retry, request(Method::PUT, server.address, upload)), times).await;
            eventually("the body is dropped", || Arc::strong_count(&live) == 1).await;
            drop(client);
            eventually("all connections are closed", || server.open() == 0).await;
            if whole {
                break;
            }
        }
        assert!(whole, "{protocol:?}: the call completed");
    }
}
