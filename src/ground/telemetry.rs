//! The one file that names a metric or a trace event.
//!
//! Algorithms return decisions and layers act on them; what is worth telling is told here, off the path of a call that
//! goes well.

use crate::ground::error::Rejected;
use crate::ground::verdict::Verdict;

/// A call was refused or ended by a layer.
pub(crate) fn rejected(rejected: &Rejected) {
    tracing::debug!(target: "seawall", layer = rejected.layer(), reason = rejected.reason().as_str(), "rejected");
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "seawall_rejected_total",
        "layer" => rejected.layer(),
        "reason" => rejected.reason().as_str(),
    )
    .increment(1);
}

/// An attempt failed and another one follows.
pub(crate) fn retried(cause: Verdict) {
    tracing::debug!(target: "seawall", layer = "retry", cause = cause.as_str(), "retried");
    #[cfg(feature = "metrics")]
    metrics::counter!("seawall_retries_total", "cause" => cause.as_str()).increment(1);
}

/// An attempt failed, and another one that would have been in order is not made.
pub(crate) fn not_retried(why: &'static str) {
    tracing::debug!(target: "seawall", layer = "retry", why, "not retried");
    #[cfg(feature = "metrics")]
    metrics::counter!("seawall_retries_refused_total", "why" => why).increment(1);
}

/// A circuit breaker changed its state.
pub(crate) fn transition(from: &'static str, to: &'static str) {
    tracing::warn!(target: "seawall", layer = "circuit_breaker", from, to, "transition");
    #[cfg(feature = "metrics")]
    metrics::counter!("seawall_circuit_breaker_transitions_total", "from" => from, "to" => to).increment(1);
}

/// Someone moved a named component by hand.
#[cfg(feature = "dashboard")]
pub(crate) fn controlled(name: &str, layer: &str, command: &str) {
    tracing::warn!(target: "seawall", name, layer, command, "controlled");
}

/// The body of a response was kept beyond its time, and has been cut. Someone `waited` for it, or it was put aside and
/// forgotten.
#[cfg(feature = "http")]
pub(crate) fn body_cut(rejected: &Rejected, waited: bool, age: std::time::Duration) {
    let (layer, reason) = (rejected.layer(), rejected.reason().as_str());
    let held = if waited { "read" } else { "parked" };
    tracing::warn!(target: "seawall", layer, reason, held, ?age, "body cut");
    #[cfg(feature = "metrics")]
    metrics::counter!("seawall_bodies_cut_total", "layer" => layer, "reason" => reason, "held" => held).increment(1);
}

/// An error that no layer of ours made is answered: its cause is told here, since the answer does not tell it.
#[cfg(feature = "http")]
pub(crate) fn answered(error: &tower::BoxError, answer: &'static str, is_internal: bool) {
    let error = error.as_ref() as &(dyn std::error::Error + 'static);
    tracing::error!(target: "seawall", layer = "respond", answer, error, "answered");
    #[cfg(feature = "metrics")]
    if is_internal {
        metrics::counter!("seawall_internal_errors_total").increment(1);
    }
    #[cfg(not(feature = "metrics"))]
    let _ = is_internal;
}
