use std::fmt;
use std::time::Duration;

/// Says what a request itself says of its call's time: that it is meant to last, as subscriptions, long polls and large downloads
/// are, or that it has less than usual.
///
/// [`lasting_by`](super::DeadlineLayer::lasting_by) takes a closure, which is all that most need.
pub trait Timing<Request> {
    /// How long the call may take in all, if that is more than usual. The head of its response must be there within the
    /// layer's `timeout` all the same.
    fn lasts(&self, request: &Request) -> Option<Duration>;

    /// How long the call may take in all, if the request itself says so, in words of its protocol. What is longer than the
    /// layer gives says nothing.
    #[inline]
    fn within(&self, _: &Request) -> Option<Duration> {
        None
    }
}

/// All calls have the same time: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alike;

impl<Request> Timing<Request> for Alike {
    #[inline]
    fn lasts(&self, _: &Request) -> Option<Duration> {
        None
    }
}

/// A function of the request says how long its call lasts.
#[derive(Clone, Copy)]
pub struct LastingBy<F>(pub(super) F);

impl<F, Request> Timing<Request> for LastingBy<F>
where
    F: Fn(&Request) -> Option<Duration>,
{
    fn lasts(&self, request: &Request) -> Option<Duration> {
        (self.0)(request)
    }
}

impl<F> fmt::Debug for LastingBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastingBy").finish_non_exhaustive()
    }
}
