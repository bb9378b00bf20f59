//! What a layer that has a name does to be seen.

use std::time::Duration;

use crate::ground::error::InvalidConfig;
use crate::ground::verdict::Verdict;
use crate::telemetry::{self, Instruments};

/// A call has ended: counted and measured, if the layer has a name.
#[inline]
pub(crate) fn record(instruments: &Instruments, verdict: Verdict, took: Duration) {
    if instruments.record(verdict, took) {
        request_publication();
    }
}

/// There is something to publish.
#[inline]
pub(crate) fn request_publication() {
    #[cfg(feature = "metrics")]
    crate::admission::registry::publisher::request_publication();
}

/// New settings were offered, and are `valid` or not: counted for each of the layers that they are for, and told once.
pub(crate) fn reload<'a>(
    layers: impl IntoIterator<Item = &'a Instruments>,
    valid: Result<(), InvalidConfig>,
) -> Result<(), InvalidConfig> {
    reload_if_new(layers, valid, true)
}

/// The same; nothing is told unless the settings are other ones than those that hold.
pub(crate) fn reload_if_new<'a>(
    layers: impl IntoIterator<Item = &'a Instruments>,
    valid: Result<(), InvalidConfig>,
    is_new: bool,
) -> Result<(), InvalidConfig> {
    let layers: Vec<_> = layers.into_iter().collect();
    telemetry::reloaded(&layers, valid.as_ref().err(), is_new);
    request_publication();
    valid
}
