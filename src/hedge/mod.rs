//! Hedges.
mod call_settings;
mod config;
mod flight;
mod future;
mod hedged_call;
mod layer;
mod policy;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use config::{HedgeConfig, HedgeDelay, LearnedDelay};
pub use future::ResponseFuture;
pub use layer::HedgeLayer;
pub use service::Hedge;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Hedge;
