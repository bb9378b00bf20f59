use std::time::Duration;

use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::{HumanTime, Off};

/// The timeouts of a call and of its parts.
///
/// A plain [`Duration`] is a config, too: `DeadlineLayer::new(Duration::from_secs(2))`.
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
    /// From the start of a call to its end, the body of its response included. This is the call's deadline, which all inner layers
    /// see. More than zero. Default: 10 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub timeout: Duration,
    /// From the start of a call to the head of its response, if the head has to arrive before `timeout`; more than zero. It also
    /// bounds the head of long-lived calls, unless the request sets its own head timeout (over HTTP and gRPC
    /// `LongLived::with_head`). Default: `None`, the head may take the whole `timeout`.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub head_timeout: Option<Duration>,
    /// How long the dependency may keep a reader of the body waiting for the next frame. Time in which no read is pending does not
    /// count, and long-lived calls (`LongLived` in the request or the response) are exempt. More than zero. Default: `None`.
    #[cfg_attr(feature = "config", serde(with = "Off::<Duration>"))]
    pub idle_timeout: Option<Duration>,
    /// From the head of a response to the end of its body, if that may come *after* the deadline. For servers, where the deadline
    /// bounds the work and the client may read slowly. An inherited deadline still applies. Inner layers that hold something until
    /// the end of the body see the deadline all the same: an inner bulkhead releases its permit at the deadline, and the body ends
    /// with that. (Load shedding releases at the head and is not affected.)
    ///
    /// A body with such a bound is handed out [as it is written](crate::http#clients-that-do-not-read), so that a server sees the
    /// cut of a body that its client does not read. This costs one allocation per 32 KiB, and a reader that keeps the frames waits
    /// once for a few milliseconds. A client needs neither, and has no use for this bound. More than zero. Default: `None`, the body
    /// ends at the deadline.
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
