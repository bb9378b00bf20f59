use std::time::Duration;

use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::{Numbers, Reason, Why};
use crate::ground::layer_id::LayerId;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;

/// What a layer gives to a call for as long as it lasts: a permit, a ticket, a deadline.
///
/// It is settled once with a verdict, or dropped, which is the same as [`Verdict::Abandoned`].
///
/// This trait is sealed: only layers have guards.
pub trait Guard: sealed::SealedGuard + Send + 'static {
    /// The call is over, and this is what it said about the callee.
    fn settle(self, verdict: Verdict);

    /// After the response was there, its reader asked for more of it and waited for so long. Called after each wait; the time of
    /// the call is the longest of these, or that to the head of the response, and not their sum: a stream that goes on is not
    /// slow. Time in which nobody asks for more is the reader's own, and not reported.
    ///
    /// Never called for a response that is meant to go on ([`LongLived`](crate::http::LongLived)): its head is what counts.
    fn waited(&mut self, _time: Duration) {}

    /// When whoever still keeps the guard in a response must let go of it.
    fn expiry(&self) -> Expiry;
}

pub(super) mod sealed {
    /// What no one outside of the crate implements.
    pub trait SealedGuard {
        /// Whether the expiry is all there is to it: the guard may be dropped early, and need not be settled.
        const IS_BOUND_ONLY: bool = false;
    }
}

/// When a call must be over, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// When the time that ends then began, if that is known.
    pub(crate) start: Option<Instant>,
    pub(crate) at: Instant,
    pub(crate) idle: Option<Duration>,
    pub(crate) layer_id: LayerId,
    pub(crate) reason: Reason,
    pub(crate) pace: Pace,
}

/// How fast the body of a response is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as it is asked for.
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

    /// Of what a call leaves in its response.
    #[inline]
    pub(crate) fn of(layer_id: LayerId, deadline: &CallDeadline) -> Self {
        Self::new(layer_id, deadline.end(), deadline.reason()).since(deadline.start())
    }

    /// The same, of what began at `start`.
    pub(crate) fn since(self, start: Instant) -> Self {
        Self { start: Some(start), ..self }
    }

    /// Why a call is cut at `now`: its time is over, or it was idle for too long `since` then.
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

    /// How long the callee may keep a reader waiting for the next piece of the response, if that has a bound of its own.
    pub fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// The layer whose bound it is, in one word.
    pub fn layer(&self) -> &'static str {
        self.layer_id.kind().as_str()
    }

    /// What the caller is told when the call is cut.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}
