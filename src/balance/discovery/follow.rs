//! Follows a stream of sets in a task.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use futures_util::Stream;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::follower;
use crate::balance::balancer::Balancer;
use crate::balance::endpoint::Endpoint;
use crate::balance::handle::BalanceHandle;
use crate::telemetry;

impl BalanceHandle {
    /// Takes each set that `sets` yields, as [`set_endpoints`](Self::set_endpoints) does, in a task that it spawns. A set that is empty or
    /// has another fault is logged, and the former set stays; it is counted as a rejected reload. If the stream ends, the last set stays,
    /// and that is logged.
    ///
    /// If there are no endpoints yet, calls wait for the first set, for as long as they would wait for a permit. Then they are refused
    /// with [`Reason::NoEndpoints`](crate::error::Reason::NoEndpoints).
    ///
    /// The task ends with the layer value and all its services, or when another stream is followed.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    ///
    /// ```
    /// use futures::stream;
    /// use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layer = BalanceLayer::new(BalanceConfig::default())?;
    /// // the example `endpoints` watches a file
    /// let sets = stream::iter([vec![Endpoint::new("10.0.0.1:80")], vec![Endpoint::new("10.0.0.2:80")]]);
    /// layer.handle().follow(sets);
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&self, sets: impl Stream<Item = Vec<Endpoint>> + Send + 'static) {
        // It panics here, before the former stream is superseded.
        let runtime = Handle::current();
        let balancer = self.balancer();
        let epoch = balancer.begin_discovery();
        let following = Following { balancer: Arc::downgrade(balancer), epoch };
        let task = runtime.spawn(follow(following, sets));
        balancer.discovery.keep(epoch, task.abort_handle());
    }
}

/// The stream of this epoch, until it ends or its task does.
struct Following {
    balancer: Weak<Balancer>,
    epoch: u64,
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(balancer) = self.balancer.upgrade() {
            balancer.end_discovery(self.epoch);
        }
    }
}

async fn follow(following: Following, sets: impl Stream<Item = Vec<Endpoint>>) {
    let mut sets = pin!(sets);
    let epoch = following.epoch;
    loop {
        let endpoints = poll_fn(|cx| {
            let Some(balancer) = following.balancer.upgrade() else { return Poll::Ready(None) };
            let _follower = follower::enter(&balancer);
            sets.as_mut().poll_next(cx)
        });
        let endpoints = endpoints.await;
        let Some(balancer) = following.balancer.upgrade() else { return };
        match endpoints.map(|endpoints| balancer.set_endpoints(endpoints, Some(epoch))) {
            // The abort reaches a task only after its poll.
            _ if !balancer.discovery.is_current(epoch) => return,
            Some(Ok(())) => {}
            Some(Err(invalid)) => telemetry::endpoints_rejected(balancer.instruments(), &invalid),
            None => return telemetry::discovery_ended(balancer.instruments()),
        }
        drop(balancer);
        // A stream that is always ready must not keep the runtime from its other tasks.
        yield_now().await;
    }
}
