//! The pass of a call whose request body may wait for its producer. The task of the connection sees these waits, so the pass is kept
//! with the body's waits.

use std::sync::Arc as Shared;

use super::checks;
use super::state::Breaker;
use crate::algorithm::breaker::Pass;
use crate::ground::sync::Arc;
use crate::layers::call::upload_waits::UploadWaits;

/// The pass of an admitted call: owned by its ticket, or kept with its upload.
#[derive(Debug)]
pub(super) enum CallPass {
    Own(Pass),
    Uploading(Shared<UploadWaits>),
}

impl CallPass {
    #[inline(always)]
    pub(super) fn new(breaker: &Arc<Breaker>, pass: Pass, upload_waits: Option<Shared<UploadWaits>>) -> Self {
        match upload_waits {
            Some(upload_waits) if !matches!(pass, Pass::LastResort(_) | Pass::Free) => {
                Self::of_upload(breaker, pass, upload_waits)
            }
            _ => Self::Own(pass),
        }
    }

    #[cold]
    fn of_upload(breaker: &Arc<Breaker>, pass: Pass, upload_waits: Shared<UploadWaits>) -> Self {
        let Some(aging) = checks::aging(breaker) else { return Self::Own(pass) };
        upload_waits.keep_pass(pass, aging);
        Self::Uploading(upload_waits)
    }

    /// Runs `act` on the pass. Its second argument tells whether the body waits.
    #[inline]
    pub(super) fn with<T>(&mut self, act: impl FnOnce(&mut Pass, &dyn Fn() -> bool) -> T) -> Option<T> {
        match self {
            Self::Own(pass) => Some(act(pass, &|| false)),
            Self::Uploading(upload_waits) => upload_waits.with_pass(act),
        }
    }

    /// The response has arrived: waits of the upload no longer stop the aging.
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

    /// Takes the pass: the call is over.
    #[inline]
    pub(super) fn take(self) -> Option<Pass> {
        match self {
            Self::Own(pass) => Some(pass),
            Self::Uploading(upload_waits) => upload_waits.take_pass(),
        }
    }
}
