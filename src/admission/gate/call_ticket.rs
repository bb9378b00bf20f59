//! What a permit carries for its end.

use crate::algorithm::limit::Ticket;
use crate::ground::scope::ShareKey;

/// What the gate wants to know about a call when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallTicket {
    /// For a limit that is learned.
    pub(super) limit: Option<Ticket>,
    /// For the cost of the key's calls.
    pub(super) share_key: Option<ShareKey>,
}
