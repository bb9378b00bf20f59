//! A gRPC client that announces a message and does not send it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use seawall::stack::{self, ServerConfig};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};
use tonic::service::Routes;
use tower::{Layer, ServiceExt};

/// A message whose frames come when the test sends them.
struct Sent(UnboundedReceiver<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn check(body: Sent) -> Request<Sent> {
    let request = Request::post("http://server/grpc.health.v1.Health/Check").header("content-type", "application/grpc");
    request.header("te", "trailers").body(body).unwrap()
}

/// The status from the head, or from the trailers.
async fn status<B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>>(response: Response<B>) -> String {
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned();
    let status = head.headers.get("grpc-status").or(trailers.as_ref().and_then(|all| all.get("grpc-status"))).cloned();
    status.unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn missing_message_holds_no_permit_and_is_cancelled() {
    let layers = stack::grpc::server(&ServerConfig::default()).unwrap();
    let handle = layers.load_shed();
    let (_, health) = tonic_health::server::health_reporter();
    let server = layers.layer(Routes::new(health).prepare());
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let (sender, receiver) = unbounded_channel();
        let call = tokio::spawn(server.clone().oneshot(check(Sent(receiver))));
        silent.push((sender, call));
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    let (sender, receiver) = unbounded_channel();
    let honest = tokio::spawn(server.clone().oneshot(check(Sent(receiver))));
    sender.send(Bytes::from_static(&[0, 0, 0, 0, 0])).unwrap();
    drop(sender);
    assert_eq!(status(honest.await.unwrap().unwrap()).await, "0");
    for (_sender, call) in silent {
        assert_eq!(status(call.await.unwrap().unwrap()).await, "1", "CANCELLED");
    }
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(handle.in_flight(), 0);
}
