//! The client of an endpoint. The first call that needs it makes it, and other calls wait for it meanwhile: it is made once.

use std::fmt;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::atomic::AtomicU64 as Counter;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tower::Service;

use super::endpoint::Endpoint;
use super::endpoint_set::Member;
use crate::ground::sync::atomic::{AtomicBool, Ordering};
use crate::ground::sync::foreign;
use crate::ground::time::{self, Instant};

/// How old a client is at least when it is replaced because its `poll_ready` has failed. A client that fails at once would otherwise be
/// made anew by each call.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Makes the client of an endpoint.
pub(super) type Connect<S> = dyn Fn(&Endpoint) -> S + Send + Sync;

/// See the module.
pub(super) struct EndpointClient<S> {
    /// Unique in the process.
    pub(super) id: NonZeroU64,
    /// The id of the endpoint's state.
    pub(super) endpoint_id: NonZeroU64,
    endpoint: Endpoint,
    connect: Arc<Connect<S>>,
    made: OnceLock<Made<S>>,
    /// A call makes the client now.
    is_claimed: AtomicBool,
    /// Notified when that call has made the client, or has panicked.
    claim_ended: Arc<Notify>,
}

struct Made<S> {
    client: S,
    at: Instant,
}

impl<S> EndpointClient<S> {
    /// The client of this member. It is made when a call needs it.
    pub(super) fn new(Member { endpoint, state }: &Member, connect: &Arc<Connect<S>>) -> Self {
        Self {
            id: next_id(),
            endpoint_id: state.id,
            endpoint: endpoint.clone(),
            connect: Arc::clone(connect),
            made: OnceLock::new(),
            is_claimed: AtomicBool::new(false),
            claim_ended: Arc::default(),
        }
    }

    pub(super) fn address(&self) -> &str {
        self.endpoint.address()
    }

    /// Whether it is old enough to be replaced after a failure.
    pub(super) fn is_replaceable(&self, now: Instant) -> bool {
        self.made.get().is_some_and(|made| now.since(made.at) >= RECONNECT_AFTER)
    }
}

impl<S: Clone> EndpointClient<S> {
    /// The client for one call.
    #[inline]
    pub(super) fn for_call(self: &Arc<Self>) -> CallClient<S> {
        let source = match self.made.get() {
            Some(made) => Source::Made(foreign(|| made.client.clone())),
            None => self.make_or_wait(),
        };
        CallClient { id: self.id, source }
    }

    #[cold]
    fn make_or_wait(self: &Arc<Self>) -> Source<S> {
        match self.try_make() {
            Some(client) => Source::Made(client),
            None => Source::Awaited(Box::new(Awaited { of: Arc::clone(self), claim_ended: None })),
        }
    }

    /// The client, made now if there is none. `None`: another call makes it.
    fn try_make(&self) -> Option<S> {
        if self.is_claimed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let claim = Claim(self);
        // An earlier claim may have ended just now.
        if let Some(made) = self.made.get() {
            return Some(foreign(|| made.client.clone()));
        }
        let client = self.make();
        let for_call = foreign(|| client.clone());
        let unused = self.made.set(Made { client, at: time::now() });
        drop(claim);
        foreign(|| drop(unused));
        Some(for_call)
    }

    fn make(&self) -> S {
        foreign(|| (self.connect)(&self.endpoint))
    }
}

/// The right to make the client. It ends also if that panics: a call that waits makes the client then.
struct Claim<'a, S>(&'a EndpointClient<S>);

impl<S> Drop for Claim<'_, S> {
    fn drop(&mut self) {
        self.0.is_claimed.store(false, Ordering::Release);
        foreign(|| self.0.claim_ended.notify_waiters());
    }
}

/// A client for one call. If another call makes it, it is not ready until then.
pub(super) struct CallClient<S> {
    /// The id of the [`EndpointClient`].
    pub(super) id: NonZeroU64,
    source: Source<S>,
}

enum Source<S> {
    Made(S),
    Awaited(Box<Awaited<S>>),
}

struct Awaited<S> {
    of: Arc<EndpointClient<S>>,
    claim_ended: Option<Pin<Box<OwnedNotified>>>,
}

impl<S: Clone> Awaited<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<S> {
        loop {
            // Before the claim is checked: its end is not missed.
            let claim_ended =
                self.claim_ended.get_or_insert_with(|| Box::pin(Arc::clone(&self.of.claim_ended).notified_owned()));
            if let Some(client) = self.of.try_make() {
                return Poll::Ready(client);
            }
            ready!(foreign(|| claim_ended.as_mut().poll(cx)));
            self.claim_ended = None;
        }
    }
}

impl<S, Req> Service<Req> for CallClient<S>
where
    S: Service<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        loop {
            match &mut self.source {
                Source::Made(client) => return client.poll_ready(cx),
                Source::Awaited(awaited) => self.source = Source::Made(ready!(awaited.poll(cx))),
            }
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> S::Future {
        match &mut self.source {
            Source::Made(client) => client.call(request),
            // Not ready, so this call breaks the contract of `Service`. It gets a client of its own.
            Source::Awaited(awaited) => awaited.of.make().call(request),
        }
    }
}

fn next_id() -> NonZeroU64 {
    static LAST: Counter = Counter::new(0);
    NonZeroU64::MIN.saturating_add(LAST.fetch_add(1, Ordering::Relaxed))
}

impl<S> fmt::Debug for EndpointClient<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointClient").field("address", &self.address()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use crate::balance::{BalanceConfig, BalanceLayer};

    #[derive(Clone)]
    struct Echo;

    impl Service<u32> for Echo {
        type Response = u32;
        type Error = ();
        type Future = std::future::Ready<Result<u32, ()>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: u32) -> Self::Future {
            std::future::ready(Ok(request))
        }
    }

    #[tokio::test]
    async fn client_that_is_not_ready_can_be_called() {
        let layer = BalanceLayer::new(BalanceConfig::default()).expect("a valid config");
        let handle = layer.with_endpoints([Endpoint::new("a")]).expect("a valid set").handle();
        let set = handle.balancer().set.load();
        let connect: Arc<Connect<Echo>> = Arc::new(|_: &Endpoint| Echo);
        let client = Arc::new(EndpointClient::new(set.get(0).expect("a member"), &connect));
        client.is_claimed.store(true, Ordering::Release);
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        let mut for_call = client.for_call();
        assert!(Service::<u32>::poll_ready(&mut for_call, &mut cx).is_pending());
        assert_eq!(for_call.call(7).await, Ok(7));
        assert!(client.made.get().is_none(), "the claim is that of another call");
        drop(Claim(&client));
        assert!(Service::<u32>::poll_ready(&mut for_call, &mut cx).is_ready());
        assert!(client.made.get().is_some());
    }
}
