use std::time::Duration;

use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::{Numbers, Reason, Why};
use crate::ground::layer_id::LayerId;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;

/// The resource that a layer gives to a call until it ends: a permit, a ticket, a deadline.
///
/// It is settled once with a verdict, or dropped, which is the same as [`Verdict::Abandoned`].
///
/// This trait is sealed: only layers have guards. It is public because a [`Classify`](super::Classify) gets a guard of any type.
pub trait Guard: sealed::SealedGuard + Send + 'static {
    /// Records the end of the call with its verdict on the dependency.
    fn settle(self, verdict: Verdict);

    /// A reader of the response has waited this long for more of it. Called after each wait. The time of the call is the longest of
    /// these waits, or that to the head of the response, and not their sum: a long stream is not slow. Time in which the reader
    /// does not ask for more is the reader's own, and not reported.
    ///
    /// Never called for a long-lived response ([`LongLived`](crate::http::LongLived)): only its head counts.
    fn waited(&mut self, _time: Duration) {}

    /// When a holder of the guard in a response must drop it.
    fn expiry(&self) -> Expiry;
}

pub(super) mod sealed {
    use std::any::Any;

    /// What no one outside of the crate implements.
    pub trait SealedGuard {
        /// Whether the guard has no more than its expiry: it may be dropped early, and need not be settled.
        const IS_BOUND_ONLY: bool = false;

        /// Whether its expiry holds for a long-lived response, too.
        const IGNORES_LONG_LIVED: bool = false;

        /// Whether it wants to know of the load that trailers report.
        const READS_LOAD: bool = false;

        /// The guard moves into the body of a response that is long-lived.
        fn lasts(&mut self) {}

        /// The end of the response says that so many other calls are in flight at the endpoint.
        fn reported(&mut self, _in_flight: u32) {}

        /// What names the request, an `Option` of a type that the protocol knows: it takes it for its warnings.
        fn named(&mut self) -> Option<&mut dyn Any> {
            None
        }
    }
}

/// When a call must be over, and which layer's bound that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The start of the time that ends at `at`, if it is known.
    pub(crate) start: Option<Instant>,
    pub(crate) at: Instant,
    pub(crate) idle: Option<Duration>,
    pub(crate) layer_id: LayerId,
    pub(crate) reason: Reason,
    pub(crate) pace: Pace,
}

/// The pace at which the body of a response is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it is read.
    #[default]
    Free,
    /// As fast as a server's connection writes it.
    Connection,
    /// As fast as it is written into one of the streams that share a server's connection.
    Stream,
}

impl Expiry {
    pub(crate) fn new(layer_id: LayerId, at: Instant, reason: Reason) -> Self {
        Self { start: None, at, idle: None, layer_id, reason, pace: Pace::Free }
    }

    /// For the body of a call's response.
    #[inline]
    pub(crate) fn of(layer_id: LayerId, deadline: &CallDeadline) -> Self {
        Self::new(layer_id, deadline.end(), deadline.reason()).since(deadline.start())
    }

    /// Sets the start.
    pub(crate) fn since(self, start: Instant) -> Self {
        Self { start: Some(start), ..self }
    }

    /// The reason for a cut at `now`: the time is over, or the body was idle for too long since `idle_since`.
    pub(crate) fn why(&self, idle_since: Option<Instant>, now: Instant) -> Why {
        let (reason, since, given) = match (idle_since, self.idle) {
            (Some(since), Some(idle)) => (Reason::IdleTimeout, Some(since), idle),
            _ => (self.reason, self.start, self.start.map_or(Duration::ZERO, |start| self.at.since(start))),
        };
        let numbers = since.map_or(Numbers::NONE, |since| Numbers::of_timeout(given, now.since(since)));
        Why { reason, numbers }
    }

    /// The instant at which the call is cut.
    pub fn at(&self) -> tokio::time::Instant {
        self.at.to_tokio()
    }

    /// How long the dependency may keep a reader waiting for the next chunk of the response, if that is bounded.
    pub fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// The layer whose bound it is, in one word.
    pub fn layer(&self) -> &'static str {
        self.layer_id.kind().as_str()
    }

    /// The reason that the caller gets when the call is cut.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}
