//! Whether the machine or an operator decides.

/// Whether the machine or an operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The machine decides.
    Enforcing,
    /// The machine moves as it would, and refuses nothing.
    Observing,
    ForcedOpen,
    Disabled,
}
