use std::fmt;

use super::counted_calls::CountedCalls;
use crate::algorithm::throttle::SentCall;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::sync::Arc;
use crate::ground::time;
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};

/// The part of one call in the counts. It is settled once, with the verdict on the call. If it is dropped instead, the call was
/// cancelled, and stays counted as accepted.
///
/// Public only so that the types of responses can be named.
pub struct ThrottleTicket {
    /// `None` once it is settled, for a call that is refused locally, and if the throttle is disabled.
    sent: Option<(Arc<CountedCalls>, SentCall)>,
    deadline: CallDeadline,
    layer_id: LayerId,
}

impl ThrottleTicket {
    pub(super) fn new(counted: Arc<CountedCalls>, sent: SentCall, deadline: CallDeadline, layer_id: LayerId) -> Self {
        Self { sent: Some((counted, sent)), deadline, layer_id }
    }

    /// Of a call that is not counted.
    pub(super) fn uncounted(deadline: CallDeadline, layer_id: LayerId) -> Self {
        Self { sent: None, deadline, layer_id }
    }

    /// Records the verdict, if it decides: on the head of a response, or at the end of the call.
    #[inline]
    pub(super) fn judge(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Overloaded { retry_after } => {
                if let Some((counted, sent)) = self.sent.take() {
                    counted.refused(sent, retry_after, time::now());
                }
            }
            // It did not reach the dependency.
            Verdict::Ignored | Verdict::Unsent => {
                if let Some((counted, sent)) = self.sent.take() {
                    counted.withdraw(sent);
                }
            }
            // The dependency took the call, whatever became of it.
            Verdict::Success
            | Verdict::CallerFault
            | Verdict::Unprocessed
            | Verdict::Transient
            | Verdict::DoNotRetry
            | Verdict::TimedOut
            | Verdict::Lost
            | Verdict::Failed
            | Verdict::Abandoned => {}
        }
    }
}

impl SealedGuard for ThrottleTicket {}

impl Guard for ThrottleTicket {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        self.judge(verdict);
    }

    fn expiry(&self) -> Expiry {
        Expiry::of(self.layer_id, &self.deadline)
    }
}

impl fmt::Debug for ThrottleTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleTicket")
            .field("sent", &self.sent.as_ref().map(|(_, sent)| sent))
            .finish_non_exhaustive()
    }
}
