//! The request of a call to a gate.

use crate::ground::context::Priority;
use crate::ground::time::Instant;

/// The request of a call to a gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermitRequest {
    pub(crate) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// Whether the call held a permit before. It then waits ahead of all new calls.
    pub(crate) returning: bool,
}
