//! The error of an inner service that ended a call at seawall's deadline itself.

use std::error::Error;
use std::fmt;

use tower::BoxError;

use super::Rejected;

/// A client that knows the deadline ends the call a moment earlier. Its error is found as the cut at the deadline, and stays at the
/// end of the chain.
#[derive(Debug, thiserror::Error)]
pub(crate) struct AtDeadline(#[source] AtDeadlineSource);

/// The source of [`AtDeadline`], by which it is found in wrappers that show only the source of the error that they hold.
#[derive(Debug, thiserror::Error)]
#[error("{}", cut.reason().as_str())]
struct AtDeadlineSource {
    cut: Rejected,
    #[source]
    error: BoxError,
}

impl AtDeadline {
    pub(crate) fn new(cut: Rejected, error: BoxError) -> Self {
        Self(AtDeadlineSource { cut, error })
    }

    /// The cut that `error` represents.
    pub(super) fn cut<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejected> {
        let kept = error.downcast_ref().or_else(|| error.downcast_ref::<Self>().map(|at_deadline| &at_deadline.0));
        kept.map(|kept: &AtDeadlineSource| &kept.cut)
    }
}

/// By hand, with the flags of the formatter.
impl fmt::Display for AtDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cut.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::error::{Reason, rejection};
    use crate::ground::layer_id::LayerKind;

    #[test]
    fn error_at_a_deadline_is_found_as_the_cut() {
        let cut = Rejected::nameless(LayerKind::Deadline, Reason::DeadlineExceeded);
        let wrapped = || AtDeadline::new(cut.clone(), "Timeout expired".into());
        let plain: BoxError = wrapped().into();
        let hidden: BoxError = anyhow::Error::new(wrapped()).context("while paying").into();
        for error in [plain, hidden] {
            assert_eq!(rejection(&error), Some(&cut));
            let last = std::iter::successors(Some(error.as_ref() as &(dyn Error + 'static)), |&error| error.source());
            assert_eq!(last.last().map(ToString::to_string).as_deref(), Some("Timeout expired"));
        }
    }
}
