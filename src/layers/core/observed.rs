//! Recording, publication and reload events of named layers.

use std::time::Duration;

use crate::ground::error::InvalidConfig;
use crate::ground::verdict::Verdict;
use crate::telemetry::{self, Instruments};

/// Records the end of a call, if the layer has a name.
#[inline]
pub(crate) fn record(instruments: &Instruments, verdict: Verdict, took: Duration) {
    if instruments.record(verdict, took) {
        request_publication();
    }
}

/// Ensures that the changed counters are published.
#[inline]
pub(crate) fn request_publication() {
    #[cfg(feature = "metrics")]
    crate::admission::registry::publisher::request_publication();
}

/// Records a reload, `valid` or not: counted for each of `layers`, logged once.
pub(crate) fn reload<'a>(
    layers: impl IntoIterator<Item = &'a Instruments>,
    valid: Result<(), InvalidConfig>,
) -> Result<(), InvalidConfig> {
    reload_if_new(layers, valid, true)
}

/// As [`reload`], but nothing is logged unless the settings differ from those in force.
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
