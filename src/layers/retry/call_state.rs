//! What a call that may be retried has from the beginning, and the states that it goes through.

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

/// What further attempts are made of.
#[derive(Debug)]
pub(super) struct AttemptSource<S, K> {
    pub(super) kept: K,
    pub(super) service: S,
}

/// What a call has from the beginning.
#[derive(Debug)]
pub(super) struct InitialState {
    pub(super) inherited: Context,
    pub(super) settings: CallSettings,
    pub(super) deadline: CallDeadline,
    /// When the first attempt is cut, if that is before the call is.
    pub(super) cut: Option<Instant>,
    /// Of the first attempt.
    pub(super) span: Option<Box<AttemptSpan>>,
    /// What the body of the first attempt notes.
    pub(super) upload_waits: Option<Shared<UploadWaits>>,
}

#[pin_project(project = StateProj)]
pub(super) enum State<Call, Settling, Detaching> {
    /// An attempt is on its way => Settling | Resting | Over
    Attempting {
        #[pin]
        call: Call,
    },
    /// There is a response, which shows what it means => Detaching | Over
    Settling {
        #[pin]
        settling: Settling,
    },
    /// It failed, another attempt is paid for, and it lets go of what it holds => Resting | Over
    Detaching {
        #[pin]
        detaching: Detaching,
        until: Instant,
        cause: Verdict,
    },
    /// The next attempt waits for its time => Attempting | Over
    BackingOff { until: Instant, timer: Timer, cause: Verdict },
    /// The caller has got the result.
    Over,
}

/// What a call has once it is retried.
pub(super) struct Retrying<T> {
    /// The price of the present attempt, until it has ended.
    pub(super) withdrawal: Option<Withdrawal>,
    /// How the last attempt failed. A cut or a refusal of ours never takes the place of the callee's own failure.
    pub(super) failure: Option<Result<T, BoxError>>,
}

impl<T> Default for Retrying<T> {
    fn default() -> Self {
        Self { withdrawal: None, failure: None }
    }
}
