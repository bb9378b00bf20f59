//! What happens to a call, and the settings that decide it.

use std::time::Duration;

use crate::ground::instant::Instant;

/// The settings. See [`QuarantineConfig`](crate::quarantine::QuarantineConfig).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) endpoints: u32,
    pub(crate) window: Duration,
    pub(crate) duration: Duration,
    pub(crate) turn: Duration,
    pub(crate) max_fingerprints: usize,
}

/// The right to send a call of a suspect. It is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(pub(super) u64);

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuarantineAdmission {
    /// The fingerprint is not suspected.
    Free,
    /// It is a suspect, and this call has the turn.
    Turn(Turn),
    /// It is a suspect, and this call asks again at this instant, unless the turn is passed on before.
    Wait(Instant),
    /// It is quarantined for so much longer.
    Refused(Duration),
}
