//! Work that outlives its call: it holds the permits of the call that it belongs to.
//!
//! A future that is dropped stops, but a blocking closure that it has started goes on. If the permit were free with the call, a
//! bulkhead that bounds blocking work would start more and more of it. So such work takes a [`WorkPermit`] along.
//!
//! Which gates a call has passed is known where it is polled: each of them asks, after a poll, whether a [`WorkPermit`] was made, and
//! shares its permit with it.

use std::cell::Cell;
use std::fmt;

use crate::admission::gate::Permit;
use crate::ground::sync::{Arc, Mutex, lock};
use crate::layers::permits::place::Place;

thread_local! {
    /// How many gates poll a call here, one inside of the other, and how often a permit was asked for in there. Apart from the
    /// list: a call that does not ask touches nothing that has a destructor.
    static POLLS: Cell<Polls> = const { Cell::new(Polls { gates: 0, asked: 0 }) };
    /// What was asked for in the outermost of these polls.
    static ASKED: Cell<Vec<Arc<Shares>>> = const { Cell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
struct Polls {
    gates: u32,
    asked: u32,
}

#[derive(Default)]
struct Shares {
    permits: Mutex<Vec<Arc<Permit>>>,
}

/// The permits of a call, held as well by work that may outlive it. See [`current_permit`].
///
/// They are free when the call is over and this is dropped.
#[must_use = "the permits are free again when this is dropped"]
pub struct WorkPermit {
    shares: Arc<Shares>,
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
    let Polls { gates, asked } = POLLS.get();
    if gates == 0 {
        return None;
    }
    let shares = Arc::<Shares>::default();
    let mut all = ASKED.take();
    all.push(Arc::clone(&shares));
    ASKED.set(all);
    POLLS.set(Polls { gates, asked: asked + 1 });
    Some(WorkPermit { shares })
}

/// Runs `poll`, which polls the call that has this `place`, and shares the place with what was asked for in there.
#[inline]
pub(crate) fn around<T>(place: &mut Option<Place>, poll: impl FnOnce() -> T) -> T {
    let before = POLLS.get();
    POLLS.set(Polls { gates: before.gates + 1, ..before });
    let _scope = Scope { place, before };
    poll()
}

/// Ends with the poll, also if that panics: the work goes on all the same.
struct Scope<'a> {
    place: &'a mut Option<Place>,
    before: Polls,
}

impl Drop for Scope<'_> {
    #[inline]
    fn drop(&mut self) {
        let Polls { asked, .. } = POLLS.get();
        POLLS.set(Polls { asked, ..self.before });
        if asked != self.before.asked {
            share(self.place, self.before);
        }
    }
}

#[cold]
fn share(place: &mut Option<Place>, before: Polls) {
    let mut all = ASKED.take();
    for shares in all.iter().skip(before.asked as usize) {
        // Otherwise the work is over already.
        if Arc::strong_count(shares) > 1 {
            if let Some(permit) = Place::share(place) {
                lock(&shares.permits).push(permit);
            }
        }
    }
    if before.gates == 0 {
        POLLS.set(Polls { gates: 0, asked: 0 });
        all.clear();
    }
    ASKED.set(all);
}
