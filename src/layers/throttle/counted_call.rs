use super::counted_calls::CountedCalls;
use crate::algorithm::throttle::SentCall;
use crate::ground::sync::Arc;
use crate::ground::time;
use crate::ground::verdict::Verdict;

/// A call that was sent, and its part in the counts. If it is dropped, the call was cancelled, and stays counted as accepted.
#[derive(Debug)]
pub(super) struct CountedCall {
    counted: Arc<CountedCalls>,
    sent: SentCall,
}

impl CountedCall {
    pub(super) fn new(counted: Arc<CountedCalls>, sent: SentCall) -> Self {
        Self { counted, sent }
    }

    /// Records the verdict on the head of the response, or on the error.
    pub(super) fn end(self, verdict: Verdict) {
        match verdict {
            Verdict::Overloaded { retry_after } => self.counted.refused(self.sent, retry_after, time::now()),
            // It did not reach the dependency.
            Verdict::Ignored | Verdict::Unsent => self.counted.withdraw(self.sent),
            Verdict::Success | Verdict::CallerFault | Verdict::Transient | Verdict::DoNotRetry | Verdict::Failed => {
                self.counted.answered(self.sent)
            }
            // The dependency may have taken the call, and has not answered it.
            Verdict::Unprocessed | Verdict::TimedOut | Verdict::Lost | Verdict::Abandoned => {}
        }
    }
}
