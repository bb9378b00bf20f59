use std::fmt;
use std::sync::Arc;

use ::http::HeaderMap;

use crate::ground::verdict::Verdict;

/// A user's verdicts by status or code and by headers, where they differ from the table. No overrides cost nothing.
pub(crate) struct Overrides<S>(Option<Arc<Opinion<S>>>);

type Opinion<S> = dyn Fn(S, &HeaderMap) -> Option<Verdict> + Send + Sync;

impl<S: Copy + 'static> Overrides<S> {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Asks `opinion` first. Where it returns `None`, the earlier overrides apply.
    pub(crate) fn with(self, opinion: impl Fn(S, &HeaderMap) -> Option<Verdict> + Send + Sync + 'static) -> Self {
        Self(Some(match self.0 {
            None => Arc::new(opinion),
            Some(before) => Arc::new(move |of, headers| opinion(of, headers).or_else(|| before(of, headers))),
        }))
    }

    #[inline]
    pub(crate) fn ask(&self, of: S, headers: &HeaderMap) -> Option<Verdict> {
        self.0.as_ref().and_then(|opinion| opinion(of, headers))
    }
}

impl<S> Clone for Overrides<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Default for Overrides<S> {
    fn default() -> Self {
        Self(None)
    }
}

impl<S> fmt::Debug for Overrides<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "some" } else { "none" })
    }
}
