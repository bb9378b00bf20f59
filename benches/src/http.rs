//! The cost of a call over HTTP: a request with a body is sent, and the body of the response is read to its end.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tokio::task::coop::unconstrained;
use tower::{BoxError, Service};

use crate::calls::Calls;

/// A client that is called with requests, and whose responses are read.
#[derive(Clone, Debug)]
pub struct OverHttp<S>(pub S);

impl<S, B> Calls for OverHttp<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Send,
    B: Body<Data = Bytes>,
{
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(unconstrained(async move {
            for _ in 0..calls {
                let is_ready = std::future::poll_fn(|cx| self.0.poll_ready(cx)).await.is_ok();
                let mut call = pin!(self.0.call(black_box(Request::new(Full::from("a question")))));
                let answer = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Pending => call.as_mut().poll(cx),
                    answer => answer,
                });
                let Ok(answer) = answer.await else { panic!("a call was refused") };
                let mut body = pin!(answer.into_body());
                let mut read = 0;
                while let Some(Ok(frame)) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    read += frame.data_ref().map_or(0, Bytes::len);
                }
                assert!(black_box(read) > 0 && is_ready, "there was no answer");
            }
        }))
    }
}

/// The inner service, with a short answer.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Whether the answer is ready at the second poll instead of the first.
    pub yields: bool,
}

/// A call of [`Answers`].
#[derive(Debug)]
pub struct Answer {
    yields: bool,
}

impl<B> Service<Request<B>> for Answers {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Answer;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, _request: Request<B>) -> Answer {
        Answer { yields: self.yields }
    }
}

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.yields {
            self.yields = false;
            return Poll::Pending;
        }
        Poll::Ready(Ok::<_, Infallible>(Response::new(Full::from("an answer"))).map_err(Into::into))
    }
}
