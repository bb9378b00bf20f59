//! The pass of a call whose request body may wait for its producer. Such waits are seen in the task of the connection, so the pass is
//! kept where the body notes them.

use std::sync::Arc as Shared;

use super::state::Breaker;
use super::visits;
use crate::algorithm::breaker::Pass;
use crate::ground::sync::Arc;
use crate::layers::call::sending::Sending;

/// What a call was given when it was admitted: alone, or kept with its upload.
#[derive(Debug)]
pub(super) enum Held {
    Own(Pass),
    Uploading(Shared<Sending>),
}

impl Held {
    #[inline(always)]
    pub(super) fn new(breaker: &Arc<Breaker>, pass: Pass, sending: Option<Shared<Sending>>) -> Self {
        match sending {
            Some(sending) if !matches!(pass, Pass::Free) => Self::uploading(breaker, pass, sending),
            _ => Self::Own(pass),
        }
    }

    #[cold]
    fn uploading(breaker: &Arc<Breaker>, pass: Pass, sending: Shared<Sending>) -> Self {
        let Some(aging) = visits::aging(breaker) else { return Self::Own(pass) };
        sending.keep(pass, aging);
        Self::Uploading(sending)
    }

    /// Does something with the pass, that may depend on whether the body waits.
    #[inline]
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Pass, &dyn Fn() -> bool) -> T) -> Option<T> {
        match self {
            Self::Own(pass) => Some(act(pass, &|| false)),
            Self::Uploading(sending) => sending.with(act),
        }
    }

    /// From now on the upload is nobody's wait.
    #[inline]
    pub(super) fn answered(&self) {
        if let Self::Uploading(sending) = self {
            sending.answered();
        }
    }

    #[inline]
    pub(super) fn sending(&self) -> Option<&Sending> {
        match self {
            Self::Own(_) => None,
            Self::Uploading(sending) => Some(sending),
        }
    }

    /// The call is over.
    #[inline]
    pub(super) fn take(self) -> Option<Pass> {
        match self {
            Self::Own(pass) => Some(pass),
            Self::Uploading(sending) => sending.take(),
        }
    }
}
