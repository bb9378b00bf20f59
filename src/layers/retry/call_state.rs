//! The states that a call goes through which may be retried.

use std::pin::Pin;

use pin_project::pin_project;

use super::attempts::Attempts;
use super::report::Stop;

use crate::admission::timer::Timer;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;

#[pin_project(project = RetryCallStateProj)]
pub(super) enum RetryCallState<Call, Settling, Detaching> {
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

impl<Call, Settling, Detaching> RetryCallState<Call, Settling, Detaching> {
    /// Ends the call, and records how it went. The attempt is dropped first, so that an inner retry reports before this one does.
    pub(super) fn end<S, K, T>(
        mut self: Pin<&mut Self>,
        attempts: &mut Attempts<S, K, T>,
        stopped: Stop,
        last: Verdict,
    ) {
        self.set(Self::Over);
        attempts.finish(stopped, last);
    }
}
