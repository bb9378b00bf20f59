//! What a call asks a gate for.

use crate::ground::context::Priority;
use crate::ground::time::Instant;

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermitRequest {
    pub(crate) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// Whether it has had its permit before, and stands before all newcomers.
    pub(crate) returning: bool,
}
