//! Why a call failed, in one word.

use super::verdicts::Verdict;
use crate::ground::error::Reason;

/// Why a call failed: a refusal or a cut of seawall, or else the verdict.
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

    /// All causes, by [`index`](Self::index): the verdict, and the reason if it was refused or cut.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        let rejected = Reason::ALL.into_iter().map(|reason| (reason.verdict().as_str(), Some(reason.as_str())));
        rejected.chain(Verdict::NAMES.into_iter().map(|verdict| (verdict, None)))
    }

    /// The causes in one word, by [`index`](Self::index).
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::all().map(|(verdict, reason)| reason.unwrap_or(verdict))
    }

    /// The verdict in one word.
    pub(crate) const fn verdict(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.verdict().as_str(),
            Self::Judged(verdict) => verdict.as_str(),
        }
    }

    /// The reason in one word, if it was refused or cut.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Rejected(reason) => Some(reason.as_str()),
            Self::Judged(_) => None,
        }
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
            assert_eq!(Cause::all().nth(index), Some((cause.verdict(), cause.reason())));
            count += 1;
        }
        assert_eq!(count, Cause::COUNT);
    }
}
