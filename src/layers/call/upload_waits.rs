//! Measures how long a request body waits for its producer: the caller, or the client of a server that passes an upload on.
//!
//! A dependency cannot answer a request that it has not received. The body of an attempt records when it is polled and has no data,
//! which happens in the task of the connection. A layer that measures the dependency subtracts that time, and a call that waits for
//! its upload does not age.
//!
//! The layer that makes the request bodies of attempts [enters](enter) the record around the attempt. The first inner layer that
//! [claims](claim) it measures by it. Calls made further inside do not see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::algorithm::breaker::Pass;
use crate::ground::scope::attachment::{self, Attached, AttachmentSlot};
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::{self, Instant};

/// The waits of one attempt's request body.
#[derive(Debug, Default)]
pub struct UploadWaits {
    state: Mutex<UploadWaitsState>,
}

#[derive(Debug, Default)]
struct UploadWaitsState {
    claimed: bool,
    waiting_since: Option<Instant>,
    /// The sum of the completed waits, and the start and end of the last one.
    waited: Duration,
    last_wait: Option<(Instant, Instant)>,
    kept: Option<KeptPass>,
}

/// The pass that a circuit breaker gave to the attempt. It is kept here because the attempt does not age while its body waits.
#[derive(Debug)]
struct KeptPass {
    pass: Pass,
    /// The head of the response has arrived. The rest of the body may still be sent.
    answered: bool,
    aging: Arc<dyn Aging>,
}

/// A circuit breaker, which checks the ages of calls. Pausing and resuming the pass of a closed breaker takes the breaker's lock for
/// a few instructions and wakes nothing, so it may run under this lock. In the other order, a breaker asks under its lock only the
/// upload of a probe whether it waits, and an upload keeps one pass for its whole life. So the two locks cannot wait for each other.
/// Dropping the `Arc` under this lock is safe as well: the ticket that owns the breaker
/// [takes](UploadWaits::take_pass) the pass back before it is dropped.
pub(crate) trait Aging: fmt::Debug + Send + Sync {
    /// The call with this pass waits for the producer of its body since `now`.
    fn pause(&self, pass: &mut Pass, now: Instant);

    /// The wait has ended: the call ages again.
    fn resume(&self, pass: &mut Pass, now: Instant);

    /// Ensures that the reaper checks the calls in flight. Takes a lock that others wait for, so call it without holding one.
    fn ensure_scheduled(&self, now: Instant);
}

impl UploadWaits {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The body was polled and has no data.
    pub(crate) fn begin_wait(&self) {
        let now = time::now();
        let mut state = lock(&self.state);
        if state.waiting_since.is_some() {
            return;
        }
        state.waiting_since = Some(now);
        let unanswered = state.kept.as_mut().filter(|kept| !kept.answered);
        let Some(KeptPass { pass, aging, .. }) = unanswered else { return };
        match pass {
            Pass::Probe(probe) => {
                let (probe, aging) = (*probe, Arc::clone(aging));
                drop(state);
                aging.pause(&mut Pass::Probe(probe), now);
            }
            pass => aging.pause(pass, now),
        }
    }

    /// The body has data again, or was dropped.
    pub(crate) fn end_wait(&self) {
        let mut state = lock(&self.state);
        let Some(since) = state.waiting_since.take() else { return };
        let now = time::now();
        state.waited += now.since(since);
        state.last_wait = Some((since, now));
        let unanswered = state.kept.as_mut().filter(|kept| !kept.answered);
        let Some(KeptPass { pass, aging, .. }) = unanswered else { return };
        let aging = Arc::clone(aging);
        match pass {
            Pass::Probe(probe) => {
                let probe = *probe;
                drop(state);
                aging.resume(&mut Pass::Probe(probe), now);
            }
            pass => {
                aging.resume(pass, now);
                drop(state);
            }
        }
        aging.ensure_scheduled(now);
    }

    /// How long the body had waited by `now` in all, and whether it waits at present.
    pub(crate) fn waited(&self, now: Instant) -> (Duration, bool) {
        let state = lock(&self.state);
        let current = state.waiting_since.map(|since| now.since(since));
        // `now` may lie in the past, such as the instant at which a call was woken for its response. Waits after it do not count.
        let later = state.last_wait.map_or(Duration::ZERO, |(since, until)| until.since(since.max(now)));
        (state.waited.saturating_sub(later) + current.unwrap_or_default(), current.is_some())
    }

    /// Whether the body waits now.
    pub(crate) fn is_waiting(&self) -> bool {
        lock(&self.state).waiting_since.is_some()
    }

    /// Keeps the pass of the attempt until it is [taken back](Self::take_pass).
    pub(crate) fn keep_pass(&self, pass: Pass, aging: Arc<dyn Aging>) {
        let kept = KeptPass { pass, answered: false, aging };
        let before = lock(&self.state).kept.replace(kept);
        drop(before);
    }

    /// Runs `act` on the pass, unless it was taken back. The second argument tells whether the body waits. An act on a probe changes
    /// the state machine of the breaker, which wakes and notifies others, so it runs unlocked and the body may change meanwhile. The
    /// machine ignores a probe that has ended.
    pub(crate) fn with_pass<T>(&self, act: impl FnOnce(&mut Pass, &dyn Fn() -> bool) -> T) -> Option<T> {
        let mut state = lock(&self.state);
        let waits = state.waiting_since.is_some();
        match &mut state.kept.as_mut()?.pass {
            Pass::Probe(probe) => {
                let probe = *probe;
                drop(state);
                Some(act(&mut Pass::Probe(probe), &|| self.is_waiting()))
            }
            pass => Some(act(pass, &|| waits)),
        }
    }

    /// The response has arrived: from here on a wait of the body does not stop the aging of the call.
    pub(crate) fn answered(&self) {
        if let Some(kept) = &mut lock(&self.state).kept {
            kept.answered = true;
        }
    }

    /// Takes the pass back: the call is over.
    pub(crate) fn take_pass(&self) -> Option<Pass> {
        let kept = lock(&self.state).kept.take();
        kept.map(|kept| kept.pass)
    }
}

/// Makes these the waits of the attempt that is made or polled, until the guard is dropped.
#[inline]
pub(crate) fn enter(upload_waits: Option<&Arc<UploadWaits>>) -> Attached {
    attachment::attach(AttachmentSlot::RequestBody, upload_waits)
}

/// The waits of the attempt that is being made, unless another layer has claimed them.
#[inline]
pub(crate) fn claim() -> Option<Arc<UploadWaits>> {
    let upload_waits: Arc<UploadWaits> = attachment::attached(AttachmentSlot::RequestBody)?;
    let claimed = std::mem::replace(&mut lock(&upload_waits.state).claimed, true);
    (!claimed).then_some(upload_waits)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn current_wait_is_part_of_the_sum() {
        let upload_waits = UploadWaits::new();
        assert_eq!(upload_waits.waited(time::now()), (Duration::ZERO, false));
        for _ in 0..2 {
            upload_waits.begin_wait();
            tokio::time::advance(SECOND).await;
            upload_waits.begin_wait();
            tokio::time::advance(SECOND).await;
            upload_waits.end_wait();
            tokio::time::advance(SECOND).await;
            upload_waits.end_wait();
        }
        assert_eq!(upload_waits.waited(time::now()), (4 * SECOND, false));
        upload_waits.begin_wait();
        tokio::time::advance(SECOND).await;
        assert_eq!(upload_waits.waited(time::now()), (5 * SECOND, true));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_after_the_instant_do_not_count() {
        let upload_waits = UploadWaits::new();
        upload_waits.begin_wait();
        tokio::time::advance(2 * SECOND).await;
        let answered = time::now();
        tokio::time::advance(SECOND).await;
        upload_waits.end_wait();
        assert_eq!(upload_waits.waited(answered).0, 2 * SECOND);
        tokio::time::advance(SECOND).await;
        assert_eq!(upload_waits.waited(time::now()).0, 3 * SECOND);
    }

    #[test]
    fn waits_are_claimed_once_by_the_first_inner_layer() {
        let (outer, inner) = (UploadWaits::new(), UploadWaits::new());
        assert!(claim().is_none());
        {
            let _entered = enter(Some(&outer));
            {
                let _without_a_body = enter(None);
                assert!(claim().is_none());
                let _entered = enter(Some(&inner));
                assert!(claim().is_some_and(|claimed| Arc::ptr_eq(&claimed, &inner)));
            }
            assert!(claim().is_some_and(|claimed| Arc::ptr_eq(&claimed, &outer)));
            assert!(claim().is_none(), "once");
        }
        assert!(claim().is_none());
    }
}
