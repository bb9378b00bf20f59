//! The states of a breaker, as users see them.

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// All calls pass, and are counted.
    Closed,
    /// No call passes until the break is over.
    Open,
    /// A few calls pass, as probes.
    HalfOpen,
    /// Opened by hand: no call passes.
    ForcedOpen,
    /// Switched off by hand: all calls pass, and nothing is counted.
    Disabled,
}

impl State {
    /// The state in one word, as logs and metrics have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
        }
    }
}

/// A change of state, to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Transition {
    pub(crate) from: State,
    pub(crate) to: State,
}
