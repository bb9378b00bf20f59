use std::fmt;
use std::time::Duration;

/// Reads from a request how much time its call has: more than usual, as subscriptions, long polls and large transfers need, or
/// less.
///
/// [`lasting_by`](super::DeadlineLayer::lasting_by) takes a closure, which is enough for most uses.
pub trait Timing<Request> {
    /// How long the call may take in all, if that is more than the layer's `timeout`. Such a call is spared the layer's
    /// `idle_timeout` and `body_timeout`.
    fn lasts(&self, request: &Request) -> Option<Duration>;

    /// The time to the head of the response, for a call that [lasts](Self::lasts); asked only then. `None` is the layer's
    /// `head_timeout`, and where that is not set, all of the call's time.
    #[inline]
    fn head(&self, _: &Request) -> Option<Duration> {
        None
    }

    /// How long the call may take in all, if the request itself says so, in words of its protocol. What is longer than the
    /// layer gives says nothing.
    #[inline]
    fn within(&self, _: &Request) -> Option<Duration> {
        None
    }

    /// Whether the response shares its connection with others, as the streams of HTTP/2 do. On a server, one that does is
    /// written piece by piece.
    #[inline]
    fn shares_connection(&self, _: &Request) -> bool {
        true
    }
}

/// All calls have the same time: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByConfig;

impl<Request> Timing<Request> for ByConfig {
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
