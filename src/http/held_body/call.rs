//! A call that goes on in the body of its response, and the verdict that the end of the body gives it.

use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tower::BoxError;

use super::judge::Judge;
use crate::ground::error::{Reason, rejection};
use crate::ground::scope;
use crate::ground::time::Instant;
use crate::ground::verdict::{Expiry, Guard, Verdict};
use crate::http::transport;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Call<G, J> {
    pub(super) guard: G,
    pub(super) judge: J,
    /// What the head said.
    pub(super) head: Verdict,
    /// Whether that is all there is to say.
    pub(super) decided: bool,
    /// The response is meant to go on: it is judged by its head, and by an error if it ends in one.
    pub(super) lasts: bool,
    pub(super) expiry: Expiry,
}

/// How a body came to its end, as one of the layers that hold it sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'a> {
    /// With this frame, with an error, or without another frame.
    Read(&'a Option<Result<Frame<Bytes>, BoxError>>),
    /// This layer has cut it, while its reader `waits` or does not.
    Cut { reason: Reason, waits: bool },
    /// A layer further in has cut it, which says this of it.
    CutFurtherIn(Verdict),
    /// Its reader has dropped it, or a layer further out has cut it, `for_slowness` if a wait in it was too long.
    Dropped { now: Instant, waits: bool, for_slowness: bool },
}

impl<G: Guard, J: Judge> Call<G, J> {
    /// `None`: the call was abandoned.
    fn verdict(&self, end: End<'_>) -> Option<Verdict> {
        match end {
            End::Read(last) => Some(self.at_end(last)),
            End::Cut { reason: Reason::IdleTimeout, .. } => Some(Verdict::TimedOut),
            End::Cut { waits, .. } => self.at_expiry(waits),
            End::CutFurtherIn(verdict) => Some(if self.lasts { self.head } else { verdict }),
            // By a layer further out, which has a bound for the waits.
            End::Dropped { waits: true, for_slowness: true, .. } => Some(Verdict::TimedOut),
            // It was cut by a layer further out, which had the same bound; or put aside until it was too late.
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
            // A head that has said all is not unsaid by an end that says nothing.
            None if self.decided => self.head,
            trailers => self.judge.at_end(self.head, trailers),
        }
    }

    /// What it says that the call's time is over, while its reader `waits` or does not. `None`: the reader has given it up.
    fn at_expiry(&self, waits: bool) -> Option<Verdict> {
        if self.lasts { Some(self.head) } else { waits.then_some(Verdict::TimedOut) }
    }

    pub(super) fn waited(&mut self, time: Duration) {
        if !self.lasts {
            self.guard.waited(time);
        }
    }

    pub(super) fn end(self, end: End<'_>) {
        if let Some(verdict) = self.verdict(end) {
            self.guard.settle(verdict);
        }
    }

    /// With a reading of the clock, if there is one.
    pub(super) fn end_at(self, reading: Option<Instant>, end: End<'_>) {
        match reading {
            Some(now) => scope::with_start(now, || self.end(end)),
            None => self.end(end),
        }
    }
}

/// A call of a layer further out, whatever its guard is.
pub(super) trait OuterCall: Send {
    /// See [`Guard::waited`].
    fn waited(&mut self, time: Duration);

    /// See [`Call::end_at`].
    fn end_at(self: Box<Self>, reading: Option<Instant>, end: End<'_>);
}

impl<G: Guard, J: Judge> OuterCall for Call<G, J> {
    fn waited(&mut self, time: Duration) {
        Call::waited(self, time);
    }

    fn end_at(self: Box<Self>, reading: Option<Instant>, end: End<'_>) {
        Call::end_at(*self, reading, end);
    }
}

/// The head was there, so the request was executed, and what it led to is lost; unless a layer further in says that it
/// was its doing, or the client that it has waited long enough.
fn of_error(error: &BoxError) -> Verdict {
    match rejection(error) {
        Some(rejected) => rejected.verdict(),
        None if transport::verdict(error) == Verdict::TimedOut => Verdict::TimedOut,
        None => Verdict::Lost,
    }
}
