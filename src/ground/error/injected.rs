//! The mark of a fault that was injected on purpose.

use std::error::Error;
use std::fmt;

use tower::BoxError;

/// A fault that a [`ChaosLayer`](crate::chaos::ChaosLayer) injected: the error of a call or of a body, and an extension of HTTP
/// responses that were made or changed by one.
///
/// As an error, classifiers judge it as the loss of a connection ([`Lost`](crate::verdict::Verdict::Lost)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    fault: &'static str,
}

impl Injected {
    /// The names of all faults.
    pub(crate) const FAULTS: [&'static str; 11] =
        ["latency", "refuse", "status", "code", "hang", "drop", "stall", "drip", "truncate", "reset", "no_trailers"];

    pub(crate) const fn new(fault: &'static str) -> Self {
        Self { fault }
    }

    /// The fault in one word, as in metrics: `drop`, `reset`.
    pub const fn fault(&self) -> &'static str {
        self.fault
    }

    /// Finds it in an error's chain of sources.
    pub fn find(error: &BoxError) -> Option<&Self> {
        super::chain::causes(error.as_ref()).find_map(|error| error.downcast_ref())
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaos: injected fault `{}`", self.fault)
    }
}

impl Error for Injected {}
