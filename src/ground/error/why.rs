//! A reason together with its numbers.

use super::{Numbers, Reason};

/// Why a call was refused or ended, and the numbers that decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) reason: Reason,
    pub(crate) numbers: Numbers,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self { reason, numbers: Numbers::NONE }
    }
}
