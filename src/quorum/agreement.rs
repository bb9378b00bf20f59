//! What decides whether two answers agree.

use std::fmt;
use std::future::{Future, Ready, ready};

use tower::BoxError;

/// Decides whether two answers agree: if they have the same key. See [`from_fn`] for keys that a closure computes.
pub trait Agreement<Res>: Clone {
    /// What answers that agree have in common.
    type Key: Eq;

    /// The response after its key was computed.
    type Response;

    /// See [`key`](Self::key).
    type Keying: Future<Output = Result<(Self::Key, Self::Response), BoxError>>;

    /// Computes the key of a good answer. An error is a failed vote.
    fn key(&self, response: Res) -> Self::Keying;
}

/// Answers agree if they are equal.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Equal;

impl<Res: Clone + Eq> Agreement<Res> for Equal {
    type Key = Res;
    type Response = Res;
    type Keying = Ready<Result<(Res, Res), BoxError>>;

    fn key(&self, response: Res) -> Self::Keying {
        ready(Ok((response.clone(), response)))
    }
}

/// Answers agree by the key of a closure. See [`from_fn`].
#[derive(Clone, Copy)]
pub struct KeyFn<F>(F);

/// Answers agree if this key of them is equal. The closure runs once for each good answer and should be cheap.
///
/// ```
/// use seawall::quorum::{self, QuorumConfig, QuorumLayer};
///
/// let layer = QuorumLayer::new(QuorumConfig::default())?.with_agreement(quorum::from_fn(|answer: &String| answer.len()));
/// # let _ = layer;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
pub fn from_fn<F, Res, Key>(key: F) -> KeyFn<F>
where
    F: Fn(&Res) -> Key + Clone,
    Key: Eq,
{
    KeyFn(key)
}

impl<F, Res, Key> Agreement<Res> for KeyFn<F>
where
    F: Fn(&Res) -> Key + Clone,
    Key: Eq,
{
    type Key = Key;
    type Response = Res;
    type Keying = Ready<Result<(Key, Res), BoxError>>;

    fn key(&self, response: Res) -> Self::Keying {
        ready(Ok(((self.0)(&response), response)))
    }
}

impl<F> fmt::Debug for KeyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFn").finish_non_exhaustive()
    }
}
