//! What the failed votes of a call without a quorum prove together.

/// The strictest of the votes that failed, by which the whole call is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FailedVotes {
    /// Failures that may be temporary, or no failures: the answers differ.
    #[default]
    Temporary,
    /// Nothing was sent to any of the endpoints that failed.
    Ignored,
    /// An endpoint may have executed the request, and crashed on it.
    Lost,
    /// An endpoint wants no other attempt.
    DoNotRetry,
}
