//! A reason together with its numbers.

use super::{Numbers, Reason};

/// The reason for a refusal or a cut, with its numbers.
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
