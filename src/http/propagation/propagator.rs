use std::time::Duration;

use ::http::{HeaderMap, Response};

use super::retry_forbidden;
use crate::ground::context::Priority;

/// The values that travel with a request.
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagated {
    /// How long the sender will wait for the end of the response, if that has a bound.
    pub time_left: Option<Duration>,
    /// The number of the attempt, starting at 1. 0 means the first attempt or an unknown number.
    pub attempt: u32,
    /// How important the call is, if the sender says so.
    pub priority: Option<Priority>,
}

/// Writes calls into headers and reads them back. See the [module](super) for the implementations.
///
/// Anyone may have sent the headers. Values that cannot be parsed must be ignored.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, Response};
/// use seawall::http::propagation::{InjectLayer, Propagated, Propagator};
///
/// /// Whole seconds, in a legacy header.
/// #[derive(Clone)]
/// struct Seconds;
///
/// impl Propagator for Seconds {
///     fn inject(&self, call: &Propagated, headers: &mut HeaderMap) {
///         if let Some(time) = call.time_left {
///             headers.insert("x-patience", time.as_secs().into());
///         }
///     }
///
///     fn extract(&self, headers: &HeaderMap) -> Propagated {
///         let seconds = headers.get("x-patience").and_then(|value| value.to_str().ok()?.parse().ok());
///         Propagated { time_left: seconds.map(Duration::from_secs), ..Propagated::default() }
///     }
///
///     fn forbid_retry<B>(&self, _response: &mut Response<B>) {}
///
///     fn forbids_retry<B>(&self, _response: &Response<B>) -> bool {
///         false
///     }
/// }
///
/// let layer = InjectLayer::new(Seconds, Duration::from_millis(50))?;
/// # let _ = layer;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
pub trait Propagator: Clone {
    /// Overwrites the headers with the values of a call: the time left if there is one, the number of the attempt if it
    /// is not the first, and the priority if there is one.
    fn inject(&self, call: &Propagated, headers: &mut HeaderMap);

    /// Reads the values that came with a request.
    fn extract(&self, headers: &HeaderMap) -> Propagated;

    /// Marks a response, if it is a failure, as not to be retried.
    fn forbid_retry<B>(&self, response: &mut Response<B>);

    /// Whether a response says "do not retry".
    fn forbids_retry<B>(&self, response: &Response<B>) -> bool;

    /// Whether the head of a response says that the call failed. When a handler gets a response that did not fail, it
    /// has recovered from earlier calls whose retries were exhausted. By default 5xx and 429 are failures.
    fn has_failed<B>(&self, response: &Response<B>) -> bool {
        retry_forbidden::is_failure(response.status())
    }
}
