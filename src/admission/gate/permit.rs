use super::call_ticket::CallTicket;
use super::state::Gate;
use crate::ground::scope::ShareKey;
use crate::ground::sync::Arc;

/// As many permits as a call weighs, released on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(super) gate: Arc<Gate>,
    pub(super) weight: u32,
    ticket: CallTicket,
}

impl Permit {
    #[inline]
    pub(super) fn new(gate: Arc<Gate>, weight: u32, share_key: Option<ShareKey>) -> Self {
        let ticket = CallTicket { limit: gate.begin(weight), share_key };
        Self { gate, weight, ticket }
    }

    /// For a call that held a permit before, or will not use it.
    pub(super) fn returned(gate: Arc<Gate>, weight: u32) -> Self {
        Self { gate, weight, ticket: CallTicket::default() }
    }

    /// The permit of a call that returned an earlier one for a while, with the ticket of that one.
    pub(crate) fn with_ticket(self, ticket: CallTicket) -> Self {
        let mut permit = self;
        permit.ticket = ticket;
        permit
    }

    pub(crate) fn ticket(&self) -> CallTicket {
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
