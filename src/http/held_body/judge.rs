use ::http::{HeaderMap, Response};

use crate::ground::verdict::Verdict;

/// How a protocol judges the parts of a response.
///
/// This trait is sealed: the protocols are those of this crate. It is public only because the type of a held body names it.
pub trait Judge: sealed::SealedJudge + Clone + Send + Unpin + 'static {
    /// The verdict of the head. What follows may change it.
    fn of_head<B>(&self, response: &Response<B>) -> Verdict;

    /// Whether the head alone decides, so that the verdict is known before the end of the body.
    fn is_decided<B>(&self, response: &Response<B>) -> bool;

    /// The verdict of the whole response. `head` is the verdict of its head. Without trailers, this is not called for a
    /// head that decides.
    fn at_end(&self, head: Verdict, trailers: Option<&HeaderMap>) -> Verdict;
}

pub(super) mod sealed {
    /// Not nameable outside of the crate, which seals the trait.
    pub trait SealedJudge {}
}
