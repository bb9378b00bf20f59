use std::time::Duration;

use crate::ground::validation::{Validate, Validation};
use crate::loader::HumanTime;

/// The limits of a [`Dashboard`](super::Dashboard): how much memory and how many threads its readers can take.
///
/// ```
/// use seawall::dashboard::{Dashboard, DashboardConfig};
/// use seawall::registry::Registry;
///
/// let few = DashboardConfig { max_responses: 8, ..Default::default() };
/// assert!(Dashboard::new(Registry::new()).with_config(few).is_ok());
///
/// let none = DashboardConfig { max_responses: 0, ..Default::default() };
/// let invalid = Dashboard::new(Registry::new()).with_config(none).unwrap_err();
/// assert_eq!(invalid.faults()[0].path(), "max_responses");
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardConfig {
    /// How many responses with the page's data may be in flight at once, at least 1; further requests get 503. A reader that reads
    /// nothing holds the memory of its response. Default: 128.
    pub max_responses: usize,
    /// How many documents with the page's data may be made at once, at least 1; further requests get 503. Each takes a blocking thread
    /// for some milliseconds, and all requests of the same second share one. Default: 8.
    pub max_documents_in_progress: usize,
    /// The largest body of a [command](super#manual-commands) in bytes, at least 1; a larger one gets 413. Default: 4096.
    pub max_command_bytes: usize,
    /// How long the body of a command may take to arrive, more than zero; after that it gets 408. Default: 5 s.
    #[serde(with = "HumanTime")]
    pub command_timeout: Duration,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self {
            max_responses: 128,
            max_documents_in_progress: 8,
            max_command_bytes: 4096,
            command_timeout: Duration::from_secs(5),
        }
    }
}

impl Validate for DashboardConfig {
    fn check(&self, validation: &mut Validation) {
        validation.at_least_one("max_responses", self.max_responses as u64);
        validation.at_least_one("max_documents_in_progress", self.max_documents_in_progress as u64);
        validation.at_least_one("max_command_bytes", self.max_command_bytes as u64);
        validation.positive("command_timeout", self.command_timeout);
    }
}
