//! What a limit learns from a call.

/// How a call ended, as far as a limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered; its time counts.
    Good,
    /// Answered with an error. It proves nothing about the load.
    Failed,
    /// Cut or abandoned without an answer: it would have taken at least this long.
    Late,
    /// The service refused the call itself, without a reason: its own pool may be full.
    NoRoom,
}

/// What a limit wants to know about an admission when the call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Ticket {
    /// Counts the changes of the limit; an older one is stale.
    pub(super) epoch: u32,
    /// The number of admissions in this epoch before it.
    pub(super) index: u32,
    /// The calls in flight, this one included.
    pub(super) in_flight: u32,
    /// The permits in use by others, and one: a heavy call that is alone is not among many.
    pub(super) among: u32,
    /// A sample of the calls was enough then, so the admission was not counted.
    pub(super) is_quiet: bool,
}

impl Ticket {
    pub(super) fn new(in_flight: usize, epoch: u32, index: u32) -> Self {
        Self { epoch, index, in_flight: saturate(in_flight), among: saturate(in_flight), is_quiet: false }
    }

    /// The permits in use by others when it began, and one.
    pub(crate) fn among(self, permits: usize) -> Self {
        Self { among: saturate(permits), ..self }
    }

    /// Of an admission while [a sample is enough](super::Limit::is_quiet).
    pub(crate) fn quiet(in_flight: usize) -> Self {
        Self { is_quiet: true, ..Self::new(in_flight, 0, 0) }
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.is_quiet
    }
}

/// Also for the largest counts.
pub(super) fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
