//! Where the figures come from, until there is a registry.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Something to look at.
pub trait Look: Send + Sync + 'static {
    /// All components.
    fn snapshot(&self) -> Value;
    /// Moves one.
    fn apply(&self, name: &str, layer: &str, command: &Value) -> Result<Value, Refused>;
}

/// Why a command was not applied.
#[derive(Debug)]
pub enum Refused {
    /// No such component.
    Unknown,
    /// It cannot do that.
    Unsupported(String),
}

/// What is looked at.
#[derive(Clone)]
pub struct Source(pub Arc<dyn Look>);

impl Source {
    pub(super) fn snapshot(&self) -> Value {
        self.0.snapshot()
    }

    pub(super) fn apply(&self, name: &str, layer: &str, command: &Value) -> Result<Value, Refused> {
        self.0.apply(name, layer, command)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}
