use std::time::Duration;

use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// How long a call may take, and its parts.
///
/// A plain [`Duration`] is a configuration, too: `DeadlineLayer::new(Duration::from_secs(2))`.
///
/// ```
/// use std::time::Duration;
/// use seawall::deadline::{DeadlineConfig, DeadlineLayer};
///
/// let second = Duration::from_secs(1);
/// let config = DeadlineConfig { timeout: 5 * second, idle_timeout: Some(second), ..DeadlineConfig::default() };
/// assert!(DeadlineLayer::new(config).is_ok());
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct DeadlineConfig {
    /// From the beginning of a call to its end, the body of its response included: the call's deadline, which is what
    /// everything inside sees. More than zero. Default: 10 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub timeout: Duration,
    /// From the beginning of a call to the head of its response, if that has to be there earlier; more than zero. It bounds the
    /// head of calls that are meant to last too, unless the request gives its own time for the head (over HTTP and gRPC
    /// `LongLived::with_head`). Default: `None`, the head may take all of the call's time.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub head_timeout: Option<Duration>,
    /// How long the dependency may keep a reader of the body waiting for the next piece of it. Time in which nobody waits for
    /// one does not count, and calls that are meant to last (`LongLived` in the request or the response) are spared. More
    /// than zero. Default: `None`.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub idle_timeout: Option<Duration>,
    /// From the head of a response to the end of its body, if that may come *after* the deadline: on a server, where the
    /// deadline is that of the work, and the reader may be slow. A deadline that was inherited holds all the same, and so does
    /// this one for what layers further in hold until the body's end: a bulkhead in here lets go at the deadline, and the
    /// body ends with that. (Load shedding lets go at the head, and is not concerned.)
    ///
    /// A body with such a bound is handed out
    /// [as it is written](crate::http#clients-that-do-not-read), so that a server sees the cut of a body that its client does not
    /// read. This costs an allocation for each 32 KiB, and a reader that keeps the pieces waits for a few milliseconds once; a
    /// client needs neither, and has no need of this bound. More than zero. Default: `None`, the body ends at the deadline.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub body_timeout: Option<Duration>,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), head_timeout: None, idle_timeout: None, body_timeout: None }
    }
}

impl From<Duration> for DeadlineConfig {
    fn from(timeout: Duration) -> Self {
        Self { timeout, ..Self::default() }
    }
}

impl Validate for DeadlineConfig {
    fn check(&self, validation: &mut Validation) {
        validation.positive("timeout", self.timeout);
        let parts = [
            ("head_timeout", self.head_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
        ];
        for (field, duration) in parts {
            if let Some(duration) = duration {
                validation.positive(field, duration);
            }
        }
    }
}
