//! The body of a request, kept for further attempts.

use std::fmt;
use std::sync::Arc as Shared;
use std::task::{Context, Poll};

use super::body::{Left, ReplayBody};
use super::source::{Begun, ReplaySource};
use crate::ground::sync::Arc;
use crate::layers::call::upload_waits::UploadWaits;

/// See the module. When it is dropped no attempt follows, so the rest of the body need not be recorded.
pub(super) struct KeptBody<B> {
    /// `None` if there is no body.
    source: Option<Arc<ReplaySource<B>>>,
    /// The recorded waits of the newest attempt's body.
    sending: Option<Shared<UploadWaits>>,
    left: Left,
}

impl<B> KeptBody<B> {
    pub(super) fn new(source: Option<Arc<ReplaySource<B>>>, sending: Option<Shared<UploadWaits>>, left: Left) -> Self {
        Self { source, sending, left }
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.is_repeatable())
    }

    pub(super) fn give_up(&self) {
        if let Some(source) = &self.source {
            source.supersede();
        }
    }

    pub(super) fn sending(&self) -> Option<Shared<UploadWaits>> {
        self.sending.clone()
    }

    /// Ready once the body has been sent.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.as_ref().map_or(Poll::Ready(()), |source| source.poll_sent(cx))
    }

    /// The body of another attempt, which begins to read it in this way.
    pub(super) fn again(&mut self, begin: impl FnOnce(&ReplaySource<B>) -> Option<Begun>) -> Option<ReplayBody<B>> {
        let Some(source) = &self.source else { return Some(ReplayBody::empty(self.left)) };
        let begun = begin(source)?;
        self.sending = Some(UploadWaits::new());
        Some(ReplayBody::further(source, begun, self.sending.clone(), self.left))
    }
}

impl<B> Drop for KeptBody<B> {
    fn drop(&mut self) {
        if let Some(source) = &self.source {
            source.stop_keeping();
        }
    }
}

impl<B> fmt::Debug for KeptBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, sending: _, left } = self;
        f.debug_struct("KeptBody").field("source", source).field("left", left).finish_non_exhaustive()
    }
}
