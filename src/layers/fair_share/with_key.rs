//! A future whose calls have a key.

use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use pin_project::{pin_project, pinned_drop};

use crate::ground::scope::{self, ShareKey};

/// The hash of a key, with a random seed for each process: no caller can choose a key that shares its turns with those of another.
pub(super) fn hash_of(key: &impl Hash) -> ShareKey {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    ShareKey::of_hash(SEED.get_or_init(RandomState::new).hash_one(key))
}

/// Gives every call made in `future` this key. The rest of its [context](crate::context) stays.
///
/// For a caller that is no request: a job, a consumer of a queue. Calls without a key together have one share, so give one to all callers
/// of a client or to none.
///
/// ```
/// use seawall::fair_share;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let report = fair_share::with_key("monthly report", async {
///     // The calls made here share the queues of all clients fairly with those of other keys.
///     42
/// });
/// assert_eq!(report.await, 42);
/// # }
/// ```
pub fn with_key<F: Future>(key: impl Hash, future: F) -> WithKey<F> {
    WithKey::new(hash_of(&key), future)
}

/// A future whose calls have a key, also while it is dropped. See [`with_key`].
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct WithKey<F> {
    key: ShareKey,
    /// `None` while it is dropped.
    #[pin]
    future: Option<F>,
}

impl<F> WithKey<F> {
    pub(super) fn new(key: ShareKey, future: F) -> Self {
        Self { key, future: Some(future) }
    }
}

impl<F: Future> Future for WithKey<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(future) = this.future.as_pin_mut() else { return Poll::Pending };
        let _entered = scope::enter(scope::current().with_share_key(Some(*this.key)));
        future.poll(cx)
    }
}

#[pinned_drop]
impl<F> PinnedDrop for WithKey<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        let _entered = scope::enter(scope::current().with_share_key(Some(*this.key)));
        this.future.set(None);
    }
}
