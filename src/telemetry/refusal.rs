//! A refusal, from the layer that refuses to the caller's error.

use std::sync::Arc;
use std::time::Duration;

use super::counted::{Counted, tally};
use super::instruments::Instruments;
use super::{directory, events};
use crate::ground::error::{FailedVotes, Numbers, Reason, Rejected, Why};
use crate::ground::layer_id::LayerId;

/// A refusal that is not counted yet, with the counters of its layer, so that a report needs no lookup.
#[derive(Debug)]
pub(crate) struct Unreported {
    /// In a box, as the caller gets it: it is larger than most calls.
    rejected: Box<Rejected>,
    counted: Option<Arc<Counted>>,
}

impl Instruments {
    /// A refusal by the layer of these instruments. Takes no lock.
    pub(crate) fn refuse(&self, why: impl Into<Why>) -> Unreported {
        let counted = self.named().map(|named| Arc::clone(&named.counted));
        Unreported::new(self.layer_id(), counted, why.into())
    }
}

/// A refusal by the layer with this id, if it has a name and still exists, otherwise by a nameless one of its kind. The lookup
/// takes a lock for a moment, which few layers share: use it for rare refusals, or after a wait.
pub(crate) fn refuse(layer_id: LayerId, why: impl Into<Why>) -> Unreported {
    Unreported::new(layer_id, directory::find(layer_id), why.into())
}

impl Unreported {
    fn new(layer_id: LayerId, counted: Option<Arc<Counted>>, why: Why) -> Self {
        let name = counted.as_ref().map(|counted| Arc::clone(&counted.name));
        Self { rejected: Box::new(Rejected::new(layer_id, name, why)), counted }
    }

    /// The layer's retry-after, if known. Without it there is a floor.
    pub(crate) fn with_retry_after(mut self, known: Option<Duration>) -> Self {
        self.rejected.set_retry_after(known);
        self
    }

    /// The numbers behind the refusal.
    pub(crate) fn with_numbers(mut self, numbers: Numbers) -> Self {
        self.rejected.set_numbers(numbers);
        self
    }

    /// The failed votes of a call without a quorum.
    pub(crate) fn with_failed_votes(mut self, failed_votes: FailedVotes) -> Self {
        self.rejected.set_failed_votes(failed_votes);
        self
    }

    pub(crate) fn reason(&self) -> Reason {
        self.rejected.reason()
    }

    pub(crate) fn layer_id(&self) -> LayerId {
        self.rejected.layer_id()
    }

    pub(crate) fn rejected(&self) -> &Rejected {
        &self.rejected
    }

    /// The error for the caller, if the refusal is reported elsewhere.
    pub(crate) fn into_rejected(self) -> Rejected {
        *self.rejected
    }

    /// Counts and logs the refusal, and returns the error for the caller.
    pub(crate) fn report(self) -> Box<Rejected> {
        let Self { rejected, counted } = self;
        events::rejected(tally(counted.as_deref(), rejected.layer_id()), &rejected);
        rejected
    }
}
