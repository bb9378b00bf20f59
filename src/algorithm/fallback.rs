//! Which failures a fallback answers.

use crate::ground::error::Reason;
use crate::ground::verdict::Verdict;

/// Whether the system failed the call: the dependency, the way to it, or a layer that protects it. A request that is itself at
/// fault would fail at the fallback, too, and its caller must see that.
pub(crate) fn is_system_failure(verdict: Verdict, rejected: Option<Reason>) -> bool {
    match verdict {
        Verdict::Transient
        | Verdict::Overloaded { .. }
        | Verdict::DoNotRetry
        | Verdict::TimedOut
        | Verdict::Unsent
        | Verdict::Lost
        | Verdict::Failed => true,
        // A layer refused to send it. Other calls without evidence could not be sent as they are.
        Verdict::Ignored => rejected.is_some_and(|reason| reason != Reason::RequestIdle),
        Verdict::Success | Verdict::CallerFault | Verdict::Unprocessed | Verdict::Abandoned => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_own_fault_is_no_system_failure() {
        for verdict in [Verdict::Success, Verdict::CallerFault, Verdict::Unprocessed, Verdict::Abandoned] {
            assert!(!is_system_failure(verdict, None), "{verdict:?}");
        }
        assert!(!is_system_failure(Verdict::Ignored, None), "the request could not be sent as it is");
        assert!(!is_system_failure(Verdict::Ignored, Some(Reason::RequestIdle)));
    }

    #[test]
    fn refusals_and_failures_are_system_failures() {
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::RequestIdle) {
            assert!(is_system_failure(Verdict::Ignored, Some(reason)), "{reason:?}");
        }
        for verdict in [
            Verdict::Transient,
            Verdict::Overloaded { retry_after: None },
            Verdict::DoNotRetry,
            Verdict::TimedOut,
            Verdict::Unsent,
            Verdict::Lost,
            Verdict::Failed,
        ] {
            assert!(is_system_failure(verdict, None), "{verdict:?}");
        }
    }
}
