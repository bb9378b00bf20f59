//! The initial state of a call that may be retried, and the states that it goes through.

use std::sync::Arc as Shared;

use pin_project::pin_project;
use tower::BoxError;

use super::budget::Withdrawal;
use super::call_settings::CallSettings;
use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::scope::Context;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::call::upload_waits::UploadWaits;
use crate::telemetry::AttemptSpan;

/// What is needed to make further attempts.
#[derive(Debug)]
pub(super) struct AttemptSource<S, K> {
    pub(super) kept: K,
    pub(super) service: S,
}

/// The state of a call at its start.
#[derive(Debug)]
pub(super) struct InitialState {
    pub(super) inherited: Context,
    pub(super) settings: CallSettings,
    pub(super) deadline: CallDeadline,
    /// When the first attempt is cut, if that is before the end of the call.
    pub(super) cut: Option<Instant>,
    /// The span of the first attempt.
    pub(super) span: Option<Box<AttemptSpan>>,
    /// The waits of the first attempt's request body.
    pub(super) upload_waits: Option<Shared<UploadWaits>>,
}

#[pin_project(project = StateProj)]
pub(super) enum State<Call, Settling, Detaching> {
    /// An attempt is in flight => Settling | BackingOff | Over
    Attempting {
        #[pin]
        call: Call,
    },
    /// There is a response, and the classifier decides what it means => Detaching | Over
    Settling {
        #[pin]
        settling: Settling,
    },
    /// It failed, a retry is paid for, and the response releases what it holds => BackingOff | Over
    Detaching {
        #[pin]
        detaching: Detaching,
        until: Instant,
        cause: Verdict,
    },
    /// The next attempt waits for its backoff => Attempting | Over
    BackingOff { until: Instant, timer: Timer, cause: Verdict },
    /// The caller has the result.
    Over,
}

/// The additional state of a call that is retried.
pub(super) struct Retrying<T> {
    /// The token of the current attempt, until the attempt has ended.
    pub(super) withdrawal: Option<Withdrawal>,
    /// How the last attempt failed. A cut or a refusal of ours never replaces the dependency's own failure.
    pub(super) failure: Option<Result<T, BoxError>>,
}

impl<T> Default for Retrying<T> {
    fn default() -> Self {
        Self { withdrawal: None, failure: None }
    }
}
