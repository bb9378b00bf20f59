use std::time::Duration;

use ::http::{HeaderMap, Response};

use super::last_word;
use crate::ground::context::Priority;

/// What travels with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagated {
    /// How long whoever sent it will wait for the end of the answer, if that has a bound.
    pub time_left: Option<Duration>,
    /// The number of the attempt, 1 being the first; 0, too, stands for the first, or for not known.
    pub attempt: u32,
    /// How much the call matters, if that is said.
    pub priority: Option<Priority>,
}

/// How calls are written into headers, and read out of them. See the [module](super) for those that there are.
///
/// What comes out of headers may have been sent by anybody. What makes no sense must be read as if it were not there.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, Response};
/// use seawall::http::propagation::{InjectLayer, Propagated, Propagator};
///
/// /// Whole seconds, in the header of an old house.
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
    /// Writes what is known of a call in place of what may be there: the time left if there is one, the number of the
    /// attempt if it is not the first, and the priority if there is one.
    fn inject(&self, call: &Propagated, headers: &mut HeaderMap);

    /// Reads what came with a request.
    fn extract(&self, headers: &HeaderMap) -> Propagated;

    /// Writes into an answer, if it is a failure, that another attempt is not wanted.
    fn forbid_retry<B>(&self, response: &mut Response<B>);

    /// Whether an answer says that another attempt is not wanted.
    fn forbids_retry<B>(&self, response: &Response<B>) -> bool;

    /// Whether the head of an answer says that the call failed. A handler that gets an answer which did not fail has got over the
    /// calls that failed for good before. By default 5xx and 429 are failures.
    fn has_failed<B>(&self, response: &Response<B>) -> bool {
        last_word::is_failure(response.status())
    }
}
