//! What all layers share: the state of a layer value with its name, config and reloads, and the recording of calls.

mod clone_fields;
mod layer_core;
mod layer_methods;
pub(crate) mod observed;
pub(crate) mod readiness_limit;

pub(crate) use self::clone_fields::clone_fields;
pub(crate) use self::layer_core::{AfterReload, LayerCore, LayerParts, LayerState};
pub(crate) use self::layer_methods::{keyed_methods, layer_methods};
