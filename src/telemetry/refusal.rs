//! A refusal, from the layer that makes it to the error that the caller gets.

use std::sync::Arc;
use std::time::Duration;

use super::counted::{Counted, tally};
use super::instruments::Instruments;
use super::{directory, events};
use crate::ground::error::{Numbers, Rejected, Why};
use crate::ground::layer_id::LayerId;

/// A refusal that has not been counted yet, with the counters of its layer at hand: to report it takes no look-up.
#[derive(Debug)]
pub(crate) struct Unreported {
    /// In a box, as the caller gets it: it is larger than most calls.
    rejected: Box<Rejected>,
    counted: Option<Arc<Counted>>,
}

impl Instruments {
    /// A refusal by the layer that these are of. Takes no lock.
    pub(crate) fn refuse(&self, why: impl Into<Why>) -> Unreported {
        let counted = self.named().map(|named| Arc::clone(&named.counted));
        Unreported::new(self.layer_id(), counted, why.into())
    }
}

/// A refusal by the layer with this id, if it has a name and is still there; else by a nameless one of its kind. The look-up takes a
/// lock, of few layers and for a moment: for what is rare, or comes after a wait.
pub(crate) fn refuse(layer_id: LayerId, why: impl Into<Why>) -> Unreported {
    Unreported::new(layer_id, directory::find(layer_id), why.into())
}

impl Unreported {
    fn new(layer_id: LayerId, counted: Option<Arc<Counted>>, why: Why) -> Self {
        let name = counted.as_ref().map(|counted| Arc::clone(&counted.name));
        Self { rejected: Box::new(Rejected::new(layer_id, name, why)), counted }
    }

    /// What the layer knows of the time after which another try has a chance. Without it there is a floor.
    pub(crate) fn with_retry_after(mut self, knows: Option<Duration>) -> Self {
        self.rejected.set_retry_after(knows);
        self
    }

    /// The numbers that decided it.
    pub(crate) fn with_numbers(mut self, numbers: Numbers) -> Self {
        self.rejected.set_numbers(numbers);
        self
    }

    pub(crate) fn layer_id(&self) -> LayerId {
        self.rejected.layer_id()
    }

    pub(crate) fn rejected(&self) -> &Rejected {
        &self.rejected
    }

    /// The error for the caller, of what is reported otherwise.
    #[cfg(any(test, feature = "http"))]
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
