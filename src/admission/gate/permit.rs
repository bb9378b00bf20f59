use super::state::Gate;
use crate::algorithm::limit::Ticket;
use crate::ground::sync::Arc;

/// As many permits as a call weighs, released on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(super) gate: Arc<Gate>,
    pub(super) weight: u32,
    /// For a limit that is learned.
    ticket: Option<Ticket>,
}

impl Permit {
    #[inline]
    pub(super) fn new(gate: Arc<Gate>, weight: u32) -> Self {
        let ticket = gate.begin(weight);
        Self { gate, weight, ticket }
    }

    /// For a call that held a permit before, or will not use it.
    pub(super) fn returned(gate: Arc<Gate>, weight: u32) -> Self {
        Self { gate, weight, ticket: None }
    }

    /// The permit of a call that returned an earlier one for a while, with the ticket of that one.
    pub(crate) fn with_ticket(self, ticket: Option<Ticket>) -> Self {
        let mut permit = self;
        permit.ticket = ticket;
        permit
    }

    pub(crate) fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.weight > 0 {
            self.gate.release(self.weight);
        }
    }
}
