//! The reload of all layers of a stack: one new struct applies to each of them, or to none.

use std::sync::Arc;

use crate::admission::registry::Observed;
use crate::ground::error::InvalidConfig;
use crate::ground::settings::Settings;
use crate::layers::core::{AfterReload, observed};

/// Applies `config` to the layers, if it is `valid`. `apply` runs under the lock of the reload.
pub(super) fn reload<'a, C: Clone + PartialEq, const N: usize>(
    settings: &Settings<C>,
    layers: &[Arc<dyn Observed>],
    config: &C,
    valid: Result<(), InvalidConfig>,
    apply: impl FnOnce() -> [AfterReload<'a>; N],
) -> Result<(), InvalidConfig> {
    let is_new = valid.is_err() || settings.get() != *config;
    observed::reload_if_new(layers.iter().map(|layer| layer.instruments()), valid, is_new)?;
    let after_reload = settings.replace(config.clone(), |_| apply());
    // These run foreign code, so they run without a lock.
    after_reload.into_iter().for_each(|finish| finish());
    Ok(())
}
