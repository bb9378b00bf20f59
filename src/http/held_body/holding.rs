use std::sync::Arc;
use std::task::{self, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tower::BoxError;

use super::call::HeldCall;
use super::carried::CarriedBody;
use super::joining::Joinable;
use super::judge::Judge;
use super::layers::{Outer, first_look};
use super::slot::Slot;
use crate::admission::reaper::{self, Parked as _, WatchGuard};
use crate::ground::scope::{self, Context};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard};
use crate::http::MethodAndPathKey;

/// After this many frames without a pause, a body checks its bounds itself.
const LOOKS_AFTER: u8 = 8;

/// The owner's part of a body. The body itself is in a slot.
pub(super) struct Holding<B, G: Guard, J: Judge> {
    slot: Arc<Slot<B, G, J>>,
    /// The entry in the reaper's schedule. `None` if there is no reaper, or nothing left to cut.
    entry: Option<WatchGuard>,
    /// When the reaper must check the body for the first time.
    due: Instant,
    settled: bool,
    /// The entry in the schedule of the runtime that reads the body, if that is another one. The first runtime may
    /// exist without being driven.
    reader_runtime_entry: Option<WatchGuard>,
    /// The number of frames that came without a pause.
    in_a_row: u8,
    /// The context of the call.
    context: Context,
}

impl<B, G, J> Holding<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    pub(super) fn new(body: B, call: HeldCall<G, J>, named: Option<MethodAndPathKey>, now: Instant) -> Self {
        let expiry = call.expiry;
        let inherited = scope::current();
        let deadline = inherited.deadline.map(|_| expiry.at);
        let context = inherited.with_deadline(deadline).with_end(None, false).with_enforced(deadline.is_some());
        let due = first_look(&expiry, now);
        let slot = Arc::new(Slot::new(CarriedBody::new(body, call, named, now), now));
        let entry = reaper::watch(Arc::clone(&slot) as _, due);
        Self { slot, entry, due, settled: false, reader_runtime_entry: None, in_a_row: 0, context }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.settled {
            return Poll::Ready(None);
        }
        if !self.entry.as_ref().is_some_and(WatchGuard::is_watched) {
            self.entry = reaper::watch(Arc::clone(&self.slot) as _, self.due);
            if self.entry.is_none() {
                self.slot.visit(time::now());
            }
        }
        self.in_a_row += 1;
        if self.in_a_row == LOOKS_AFTER {
            // A body that never pauses may keep the reaper from running, or its task from ever starting.
            self.in_a_row = 0;
            self.slot.visit(time::now());
        }
        let frame;
        (frame, self.settled) = {
            let _entered = scope::enter(self.context);
            self.slot.poll_frame(cx)
        };
        if frame.is_pending() {
            self.in_a_row = 0;
            self.be_watched();
        } else if self.settled {
            (self.entry, self.reader_runtime_entry) = (None, None);
        }
        frame
    }

    /// Makes sure that a reaper can end the wait in the current runtime.
    fn be_watched(&mut self) {
        let is_here = |entry: &Option<WatchGuard>| entry.as_ref().is_some_and(WatchGuard::is_here);
        if !is_here(&self.entry) && !is_here(&self.reader_runtime_entry) {
            self.reader_runtime_entry = reaper::watch(Arc::clone(&self.slot) as _, self.due);
        }
        let is_watched = |entry: &Option<WatchGuard>| entry.as_ref().is_some_and(WatchGuard::is_watched);
        if !is_watched(&self.entry) && !is_watched(&self.reader_runtime_entry) {
            // Without a reaper the body would wait for ever. Outside a runtime this panics with tokio's own message.
            drop(Handle::current());
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.settled || self.slot.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.settled { SizeHint::with_exact(0) } else { self.slot.size_hint() }
    }

    /// Drops the body, because its owner is gone.
    pub(super) fn release(&mut self) {
        self.slot.clear();
    }
}

impl<B, G, J> Joinable for Holding<B, G, J>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    fn admits(&mut self, expiry: &Expiry, now: Instant) -> bool {
        if self.settled || !self.slot.admits(expiry) {
            return false;
        }
        let due = first_look(expiry, self.slot.since());
        // After its first check, the reaper returns according to the bounds of that time, which may be too late for the
        // new layer.
        let comes_in_time = self.due <= due && now < self.due;
        if comes_in_time && self.entry.as_ref().is_some_and(WatchGuard::is_watched) {
            return true;
        }
        self.due = self.due.min(due);
        let Some(entry) = reaper::watch(Arc::clone(&self.slot) as _, self.due) else { return false };
        // The body keeps one entry in each runtime: the other runtime may outlive this one.
        if self.entry.as_ref().is_some_and(|entry| entry.is_watched() && !entry.is_here()) {
            self.reader_runtime_entry = Some(entry);
        } else {
            self.entry = Some(entry);
        }
        true
    }

    fn join(&mut self, outer: Outer, named: Option<MethodAndPathKey>) {
        self.slot.join(outer, named);
    }
}
