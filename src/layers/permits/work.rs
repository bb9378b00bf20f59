//! Work that outlives its call: it holds the permits of the call that it belongs to.
//!
//! A future that is dropped stops, but a blocking closure that it has started goes on. If the permit were free with the call, a
//! bulkhead that bounds blocking work would start more and more of it. So such work takes a [`WorkPermit`] along.
//!
//! Which gates a call has passed is known where it is polled: each of them asks, after a poll, whether a [`WorkPermit`] was made, and
//! shares its permit with it.

use std::fmt;
use std::sync::Arc;

use crate::admission::gate::Permit;
use crate::ground::scope::attachment::{self, Slot};
use crate::ground::scope::{self, GatePolls};
use crate::ground::sync::{self, Mutex, lock};
use crate::layers::permits::hold::PermitState;

/// What was asked for in the outermost of the gates that poll a call.
#[derive(Default)]
struct RequestedPermits(Mutex<Vec<Arc<SharedPermits>>>);

#[derive(Default)]
struct SharedPermits {
    permits: Mutex<Vec<sync::Arc<Permit>>>,
}

/// The permits of a call, held as well by work that may outlive it. See [`current_permit`].
///
/// They are free when the call is over and this is dropped.
#[must_use = "the permits are free again when this is dropped"]
pub struct WorkPermit {
    shares: Arc<SharedPermits>,
}

impl fmt::Debug for WorkPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gates: Vec<_> =
            lock(&self.shares.permits).iter().map(|permit| permit.gate().instruments().kind()).collect();
        f.debug_struct("WorkPermit").field("of", &gates).finish()
    }
}

/// The permits of the call that is being polled, for work that may outlive it. They are free when the call and this are both gone.
/// `None` outside of a call that a bulkhead or a shedder has admitted.
///
/// A blocking closure is not stopped when its call is cancelled. Without this its place is given to another call while it is
/// still at work.
///
/// To be called in the call itself, and not in a task that it has spawned. All bulkheads and shedders around the call are held; where
/// one of them is switched off there is nothing to hold. Behind an [`UploadLayer`](crate::http::UploadLayer) the call keeps its place
/// from then on, also while it waits for its client; if the place is given back at that moment, one is taken over the limit.
///
/// ```
/// use seawall::bulkhead::{self, BulkheadConfig, BulkheadLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let layer = BulkheadLayer::new(BulkheadConfig { max_concurrent: 4, ..Default::default() })?;
/// let resize = layer.layer(service_fn(|image: Vec<u8>| async move {
///     let permit = bulkhead::current_permit();
///     let resized = tokio::task::spawn_blocking(move || {
///         let _permit = permit; // until the work is done, whoever has given up on it
///         image.len()
///     });
///     Ok::<_, tower::BoxError>(resized.await?)
/// }));
/// assert_eq!(resize.oneshot(vec![0; 3]).await?, 3);
/// # Ok(())
/// # }
/// ```
///
/// Cost: an allocation or two. A call that does not ask pays for two looks at a thread-local.
pub fn current_permit() -> Option<WorkPermit> {
    let polls = scope::gate_polls();
    if polls.gates == 0 {
        return None;
    }
    let shares = Arc::<SharedPermits>::default();
    let asked: Arc<RequestedPermits> = attachment::attached_or_default(Slot::Work);
    lock(&asked.0).push(Arc::clone(&shares));
    scope::set_gate_polls(GatePolls { asked: polls.asked + 1, ..polls });
    Some(WorkPermit { shares })
}

/// Runs `poll`, which polls the call that has this `permit_state`, and shares the place with what was asked for in there.
#[inline]
pub(crate) fn around<T>(permit_state: &mut Option<PermitState>, poll: impl FnOnce() -> T) -> T {
    let before = scope::gate_polls();
    scope::set_gate_polls(GatePolls { gates: before.gates + 1, ..before });
    let _poll = GatePoll { permit_state, before };
    poll()
}

/// Ends with the poll, also if that panics: the work goes on all the same.
struct GatePoll<'a> {
    permit_state: &'a mut Option<PermitState>,
    before: GatePolls,
}

impl Drop for GatePoll<'_> {
    #[inline]
    fn drop(&mut self) {
        let GatePolls { asked, .. } = scope::gate_polls();
        scope::set_gate_polls(GatePolls { asked, ..self.before });
        if asked != self.before.asked {
            share(self.permit_state, self.before);
        }
    }
}

#[cold]
fn share(permit_state: &mut Option<PermitState>, before: GatePolls) {
    let Some(asked) = attachment::attached::<RequestedPermits>(Slot::Work) else { return };
    let requested_here: Vec<_> = lock(&asked.0).iter().skip(before.asked as usize).cloned().collect();
    for shares in requested_here {
        // Otherwise the work is over already: one is ours, and one in the list.
        if Arc::strong_count(&shares) > 2 {
            if let Some(permit) = PermitState::share(permit_state) {
                lock(&shares.permits).push(permit);
            }
        }
    }
    if before.gates == 0 {
        scope::set_gate_polls(GatePolls::default());
        drop(attachment::take::<RequestedPermits>(Slot::Work));
    }
}
