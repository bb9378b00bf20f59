//! Whether the machine or an operator decides.

/// Whether the machine or an operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The machine decides.
    Enforcing,
    /// The machine changes its state as if it enforced, but no call is refused.
    Observing,
    ForcedOpen,
    Disabled,
}
