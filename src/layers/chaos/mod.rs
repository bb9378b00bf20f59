//! Injects faults.

mod active;
mod config;
mod fault;
mod future;
mod handle;
mod inject;
mod layer;
mod service;
mod state;

use crate::ground::layer_id::LayerKind;

pub use active::{ActiveFault, DamagedBody};
pub use config::{ChaosConfig, ChaosRule, Matching};
pub use fault::ChaosFault;
pub use future::ResponseFuture;
pub use handle::ChaosHandle;
pub(crate) use inject::sealed::SealedInject;
pub use inject::{AnyProtocol, Inject, Only};
pub use layer::ChaosLayer;
pub use service::Chaos;

pub use crate::algorithm::chaos::Delay;
pub use crate::ground::error::Injected;

/// The layer's name in errors, logs and metrics.
const KIND: LayerKind = LayerKind::Chaos;
