//! What a layer that has a name does to be seen.

use std::time::Duration;

use crate::ground::telemetry::Instruments;
use crate::ground::verdict::Verdict;

/// A call has ended: counted and measured, if the layer has a name.
#[inline]
pub(crate) fn record(instruments: &Instruments, verdict: Verdict, took: Duration) {
    if instruments.record(verdict, took) {
        stir();
    }
}

/// There is something to publish.
#[inline]
pub(crate) fn stir() {
    #[cfg(feature = "metrics")]
    crate::admission::registry::publisher::stir();
}
