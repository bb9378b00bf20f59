//! Moments that the public API cannot bring about.

use std::task::{Context, Poll};

use futures::task::noop_waker_ref;

use super::endpoint_set::EndpointSet;
use super::waiter::Waiter;
use super::{BalanceConfig, BalanceHandle, BalanceLayer, Endpoint};
use crate::admission::gate::PermitRequest;
use crate::ground::context::Priority;
use crate::ground::time;

fn handle(max_concurrent: u32) -> BalanceHandle {
    let layer =
        BalanceLayer::new(BalanceConfig { max_concurrent, ..BalanceConfig::default() }).expect("a valid config");
    layer.with_endpoints([Endpoint::new("a")]).expect("a valid set").handle()
}

fn enter(handle: &BalanceHandle, set: &EndpointSet) -> Waiter {
    let wanted = PermitRequest { weight: 1, priority: Priority::Normal, deadline: None, returning: false };
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
