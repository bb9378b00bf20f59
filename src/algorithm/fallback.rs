//! Which failures a fallback answers.

use crate::ground::error::Reason;
use crate::ground::verdict::Verdict;

/// Why a fallback was needed: a refusal or a cut of seawall, or else the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Rejected(Reason),
    Judged(Verdict),
}

impl Cause {
    /// The number of causes.
    pub(crate) const COUNT: usize = Reason::ALL.len() + Verdict::COUNT;

    pub(crate) fn of(verdict: Verdict, rejected: Option<Reason>) -> Self {
        rejected.map_or(Self::Judged(verdict), Self::Rejected)
    }

    /// The cause in one word: that of the reason or of the verdict.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.as_str(),
            Self::Judged(verdict) => verdict.as_str(),
        }
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Rejected(reason) => reason as usize,
            Self::Judged(verdict) => Reason::ALL.len() + verdict.index(),
        }
    }

    /// The causes in one word, by [`index`](Self::index).
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Reason::ALL.into_iter().map(Reason::as_str).chain(Verdict::NAMES)
    }
}

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
    fn causes_are_numbered_without_gaps() {
        let verdicts = [
            Verdict::Success,
            Verdict::CallerFault,
            Verdict::Transient,
            Verdict::Overloaded { retry_after: None },
            Verdict::TimedOut,
            Verdict::Unsent,
            Verdict::Lost,
            Verdict::Failed,
            Verdict::Abandoned,
            Verdict::Ignored,
            Verdict::Unprocessed,
            Verdict::DoNotRetry,
        ];
        let causes = Reason::ALL.map(Cause::Rejected).into_iter().chain(verdicts.map(Cause::Judged));
        let mut count = 0;
        for ((index, name), cause) in Cause::names().enumerate().zip(causes) {
            assert_eq!((cause.index(), cause.as_str()), (index, name));
            count += 1;
        }
        assert_eq!(count, Cause::COUNT);
    }

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
