//! What the registry requires of a layer value.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::endpoint_mode::EndpointMode;
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

    /// Sets how an endpoint is used. `false`: this layer has none with this key.
    fn set_endpoint_mode(&self, key: &str, mode: EndpointMode) -> bool {
        let _ = (key, mode);
        false
    }

    /// The keys of its endpoints.
    fn endpoint_keys(&self) -> Vec<String> {
        Vec::new()
    }

    /// Applies the command, if this kind of layer supports it.
    fn apply(&self, command: Command, now: Instant) -> Result<(), Unsupported> {
        let _ = now;
        Err(Unsupported::new(self.instruments().kind(), command))
    }
}

/// Releases an `Arc` without dropping its content.
pub(crate) trait Release {
    /// The content, if this was the last `Arc`.
    fn release(self: Arc<Self>) -> Option<Box<dyn Any>>;
}

impl<T: 'static> Release for T {
    fn release(self: Arc<Self>) -> Option<Box<dyn Any>> {
        Arc::into_inner(self).map(|state| Box::new(state) as _)
    }
}

/// The error of a command that the component does not support.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
        let (command, layers) = match self.command {
            Command::ForceOpen => ("force_open", "circuit_breaker"),
            Command::Disable => ("disable", "circuit_breaker"),
            Command::Observe => ("observe", "circuit_breaker"),
            Command::Enforce => ("enforce", "circuit_breaker"),
            Command::Reset => ("reset", "circuit_breaker"),
            Command::SetLimit(_) => ("set_limit", "bulkhead and load_shed"),
        };
        write!(f, "{} does not support `{command}`, which applies to {layers}", self.layer)
    }
}
