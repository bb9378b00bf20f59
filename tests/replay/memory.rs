//! An upload of any size passes in constant memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tower::{BoxError, Layer};

use crate::{Protocol, call, client, request, retry};

const GIB: u64 = 1 << 30;

/// This many bytes, each frame in a buffer of its own.
struct Zeroes(u64);

impl Body for Zeroes {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let len = self.0.min(64 * 1024);
        self.0 -= len;
        Poll::Ready((len > 0).then(|| Ok(Frame::data(vec![0; len as usize].into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// Client and server share the thread, so that the memory of both is counted.
#[test]
fn gibibyte_upload_passes_in_constant_memory() {
    // A smaller size over HTTP/2, which is slow in debug builds.
    for (protocol, size) in [(Protocol::Http1, GIB), (Protocol::Http2, GIB / 8)] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let used = allocation_counter::measure(|| {
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = tokio::spawn(async move {
                    let (stream, _) = listener.accept().await.unwrap();
                    let answer = service_fn(|request: http::Request<Incoming>| async move {
                        let mut body = request.into_body();
                        let mut read = 0;
                        while let Some(frame) = body.frame().await {
                            read += frame?.data_ref().map_or(0, Bytes::len) as u64;
                        }
                        assert_eq!(read, size);
                        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
                });
                let request = request(Method::PUT, address, Zeroes(size));
                let (answer, report) = call(retry().layer(client(protocol)), request).await;
                assert_eq!((answer.unwrap().0, report.attempts), (200, 1));
                server.await.unwrap();
            });
        });
        assert!(used.bytes_max < 4 << 20, "{protocol:?}: {} bytes at once", used.bytes_max);
    }
}
