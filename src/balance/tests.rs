//! Moments that the public API cannot bring about.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures::task::noop_waker_ref;

use super::endpoint_set::EndpointSet;
use super::waiter::Waiter;
use super::{BalanceConfig, BalanceHandle, BalanceLayer, Endpoint, EndpointMode};
use crate::admission::gate::PermitRequest;
use crate::ground::scope;
use crate::ground::time;

fn handle(max_concurrent: u32) -> BalanceHandle {
    let layer =
        BalanceLayer::new(BalanceConfig { max_concurrent, ..BalanceConfig::default() }).expect("a valid config");
    layer.with_endpoints([Endpoint::new("a")]).expect("a valid set").handle()
}

fn enter(handle: &BalanceHandle, set: &EndpointSet) -> Waiter {
    let wanted = PermitRequest::new(1, &scope::Context::NONE);
    Waiter::enter(handle.balancer(), set, wanted, time::now()).expect("there is room")
}

/// A permit is released after a call has found none, and before it is in the queue. The release sees no waiting call.
#[tokio::test(start_paused = true)]
async fn permit_released_before_the_call_is_queued_is_not_missed() {
    let handle = handle(1);
    let set = handle.balancer().set.load();
    let (mut first, mut second) = (enter(&handle, &set), enter(&handle, &set));
    let mut cx = Context::from_waker(noop_waker_ref());
    let Poll::Ready(Ok(permit)) = first.poll(&mut cx) else { panic!("the permit is free") };
    assert!(second.poll(&mut cx).is_pending());
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 1));
    drop(permit);
    assert!(second.poll(&mut cx).is_ready());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0), "the permit was dropped with the outcome");
}

/// The set is replaced after a call has looked at the former one, and before it is in the queue. Nothing is in flight whose end would
/// serve it.
#[tokio::test(start_paused = true)]
async fn set_replaced_before_the_call_is_queued_is_not_missed() {
    let handle = handle(1);
    let before = Arc::clone(&handle.balancer().set.load());
    handle.set_endpoints([Endpoint::new("b")]).expect("a valid set");
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut first = enter(&handle, &before);
    let Poll::Ready(Ok(permit)) = first.poll(&mut cx) else { panic!("the permit of the new endpoint is free") };
    let mut second = enter(&handle, &before);
    assert!(second.poll(&mut cx).is_pending());
    drop(permit);
    assert!(second.poll(&mut cx).is_ready());
}

/// A granted permit cannot be used: the call waits again, ahead of those that came before.
#[tokio::test(start_paused = true)]
async fn call_that_returns_to_the_queue_is_served_first() {
    let handle = handle(1);
    let set = handle.balancer().set.load();
    let mut cx = Context::from_waker(noop_waker_ref());
    let (mut first, mut second) = (enter(&handle, &set), enter(&handle, &set));
    let Poll::Ready(Ok(permit)) = first.poll(&mut cx) else { panic!("the permit is free") };
    first.enter_again();
    assert_eq!(handle.waiting(), 2);
    drop(permit);
    let Poll::Ready(Ok(_permit)) = first.poll(&mut cx) else { panic!("it is the first") };
    assert!(second.poll(&mut cx).is_pending());
    drop(second);
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 0));
}

/// Where a call is tried that the chosen endpoint has refused: a standby by hand is in the last tier, whatever tier it came from.
#[test]
fn other_endpoints_are_in_the_order_of_their_tiers() {
    let endpoints = [0, 2, 0, 1, 0, 1].into_iter().enumerate();
    let endpoints = endpoints.map(|(i, tier)| Endpoint::new(i.to_string()).with_tier(tier));
    let layer = BalanceLayer::new(BalanceConfig::default()).expect("a valid config");
    let handle = layer.with_endpoints(endpoints).expect("a valid set").handle();
    let others =
        |position| handle.balancer().set.load().others(position).map(|other| other.position).collect::<Vec<_>>();
    assert_eq!(others(2), [4, 0, 3, 5, 1]);
    assert_eq!(others(5), [3, 0, 2, 4, 1]);
    assert!(handle.set_mode("4", EndpointMode::Standby));
    assert_eq!(others(2), [0, 3, 5, 1, 4]);
    assert_eq!(others(4), [0, 2, 5, 3, 1]);
}

/// A waker of a faulty executor.
struct Faulty {
    wake_panics: bool,
}

impl Wake for Faulty {
    fn wake(self: Arc<Self>) {
        assert!(!self.wake_panics, "in a wake");
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        assert!(self.wake_panics || std::thread::panicking(), "in the drop of a waker");
    }
}

fn panics<T>(action: impl FnOnce() -> T) -> bool {
    catch_unwind(AssertUnwindSafe(action)).is_err()
}

/// A waiting call that is to be granted the only permit, and the next one.
fn faulty_and_next(handle: &BalanceHandle, wake_panics: bool) -> (super::permit::Permit, Waiter, Waiter) {
    let set = handle.balancer().set.load();
    let (mut holder, mut faulty, mut next) = (enter(handle, &set), enter(handle, &set), enter(handle, &set));
    let mut cx = Context::from_waker(noop_waker_ref());
    let Poll::Ready(Ok(permit)) = holder.poll(&mut cx) else { panic!("the permit is free") };
    let waker = Waker::from(Arc::new(Faulty { wake_panics }));
    let mut own = Context::from_waker(&waker);
    assert!(faulty.poll(&mut own).is_pending() && faulty.poll_end(&mut own, time::Instant::MAX).is_pending());
    assert!(next.poll(&mut cx).is_pending());
    (permit, faulty, next)
}

#[tokio::test(start_paused = true)]
async fn panicking_wake_does_not_leak_the_granted_permit() {
    let handle = handle(1);
    let (permit, faulty, mut next) = faulty_and_next(&handle, true);
    assert!(panics(|| drop(permit)));
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 1), "it has the permit");
    drop(faulty);
    assert!(next.poll(&mut Context::from_waker(noop_waker_ref())).is_ready());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_drop_does_not_leak_the_granted_permit() {
    let handle = handle(1);
    let (permit, mut faulty, mut next) = faulty_and_next(&handle, false);
    drop(permit);
    // The timer holds the last waker.
    assert!(panics(|| faulty.poll(&mut Context::from_waker(noop_waker_ref()))));
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 0), "the next call has it");
    assert!(next.poll(&mut Context::from_waker(noop_waker_ref())).is_ready());
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}
