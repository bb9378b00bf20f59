//! What the registry asks of a layer value.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::snapshot::{Command, Condition};
use crate::ground::layer_id::LayerKind;
use crate::ground::time::Instant;
use crate::telemetry::Instruments;

/// The state of a layer value, as the registry sees it.
pub(crate) trait Observed: Release + Send + Sync {
    fn instruments(&self) -> &Instruments;

    /// How many keys have a state of their own.
    fn keys(&self) -> usize {
        0
    }

    fn condition(&self, now: Instant) -> Condition;

    /// Does as it is told, unless that makes no sense for this layer.
    fn apply(&self, command: Command, now: Instant) -> Result<(), Unsupported> {
        let _ = now;
        Err(Unsupported::new(self.instruments().kind(), command))
    }
}

/// Gives up an `Arc` without dropping what is in it.
pub(crate) trait Release {
    /// What was in it, if it was the last one.
    fn release(self: Arc<Self>) -> Option<Box<dyn Any>>;
}

impl<T: 'static> Release for T {
    fn release(self: Arc<Self>) -> Option<Box<dyn Any>> {
        Arc::into_inner(self).map(|state| Box::new(state) as _)
    }
}

/// A component that can do no such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    layer: &'static str,
    command: Command,
}

impl Unsupported {
    pub(crate) fn new(kind: LayerKind, command: Command) -> Self {
        Self { layer: kind.as_str(), command }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, who) = match self.command {
            Command::ForceOpen => ("be forced open", "circuit_breaker"),
            Command::Disable => ("be switched off", "circuit_breaker"),
            Command::Observe => ("only observe", "circuit_breaker"),
            Command::Enforce => ("be published to decide again", "circuit_breaker"),
            Command::Reset => ("be reset", "circuit_breaker"),
            Command::SetLimit(_) => ("be given a limit by hand", "bulkhead or load_shed"),
        };
        write!(f, "{} cannot {what}; {who} can", self.layer)
    }
}

impl Error for Unsupported {}
