use ::http::{HeaderMap, Response};

use crate::ground::verdict::Verdict;

/// What a protocol makes of the parts of a response.
///
/// This trait is sealed: the protocols are those of this crate.
pub trait Judge: sealed::SealedJudge + Clone + Send + Unpin + 'static {
    /// What the head says; it may be changed by what follows.
    fn of_head<B>(&self, response: &Response<B>) -> Verdict;

    /// Whether the head alone decides, so that nobody has to wait for the end to know.
    fn is_decided<B>(&self, response: &Response<B>) -> bool;

    /// What the whole response said, `head` being what its head did. There may be no trailers; then this is not asked about
    /// a head that decides.
    fn at_end(&self, head: Verdict, trailers: Option<&HeaderMap>) -> Verdict;
}

pub(super) mod sealed {
    /// What no one outside of the crate implements.
    pub trait SealedJudge {}
}
