//! How the inner service failed, and the error of a fallback that failed, too.

use std::error::Error;
use std::fmt;

use tower::BoxError;

use crate::ground::error::{Rejected, rejection};
use crate::ground::layer_id::LayerId;
use crate::ground::verdict::{Cause, Verdict};

/// The result of the inner service, in place of which a fallback answers.
#[derive(Debug)]
pub struct Failure<T> {
    result: Result<T, BoxError>,
    verdict: Verdict,
    pub(super) layer_id: LayerId,
}

impl<T> Failure<T> {
    pub(super) fn new(result: Result<T, BoxError>, verdict: Verdict, layer_id: LayerId) -> Self {
        Self { result, verdict, layer_id }
    }

    #[cfg(feature = "http")]
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Failure<U> {
        Failure { result: self.result.map(map), verdict: self.verdict, layer_id: self.layer_id }
    }

    pub(super) fn as_cause(&self) -> Cause {
        Cause::of(self.verdict, self.rejected().map(Rejected::reason))
    }

    /// What the classifier made of the result.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The cause in one word: the [reason](crate::error::Reason) of a refusal or a cut by seawall, such as
    /// `circuit_open`, otherwise the [verdict](Verdict), such as `transient`.
    pub fn cause(&self) -> &'static str {
        self.as_cause().as_str()
    }

    /// The refusal or the cut, if a layer of this crate ended the call.
    pub fn rejected(&self) -> Option<&Rejected> {
        self.error().and_then(rejection)
    }

    /// The error of the inner service, unless it responded.
    pub fn error(&self) -> Option<&BoxError> {
        self.result.as_ref().err()
    }

    /// The response of the inner service, if it responded.
    pub fn response(&self) -> Option<&T> {
        self.result.as_ref().ok()
    }

    /// The result of the inner service.
    ///
    /// # Errors
    /// The error of the inner service, unless it responded.
    pub fn into_result(self) -> Result<T, BoxError> {
        self.result
    }
}

/// The error of a call whose inner service failed with an error, and whose fallback failed, too.
///
/// Its source is the error of the inner service: what classifiers and [`rejection`](crate::error::rejection) find in this error is
/// what they would find without a fallback.
#[derive(Debug)]
pub struct FallbackFailed {
    inner: BoxError,
    fallback: BoxError,
}

impl FallbackFailed {
    pub(super) fn new(inner: BoxError, fallback: BoxError) -> Self {
        Self { inner, fallback }
    }

    /// The error of the inner service.
    pub fn inner(&self) -> &BoxError {
        &self.inner
    }

    /// The error of the fallback.
    pub fn fallback(&self) -> &BoxError {
        &self.fallback
    }
}

impl fmt::Display for FallbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the fallback failed, too: {}", self.inner, self.fallback)
    }
}

impl Error for FallbackFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.inner)
    }
}
