//! Lets work that outlives its call hold the permits of the call.
//!
//! A future that is dropped stops, but a blocking closure that it has started continues. If the permit were released with the call,
//! a bulkhead around blocking work would start more and more of it. So such work holds a [`WorkPermit`].
//!
//! The gates that a call has passed are known where it is polled: after a poll, each gate checks whether a [`WorkPermit`] was made,
//! and shares its permit with it.

use std::fmt;
use std::sync::Arc;

use crate::admission::gate::Permit;
use crate::ground::scope::attachment::{self, AttachmentSlot};
use crate::ground::scope::{self, GatePolls};
use crate::ground::sync::{self, Mutex, lock};
use crate::layers::permits::hold::PermitState;

/// The work permits requested inside the outermost gate that polls a call.
#[derive(Default)]
struct RequestedPermits(Mutex<Vec<Arc<SharedPermits>>>);

#[derive(Default)]
struct SharedPermits {
    permits: Mutex<Vec<sync::Arc<Permit>>>,
}

/// The permits of a call, shared with work that may outlive it. See [`current_permit`].
///
/// The permits are free when the call is over and this is dropped.
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

/// The permits of the call that is being polled, for work that may outlive it. The permits are free when both the call and this are
/// dropped. `None` outside of a call that a bulkhead or a load shedder has admitted.
///
/// A blocking closure does not stop when its call is cancelled. Without this, its permit goes to another call while the closure is
/// still running.
///
/// Call this in the call itself, and not in a task that it has spawned. It holds the permits of all bulkheads and load shedders
/// around the call; a disabled one has no permit to hold. Behind an [`UploadLayer`](crate::http::UploadLayer) the call keeps its
/// permit from then on, also while it waits for its client; if the permit is returned at that moment, one is taken over the limit.
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
///         let _permit = permit; // held until the work is done, even if the call is cancelled
///         image.len()
///     });
///     Ok::<_, tower::BoxError>(resized.await?)
/// }));
/// assert_eq!(resize.oneshot(vec![0; 3]).await?, 3);
/// # Ok(())
/// # }
/// ```
///
/// Cost: one or two allocations. A call that does not use this pays for two reads of a thread-local.
pub fn current_permit() -> Option<WorkPermit> {
    let polls = scope::gate_polls();
    if polls.gates == 0 {
        return None;
    }
    let shares = Arc::<SharedPermits>::default();
    let asked: Arc<RequestedPermits> = attachment::attached_or_default(AttachmentSlot::Work);
    lock(&asked.0).push(Arc::clone(&shares));
    scope::set_gate_polls(GatePolls { asked: polls.asked + 1, ..polls });
    Some(WorkPermit { shares })
}

/// Runs `poll`, which polls the call with this `permit_state`, and shares the permit with the work permits that were requested
/// inside.
#[inline]
pub(crate) fn around<T>(permit_state: &mut Option<PermitState>, poll: impl FnOnce() -> T) -> T {
    let before = scope::gate_polls();
    scope::set_gate_polls(GatePolls { gates: before.gates + 1, ..before });
    let _poll = GatePoll { permit_state, before };
    poll()
}

/// Ends with the poll, also if that panics: the work continues all the same.
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
    let Some(asked) = attachment::attached::<RequestedPermits>(AttachmentSlot::Work) else { return };
    let requested_here: Vec<_> = lock(&asked.0).iter().skip(before.asked as usize).cloned().collect();
    for shares in requested_here {
        // One reference is ours and one is in the list. Without a third the work is over already.
        if Arc::strong_count(&shares) > 2 {
            if let Some(permit) = PermitState::share(permit_state) {
                lock(&shares.permits).push(permit);
            }
        }
    }
    if before.gates == 0 {
        scope::set_gate_polls(GatePolls::default());
        drop(attachment::take::<RequestedPermits>(AttachmentSlot::Work));
    }
}
