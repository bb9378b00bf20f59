//! A call that goes on in the body of its response, and its verdict at the end of the body.

use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::Frame;
use tower::BoxError;

use super::judge::Judge;
use crate::ground::error::{Reason, rejection};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, Verdict};
use crate::http::propagation::load_report;
use crate::http::transport;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct HeldCall<G, J> {
    pub(super) guard: G,
    pub(super) judge: J,
    /// The verdict of the head.
    pub(super) head: Verdict,
    /// Whether the head alone decides.
    pub(super) decided: bool,
    /// The response is long-lived: it is judged by its head, and by an error if it ends in one.
    pub(super) lasts: bool,
    pub(super) expiry: Expiry,
}

/// How a body ended, from the view of one of the layers that hold it.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'a> {
    /// With this frame, with an error, or without another frame.
    Read(&'a Option<Result<Frame<Bytes>, BoxError>>),
    /// This layer has cut it, and its reader `waits` or does not.
    Cut { reason: Reason, waits: bool },
    /// An inner layer has cut it, with this verdict.
    CutFurtherIn(Verdict),
    /// Its reader has dropped it, or an outer layer has cut it; `for_slowness` if that layer's idle timeout was
    /// exceeded.
    Dropped { now: Instant, waits: bool, for_slowness: bool },
}

impl<G: Guard, J: Judge> HeldCall<G, J> {
    /// `None`: the call was abandoned.
    fn verdict(&self, end: End<'_>) -> Option<Verdict> {
        match end {
            End::Read(last) => Some(self.at_end(last)),
            End::Cut { reason: Reason::IdleTimeout, .. } => Some(Verdict::TimedOut),
            End::Cut { waits, .. } => self.at_expiry(waits),
            End::CutFurtherIn(verdict) => Some(if self.lasts { self.head } else { verdict }),
            // An outer layer has cut it at an idle timeout.
            End::Dropped { waits: true, for_slowness: true, .. } => Some(Verdict::TimedOut),
            // An outer layer with the same bound has cut it, or it was put aside until it was too late.
            End::Dropped { now, waits, .. } if self.expiry.at <= now => self.at_expiry(waits),
            // Its reader has seen enough.
            End::Dropped { waits, .. } if self.lasts || !waits && self.decided => Some(self.head),
            End::Dropped { .. } => None,
        }
    }

    fn at_end(&self, last: &Option<Result<Frame<Bytes>, BoxError>>) -> Verdict {
        let trailers = match last {
            Some(Err(error)) => return of_error(error),
            Some(Ok(frame)) => frame.trailers_ref(),
            None => None,
        };
        match trailers {
            // An end without trailers does not change the verdict of a head that decides.
            None if self.decided => self.head,
            trailers => self.judge.at_end(self.head, trailers),
        }
    }

    /// The verdict of a call whose time is over while its reader `waits` or does not. `None`: the reader has abandoned
    /// it.
    fn at_expiry(&self, waits: bool) -> Option<Verdict> {
        if self.lasts { Some(self.head) } else { waits.then_some(Verdict::TimedOut) }
    }

    pub(super) fn waited(&mut self, time: Duration) {
        if !self.lasts {
            self.guard.waited(time);
        }
    }

    pub(super) fn end(mut self, end: End<'_>) {
        if let End::Read(Some(Ok(last))) = end {
            report_load(&mut self.guard, last.trailers_ref());
        }
        if let Some(verdict) = self.verdict(end) {
            self.guard.settle(verdict);
        }
    }

    /// Ends the call with a clock reading, if there is one.
    pub(super) fn end_at(self, reading: Option<Instant>, end: End<'_>) {
        match reading {
            Some(now) => time::with_start(now, || self.end(end)),
            None => self.end(end),
        }
    }
}

/// Tells the guard which load the trailers report, if it wants to know.
#[inline]
pub(super) fn report_load<G: Guard>(guard: &mut G, trailers: Option<&HeaderMap>) {
    if G::READS_LOAD {
        if let Some(in_flight) = trailers.and_then(load_report::reported_in_flight) {
            guard.reported(in_flight);
        }
    }
}

/// A call of an outer layer, with any guard.
pub(super) trait OuterCall: Send {
    /// See [`Guard::waited`].
    fn waited(&mut self, time: Duration);

    /// See [`HeldCall::end_at`].
    fn end_at(self: Box<Self>, reading: Option<Instant>, end: End<'_>);
}

impl<G: Guard, J: Judge> OuterCall for HeldCall<G, J> {
    fn waited(&mut self, time: Duration) {
        HeldCall::waited(self, time);
    }

    fn end_at(self: Box<Self>, reading: Option<Instant>, end: End<'_>) {
        HeldCall::end_at(*self, reading, end);
    }
}

/// The head was there, so the request was executed, and its result is lost. It is otherwise only if an inner layer
/// reports that it cut the body, or the client reports a timeout of its own.
fn of_error(error: &BoxError) -> Verdict {
    match rejection(error) {
        Some(rejected) => rejected.verdict(),
        None if transport::verdict(error) == Verdict::TimedOut => Verdict::TimedOut,
        None => Verdict::Lost,
    }
}
