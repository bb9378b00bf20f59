//! What one call teaches the layer.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lesson {
    /// How long the dependency had for the first attempt, if that is known.
    pub(super) first_had: Option<Duration>,
    pub(super) latency: Option<Observation>,
}

/// The latency of a call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Observation {
    /// The first attempt that was not answered before took so long, or would have taken so long at least if a hedge has won.
    Success { took: Duration, by_hedge: bool },
    /// It was hedged, and the first attempt had so long without an answer.
    Unanswered(Duration),
}
