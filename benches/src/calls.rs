//! How a service is called many times, and the inner service inside all layers.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::coop::unconstrained;
use tower::{BoxError, Service};

/// A service that can be called many times over.
pub trait Calls: Send {
    /// Makes this many calls, one after the other. Panics if a call fails.
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl<S> Calls for S
where
    S: Service<u64, Response = u64> + Send,
{
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        // Without this, tokio's cooperative budget would run out after 128 polls of a timer or semaphore, and the
        // measurement would change from there on.
        Box::pin(unconstrained(async move {
            for request in 0..calls {
                let is_ready = std::future::poll_fn(|cx| self.poll_ready(cx)).await.is_ok();
                let mut call = pin!(self.call(black_box(request)));
                let check = |answer: Result<u64, S::Error>| answer.is_ok_and(|answer| black_box(answer) == request);
                // Polled again at once: the cost of the runtime's scheduler does not belong to a layer. The answer is
                // checked in place, as `?` does: moving it would be our own cost.
                let is_right = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Ready(answer) => Poll::Ready(check(answer)),
                    Poll::Pending => call.as_mut().poll(cx).map(check),
                });
                assert!(is_right.await && is_ready, "a call was refused");
            }
        }))
    }
}

/// The inner service: it answers with the request.
#[derive(Clone, Copy, Debug)]
pub struct Echo {
    /// Whether the answer is ready at the second poll instead of the first.
    pub yields: bool,
}

/// A call of [`Echo`].
#[derive(Debug)]
pub struct Answer {
    request: u64,
    yields: bool,
}

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Answer {
        Answer { request, yields: self.yields }
    }
}

impl Future for Answer {
    type Output = Result<u64, BoxError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.yields {
            self.yields = false;
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.request))
    }
}
