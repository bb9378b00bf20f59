use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::early_end;
use super::endpoint_state::EndpointState;
use super::permit::Permit;
use crate::algorithm::estimate::{Estimate, Took};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::sync::atomic::Ordering;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::layers::core::observed;

/// A call in flight at an endpoint. It is settled once, with the verdict on the call; if it is dropped instead, the call was abandoned.
pub struct EndpointCall {
    /// `None` once it is settled.
    permit: Option<Permit>,
    since: Instant,
    /// How long the endpoint took for the head of its response, or for one frame of the body if that was longer.
    took: Option<Duration>,
    /// A call that was never polled says nothing about the endpoint, however long it was kept.
    polled: bool,
    /// A layer of ours between here and the endpoint has refused to send the call.
    was_refused: bool,
    /// The bound of the endpoint's breaker.
    bound: CallDeadline,
    layer_id: LayerId,
}

impl EndpointCall {
    #[inline]
    pub(super) fn new(permit: Permit, bound: CallDeadline) -> Self {
        let layer_id = permit.endpoint().common.instruments.layer_id();
        Self {
            permit: Some(permit),
            since: bound.start(),
            took: None,
            polled: false,
            was_refused: false,
            bound,
            layer_id,
        }
    }

    pub(super) fn polled(&mut self) {
        self.polled = true;
    }

    /// The head of the response has arrived, or an error. `answer` is what the breaker has measured: the endpoint's own time, and
    /// when that ended. Returns when that was. A breaker that lets all calls pass measures nothing.
    #[inline]
    pub(super) fn answered(&mut self, answer: Option<(Duration, Instant)>) -> Instant {
        let (took, now) = answer.unwrap_or_else(|| {
            let now = time::now();
            (now.since(self.since), now)
        });
        self.took = Some(took);
        now
    }

    /// The response says that so many other calls are in flight at the endpoint.
    pub(super) fn reported(&self, in_flight: u32, now: Instant) {
        if let Some(permit) = &self.permit {
            let endpoint = permit.endpoint();
            endpoint.load.reported(now, in_flight, &endpoint.common.load);
        }
    }

    /// The call has ended while the client was not ready. The breaker has not measured that, because nothing was sent. Here the wait
    /// counts as the endpoint's own: there are other endpoints, and calls should go to those.
    pub(super) fn client_was_unready(&mut self, now: Instant) {
        self.took = Some(now.since(self.since));
    }

    /// The call was refused before it was sent. That is no evidence about the endpoint, but callers get no answer there: it must not
    /// attract calls because it is idle.
    pub(super) fn was_refused(&mut self) {
        self.was_refused = true;
    }

    /// The call was dropped before its response. `answer` is as in [`answered`](Self::answered), and `None` if the client was not ready.
    pub(super) fn given_up(mut self, answer: Option<(Duration, Instant)>) {
        let now = answer.map_or_else(time::now, |(_, now)| now);
        // Cut by an outer layer at the deadline.
        let verdict = if self.bound.at() <= now { Verdict::TimedOut } else { Verdict::Abandoned };
        self.took = answer.map(|(took, _)| took);
        self.end(verdict, now);
    }

    pub(super) fn endpoint(&self) -> Option<&Arc<EndpointState>> {
        self.permit.as_ref().map(Permit::endpoint)
    }

    /// Nothing was sent, and the call goes on at another endpoint. Returns its bound.
    pub(super) fn leave(mut self) -> CallDeadline {
        drop(self.permit.take());
        self.bound
    }

    /// The `poll_ready` of this client has failed. It is replaced when the next call needs a client.
    #[cold]
    pub(super) fn client_failed(&self, id: NonZeroU64) {
        if let Some(permit) = &self.permit {
            permit.endpoint().failed_client.store(id.get(), Ordering::Relaxed);
        }
    }

    /// The call has ended at `now`.
    pub(super) fn end(&mut self, verdict: Verdict, now: Instant) {
        let Some(permit) = self.permit.take().filter(|_| self.polled) else { return };
        let held = now.since(self.since);
        let took = self.took.unwrap_or(held);
        let endpoint = permit.endpoint();
        if verdict == Verdict::Lost {
            scope::note_loss(endpoint.id);
        }
        let was_full = endpoint.record(verdict, permit.level(), took, now);
        if self.was_refused {
            endpoint.load.failed(now, took, &endpoint.common.load);
        }
        // The body of a response that may go on after the deadline need not fit into it.
        let needed = if self.bound.has_end() { took } else { held };
        sample(&endpoint.common.service, verdict, now, Took { held, needed });
        observed::record(&endpoint.common.instruments, verdict, took);
        let has_failed = match verdict {
            Verdict::Success | Verdict::CallerFault | Verdict::TimedOut | Verdict::Abandoned | Verdict::Lost => false,
            Verdict::Ignored => self.was_refused,
            _ => true,
        };
        // A full endpoint is no worse for that, and gets no more calls than it takes.
        if has_failed && !was_full {
            early_end::end(permit, took, now);
        } else if let Verdict::Abandoned | Verdict::TimedOut = verdict {
            early_end::dropped(permit, took, now);
        }
    }
}

/// Records how long a permit was held. A call that was cut held it at least that long; one that failed proves nothing.
#[inline]
fn sample(service: &Estimate, verdict: Verdict, now: Instant, took: Took) {
    match verdict {
        Verdict::Success | Verdict::CallerFault => service.sample(now, took),
        Verdict::TimedOut | Verdict::Abandoned => service.at_least(now, took),
        _ => {}
    }
}

impl SealedGuard for EndpointCall {
    const READS_LOAD: bool = true;

    fn reported(&mut self, in_flight: u32) {
        Self::reported(self, in_flight, time::call_start());
    }
}

impl Guard for EndpointCall {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        // An inner layer hands over its clock read for the response.
        self.end(verdict, time::call_start());
    }

    /// The longest wait counts: a stream is not slow because it is long.
    fn waited(&mut self, time: Duration) {
        self.took = self.took.map(|took| took.max(time));
    }

    fn expiry(&self) -> Expiry {
        Expiry::of(self.layer_id, &self.bound)
    }
}

impl Drop for EndpointCall {
    #[inline]
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.end(Verdict::Abandoned, time::now());
        }
    }
}

impl fmt::Debug for EndpointCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointCall").field("took", &self.took).finish_non_exhaustive()
    }
}
