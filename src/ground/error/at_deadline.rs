use std::error::Error;
use std::fmt;

use tower::BoxError;

use super::Rejected;

/// An inner service's own error for a deadline of ours that it kept to: a client that knows the deadline ends the call a moment before
/// we do. It is found as the cut that it stands for, and stays what it is.
#[derive(Debug)]
pub(crate) struct AtDeadline {
    cut: Rejected,
    error: BoxError,
}

impl AtDeadline {
    pub(crate) fn new(cut: Rejected, error: BoxError) -> Self {
        Self { cut, error }
    }

    pub(super) fn cut(&self) -> &Rejected {
        &self.cut
    }
}

impl fmt::Display for AtDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cut.fmt(f)
    }
}

impl Error for AtDeadline {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.error.as_ref())
    }
}
