//! A refusal, from the layer that makes it to the error that the caller gets.

use std::sync::Arc;
use std::time::Duration;

use super::counted::{Counted, tally};
use super::instruments::Instruments;
use super::{directory, events};
use crate::ground::error::{Numbers, Rejected, Why};
use crate::ground::layer_id::LayerId;

/// A refusal that has not been counted yet, with the counters of its layer at hand: to report it takes no look-up.
#[derive(Clone, Debug)]
pub(crate) struct Unreported {
    layer_id: LayerId,
    counted: Option<Arc<Counted>>,
    why: Why,
    retry_after: Option<Duration>,
}

impl Instruments {
    /// A refusal by the layer that these are of. Neither a lock nor an allocation.
    pub(crate) fn refuse(&self, why: impl Into<Why>) -> Unreported {
        let counted = self.named().map(|named| Arc::clone(&named.counted));
        Unreported { layer_id: self.layer_id(), counted, why: why.into(), retry_after: None }
    }
}

/// A refusal by the layer with this id, if it has a name and is still there; else by a nameless one of its kind. The look-up takes a
/// lock, of few layers and for a moment: for what is rare, or comes after a wait.
pub(crate) fn refuse(layer_id: LayerId, why: impl Into<Why>) -> Unreported {
    Unreported { layer_id, counted: directory::find(layer_id), why: why.into(), retry_after: None }
}

impl Unreported {
    /// What the layer knows of the time after which another try has a chance. Without it there is a floor.
    pub(crate) fn with_retry_after(mut self, knows: Option<Duration>) -> Self {
        self.retry_after = knows;
        self
    }

    /// The numbers that decided it.
    pub(crate) fn with_numbers(mut self, numbers: Numbers) -> Self {
        self.why.numbers = numbers;
        self
    }

    pub(crate) fn layer_id(&self) -> LayerId {
        self.layer_id
    }

    /// The error for the caller, for refusals that are reported elsewhere or not at all.
    pub(crate) fn rejected(&self) -> Rejected {
        let name = self.counted.as_ref().map(|counted| Arc::clone(&counted.name));
        Rejected::new(self.layer_id, name, self.why).with_retry_after(self.retry_after)
    }

    /// Counts and logs the refusal, and returns the error for the caller.
    pub(crate) fn report(&self) -> Rejected {
        let rejected = self.rejected();
        events::rejected(tally(self.counted.as_deref(), self.layer_id), &rejected);
        rejected
    }
}
