use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tower::BoxError;

use super::call::HeldCall;
use super::carried::CarriedBody;
use super::layers::Outer;
use super::slot::Slot;
use crate::admission::reaper::{Parked, Visit};
use crate::ground::error::{Reason, rejection};
use crate::ground::layer_id::{LayerId, LayerKind};
use crate::ground::time::Instant;
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::http::ByStatus;

/// How often something was dropped.
type Count = Arc<AtomicU32>;

struct Recorder(Count, Expiry);

impl SealedGuard for Recorder {}

impl Guard for Recorder {
    fn settle(self, _: Verdict) {}

    fn expiry(&self) -> Expiry {
        self.1
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Stays pending for ever.
struct Stalled(Count);

impl Body for Stalled {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

const DUE: Instant = Instant::from_nanos(1 << 62);

fn slot() -> (Arc<Slot<Stalled, Recorder, ByStatus>>, Count, Count) {
    let (guards, bodies) = (Count::default(), Count::default());
    let expiry = Expiry::new(LayerId::nameless(LayerKind::Deadline), DUE, Reason::DeadlineExceeded);
    let guard = Recorder(Arc::clone(&guards), expiry);
    let call =
        HeldCall { guard, judge: ByStatus::default(), head: Verdict::Success, decided: true, lasts: false, expiry };
    let since = DUE.minus(Duration::from_secs(1));
    let slot = Slot::new(CarriedBody::new(Stalled(Arc::clone(&bodies)), call, None, since), since);
    (Arc::new(slot), guards, bodies)
}

/// The reaper visits while the owner polls and then drops the body. Whichever comes last, guard and body are dropped
/// exactly once.
#[test]
fn loom_body_is_released_exactly_once() {
    loom::model(|| {
        let (slot, guards, bodies) = slot();
        let reaped = Arc::clone(&slot);
        let reaper = loom::thread::spawn(move || reaped.visit(DUE));
        let _ = slot.poll_frame(&mut Context::from_waker(Waker::noop()));
        slot.clear();
        reaper.join().expect("no panic");
        assert_eq!((guards.load(Ordering::SeqCst), bodies.load(Ordering::SeqCst)), (1, 1));
    });
}

/// A reader that got `Pending` is woken by the cut, or the reaper visits again.
#[test]
fn loom_no_reader_waits_for_a_cut_body() {
    loom::model(|| {
        let (slot, guards, _) = slot();
        let reaped = Arc::clone(&slot);
        let reaper = loom::thread::spawn(move || reaped.visit(DUE));
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let (frame, _) = slot.poll_frame(&mut Context::from_waker(&waker));
        let visit = reaper.join().expect("no panic");
        match frame {
            Poll::Pending if flag.0.load(Ordering::SeqCst) => assert_eq!(visit, Visit::Done),
            Poll::Pending => assert!(matches!(visit, Visit::Again(_))),
            Poll::Ready(frame) => {
                assert!(rejection(&frame.expect("an error").expect_err("an error")).is_some());
                assert_eq!(visit, Visit::Done);
            }
        }
        let cut = u32::from(visit == Visit::Done);
        assert_eq!(guards.load(Ordering::SeqCst), cut);
    });
}

/// The body is queried while it is woken and while the reaper visits it. It is put back or cut, its reader is woken,
/// and nothing is lost.
#[test]
fn loom_query_loses_neither_the_wake_up_nor_the_cut() {
    loom::model(|| {
        let (slot, guards, bodies) = slot();
        let flag = Arc::new(Flag::default());
        let (frame, _) = slot.poll_frame(&mut Context::from_waker(&Waker::from(Arc::clone(&flag))));
        assert!(frame.is_pending());
        let (woken, reaped) = (Arc::clone(&slot), Arc::clone(&slot));
        let waker = loom::thread::spawn(move || woken.wake());
        let reaper = loom::thread::spawn(move || reaped.visit(DUE));
        assert!(!slot.is_end_stream());
        waker.join().expect("no panic");
        let visit = reaper.join().expect("no panic");
        assert!(flag.0.load(Ordering::SeqCst));
        let cut = u32::from(visit == Visit::Done);
        assert_eq!((guards.load(Ordering::SeqCst), bodies.load(Ordering::SeqCst)), (cut, cut));
        slot.clear();
        assert_eq!((guards.load(Ordering::SeqCst), bodies.load(Ordering::SeqCst)), (1, 1));
    });
}

/// A layer joins while the reaper visits. Its guard is dropped exactly once, with the others or at once.
#[test]
fn loom_guard_that_joins_during_a_cut_is_dropped_once() {
    loom::model(|| {
        let (slot, guards, bodies) = slot();
        let expiry = Expiry::new(LayerId::nameless(LayerKind::Deadline), DUE, Reason::DeadlineExceeded);
        let guard = Recorder(Arc::clone(&guards), expiry);
        let call =
            HeldCall { guard, judge: ByStatus::default(), head: Verdict::Success, decided: true, lasts: false, expiry };
        let reaped = Arc::clone(&slot);
        let reaper = loom::thread::spawn(move || reaped.visit(DUE));
        if slot.admits(&expiry) {
            slot.join(Outer::new(call), None);
        }
        assert_eq!(reaper.join().expect("no panic"), Visit::Done);
        assert_eq!((guards.load(Ordering::SeqCst), bodies.load(Ordering::SeqCst)), (2, 1));
        slot.clear();
        assert_eq!((guards.load(Ordering::SeqCst), bodies.load(Ordering::SeqCst)), (2, 1));
    });
}
