//! Sets of endpoints from tower's `Discover`.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use pin_project::pin_project;
use tower::BoxError;
use tower::discover::{Change, Discover};

use super::follower;
use super::known_endpoints::KnownEndpoints;
use crate::balance::endpoint::Endpoint;
use crate::telemetry;

/// How many changes are applied before a set is yielded, although more are ready.
const MOST_CHANGES: usize = 1024;

/// The sets of endpoints that `discover` finds, for [`BalanceHandle::follow`](crate::balance::BalanceHandle::follow). `endpoint` makes an
/// endpoint of what is inserted. The key of the endpoint is its own: that of `discover` may have any type.
///
/// Changes that are ready at the same time make one set. An error is logged and ends the stream, so the last set stays.
///
/// A set has at most [`max_endpoints`](crate::balance::BalanceConfig::max_endpoints), those that were inserted first. As many more are
/// remembered, and join once there is room, as when a deployment starts new instances before it stops the old ones. More than that are
/// refused, and join only if they are inserted again. Too many endpoints are logged once, until they fit again.
///
/// ```
/// use futures::stream;
/// use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint, discovered};
/// use tower::BoxError;
/// use tower::discover::Change;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = BalanceLayer::new(BalanceConfig::default())?;
/// let changes = [Change::Insert(7, "10.0.0.1:80"), Change::Insert(8, "10.0.0.2:80"), Change::Remove(7)];
/// let discover = stream::iter(changes.map(Ok::<_, BoxError>));
/// layer.handle().follow(discovered(discover, |_, address| Endpoint::new(address)));
/// # Ok(())
/// # }
/// ```
pub fn discovered<D, F>(discover: D, endpoint: F) -> impl Stream<Item = Vec<Endpoint>>
where
    D: Discover,
    D::Error: Into<BoxError>,
    F: FnMut(&D::Key, D::Service) -> Endpoint,
{
    Discovered { discover, endpoint, known: KnownEndpoints::new(), has_changed: false, has_ended: false }
}

#[pin_project]
struct Discovered<D: Discover, F> {
    #[pin]
    discover: D,
    endpoint: F,
    known: KnownEndpoints<D::Key>,
    /// Since the last set.
    has_changed: bool,
    has_ended: bool,
}

impl<D, F> Stream for Discovered<D, F>
where
    D: Discover,
    D::Error: Into<BoxError>,
    F: FnMut(&D::Key, D::Service) -> Endpoint,
{
    type Item = Vec<Endpoint>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        for _ in 0..MOST_CHANGES {
            if *this.has_ended {
                break;
            }
            match this.discover.as_mut().poll_discover(cx) {
                Poll::Ready(Some(Ok(change))) => {
                    *this.has_changed = true;
                    match change {
                        Change::Insert(key, service) => {
                            let endpoint = (this.endpoint)(&key, service);
                            this.known.insert(key, endpoint, follower::max_endpoints());
                        }
                        Change::Remove(key) => this.known.remove(&key),
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    telemetry::discovery_failed(&follower::instruments(), &*error.into());
                    *this.has_ended = true;
                }
                Poll::Ready(None) => *this.has_ended = true,
                Poll::Pending if *this.has_changed => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        let is_changed = mem::replace(this.has_changed, false);
        Poll::Ready(is_changed.then(|| this.known.set(follower::max_endpoints())))
    }
}
