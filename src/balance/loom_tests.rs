//! The queue of a balancer: no release of a permit and no change of the set is missed by a call that begins to wait.

use std::task::{Context, Poll, Waker};

use loom::thread;

use super::endpoint_set::EndpointSet;
use super::permit::Permit;
use super::waiter::Waiter;
use super::{BalanceConfig, BalanceHandle, BalanceLayer, Endpoint};
use crate::admission::gate::PermitRequest;
use crate::ground::scope;
use crate::ground::time::Instant;

const NOW: Instant = Instant::from_nanos(1 << 40);

fn handle() -> BalanceHandle {
    let config = BalanceConfig { max_concurrent: 1, ..BalanceConfig::default() };
    let layer = BalanceLayer::new(config).expect("a valid config");
    layer.with_endpoints([Endpoint::new("a")]).expect("a valid set").handle()
}

fn enter(handle: &BalanceHandle, set: &EndpointSet) -> Waiter {
    let wanted = PermitRequest::new(1, &scope::Context::NONE);
    Waiter::enter(handle.balancer(), set, wanted, NOW).expect("there is room")
}

fn poll(waiter: &mut Waiter) -> Option<Permit> {
    match waiter.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.ok(),
        Poll::Pending => None,
    }
}

#[test]
fn loom_balance_release_beside_a_call_that_begins_to_wait_is_not_missed() {
    loom::model(|| {
        let handle = handle();
        let set = handle.balancer().set.load();
        let permit = poll(&mut enter(&handle, &set)).expect("it is free");
        let releases = thread::spawn(move || drop(permit));
        let mut waiter = enter(&handle, &set);
        let early = poll(&mut waiter);
        releases.join().expect("it does not panic");
        assert!(early.or_else(|| poll(&mut waiter)).is_some(), "the permit is free, and the call waits");
        drop(set);
    });
}

#[test]
fn loom_balance_new_set_beside_a_call_that_begins_to_wait_is_not_missed() {
    loom::model(|| {
        let handle = handle();
        let before = handle.balancer().set.load();
        let held = poll(&mut enter(&handle, &before)).expect("it is free");
        let changes = {
            let handle = handle.clone();
            thread::spawn(move || handle.set_endpoints([Endpoint::new("b")]).expect("a valid set"))
        };
        let mut waiter = enter(&handle, &before);
        let early = poll(&mut waiter);
        changes.join().expect("it does not panic");
        assert!(early.or_else(|| poll(&mut waiter)).is_some(), "the new endpoint is free, and the call waits");
        drop((held, before));
    });
}

#[test]
fn loom_balance_end_of_a_superseded_stream_does_not_end_the_wait_for_the_next_one() {
    loom::model(|| {
        let layer = BalanceLayer::new(BalanceConfig::default()).expect("a valid config");
        let handle = layer.handle();
        let first = handle.balancer().begin_discovery();
        let ends = {
            let handle = handle.clone();
            thread::spawn(move || handle.balancer().end_discovery(first))
        };
        let second = handle.balancer().begin_discovery();
        ends.join().expect("it does not panic");
        assert!(handle.balancer().awaits_set(), "the second stream may yield a set");
        handle.balancer().end_discovery(second);
        assert!(!handle.balancer().awaits_set());
    });
}
