//! What a layer that has a name does to be seen.

use std::time::Duration;

use crate::ground::error::InvalidConfig;
use crate::ground::telemetry::{self, Instruments, Reload};
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

/// New settings were offered, and are `valid` or not: told for each of the layers that they are for.
pub(crate) fn reload<'a>(
    layers: impl IntoIterator<Item = &'a Instruments>,
    valid: Result<(), InvalidConfig>,
) -> Result<(), InvalidConfig> {
    let reload = if valid.is_ok() { Reload::Applied } else { Reload::Rejected };
    for instruments in layers {
        telemetry::reloaded(instruments, reload);
    }
    stir();
    valid
}
