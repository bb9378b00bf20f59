//! The place of a call whose request body may wait for its producer. Such waits are seen in the task of the connection, so the place is
//! shared with it.

use std::fmt;
use std::sync::Arc as Shared;

use super::lookout;
use super::state::{Breaker, Pass};
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::Instant;
use crate::middleware::sending::{Sending, Watcher};

/// What a call was given when it was admitted: alone, or shared with its upload.
pub(super) enum Held {
    Own(Pass),
    Uploading { sending: Shared<Sending>, place: Shared<Place> },
}

pub(super) struct Place {
    breaker: Arc<Breaker>,
    seat: Mutex<Seat>,
}

#[derive(Debug)]
struct Seat {
    /// Gone once the call is settled.
    pass: Option<Pass>,
    /// The head of the answer is there, and the upload may go on beside the answer.
    answered: bool,
}

impl Held {
    #[inline]
    pub(super) fn new(breaker: &Arc<Breaker>, pass: Pass, sending: Option<Shared<Sending>>) -> Self {
        match sending {
            Some(sending) if !matches!(pass, Pass::Free) => Self::uploading(breaker, pass, sending),
            _ => Self::Own(pass),
        }
    }

    #[cold]
    fn uploading(breaker: &Arc<Breaker>, pass: Pass, sending: Shared<Sending>) -> Self {
        let place = Shared::new(Place {
            breaker: Arc::clone(breaker),
            seat: Mutex::new(Seat { pass: Some(pass), answered: false }),
        });
        sending.watch(Some(Shared::clone(&place) as _));
        Self::Uploading { sending, place }
    }

    /// Does something with the pass.
    #[inline]
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Pass) -> T) -> Option<T> {
        match self {
            Self::Own(pass) => Some(act(pass)),
            Self::Uploading { place, .. } => place.with(act),
        }
    }

    /// From now on the upload is nobody's wait.
    #[inline]
    pub(super) fn answered(&self) {
        if let Self::Uploading { sending, place } = self {
            sending.watch(None);
            lock(&place.seat).answered = true;
        }
    }

    #[inline]
    pub(super) fn sending(&self) -> Option<&Shared<Sending>> {
        match self {
            Self::Own(_) => None,
            Self::Uploading { sending, .. } => Some(sending),
        }
    }

    /// The call is over.
    #[inline]
    pub(super) fn take(self) -> Option<Pass> {
        match self {
            Self::Own(pass) => Some(pass),
            Self::Uploading { sending, place } => {
                sending.watch(None);
                lock(&place.seat).pass.take()
            }
        }
    }
}

impl Place {
    /// What is done with a probe moves the machine, which wakes and tells others: that is done unlocked. An ended probe is not known
    /// to the machine any more.
    fn with<T>(&self, act: impl FnOnce(&mut Pass) -> T) -> Option<T> {
        let mut seat = lock(&self.seat);
        if let Some(Pass::Probe(probe)) = seat.pass {
            drop(seat);
            return Some(act(&mut Pass::Probe(probe)));
        }
        seat.pass.as_mut().map(act)
    }

    /// The same while there is no answer. For a probe, one may come in between: the machine knows of it then.
    fn while_unanswered(&self, act: impl FnOnce(&mut Pass)) {
        let mut seat = lock(&self.seat);
        match &mut *seat {
            Seat { answered: true, .. } | Seat { pass: None, .. } => {}
            Seat { pass: Some(Pass::Probe(probe)), .. } => {
                let probe = *probe;
                drop(seat);
                act(&mut Pass::Probe(probe));
            }
            Seat { pass: Some(pass), .. } => act(pass),
        }
    }
}

impl Watcher for Place {
    fn pause(&self, now: Instant) {
        self.while_unanswered(|pass| self.breaker.stop_aging(pass, now));
    }

    fn resume(&self, now: Instant) {
        self.while_unanswered(|pass| self.breaker.start_aging(pass, || false, now));
        lookout::keep_eye(&self.breaker, now);
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(pass) => pass.fmt(f),
            Self::Uploading { place, .. } => place.fmt(f),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("seat", &self.seat).finish_non_exhaustive()
    }
}
