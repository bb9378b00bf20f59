//! The pass of a call whose request body may wait for its producer. Such waits are seen in the task of the connection, so the pass is
//! kept where the body notes them.

use std::sync::Arc as Shared;

use super::checks;
use super::state::Breaker;
use crate::algorithm::breaker::Pass;
use crate::ground::sync::Arc;
use crate::layers::call::upload_waits::UploadWaits;

/// What a call was given when it was admitted: alone, or kept with its upload.
#[derive(Debug)]
pub(super) enum CallPass {
    Own(Pass),
    Uploading(Shared<UploadWaits>),
}

impl CallPass {
    #[inline(always)]
    pub(super) fn new(breaker: &Arc<Breaker>, pass: Pass, upload_waits: Option<Shared<UploadWaits>>) -> Self {
        match upload_waits {
            Some(upload_waits) if !matches!(pass, Pass::Free) => Self::call_pass(breaker, pass, upload_waits),
            _ => Self::Own(pass),
        }
    }

    #[cold]
    fn call_pass(breaker: &Arc<Breaker>, pass: Pass, upload_waits: Shared<UploadWaits>) -> Self {
        let Some(aging) = checks::aging(breaker) else { return Self::Own(pass) };
        upload_waits.keep_pass(pass, aging);
        Self::Uploading(upload_waits)
    }

    /// Does something with the pass, that may depend on whether the body waits.
    #[inline]
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Pass, &dyn Fn() -> bool) -> T) -> Option<T> {
        match self {
            Self::Own(pass) => Some(act(pass, &|| false)),
            Self::Uploading(upload_waits) => upload_waits.with_pass(act),
        }
    }

    /// From now on the upload is nobody's wait.
    #[inline]
    pub(super) fn answered(&self) {
        if let Self::Uploading(upload_waits) = self {
            upload_waits.answered();
        }
    }

    #[inline]
    pub(super) fn upload_waits(&self) -> Option<&UploadWaits> {
        match self {
            Self::Own(_) => None,
            Self::Uploading(upload_waits) => Some(upload_waits),
        }
    }

    /// The call is over.
    #[inline]
    pub(super) fn take(self) -> Option<Pass> {
        match self {
            Self::Own(pass) => Some(pass),
            Self::Uploading(upload_waits) => upload_waits.take_pass(),
        }
    }
}
