//! The request of a call to a gate.

use crate::ground::context::Priority;
use crate::ground::scope;
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

impl PermitRequest {
    /// The request of a new call in this context.
    pub(crate) fn new(weight: u32, context: &scope::Context) -> Self {
        let (priority, deadline) = (context.priority(), context.deadline);
        Self { weight, priority, deadline, returning: false }
    }
}
