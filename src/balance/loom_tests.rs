//! The queue of a balancer: no release of a permit and no change of the set is missed by a call that begins to wait.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use loom::thread;

use super::endpoint_set::EndpointSet;
use super::permit::Permit;
use super::retry_queue::{RetryPlace, RetryRequest};
use super::waiter::Waiter;
use super::{BalanceConfig, BalanceHandle, BalanceLayer, Endpoint};
use crate::admission::gate::PermitRequest;
use crate::algorithm::estimate::Took;
use crate::ground::scope::{self, Priority};
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;

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

/// A further attempt that avoids `a`, in the queue.
fn enter_retry(handle: &BalanceHandle, set: &EndpointSet) -> RetryPlace {
    let balancer = handle.balancer();
    let took = Took { held: Duration::from_millis(10), needed: Duration::from_millis(10) };
    balancer.common.service.sample(NOW, took);
    let attempted = Arc::new([set.at(0).expect("two endpoints").state.id].into_iter().collect::<AttemptedEndpoints>());
    let request = RetryRequest { attempted, priority: Priority::Normal, deadline: None, now: NOW };
    balancer.retries.enter(set, request).expect("it waits")
}

#[test]
fn loom_balance_release_beside_a_retry_that_begins_to_wait_is_not_missed() {
    loom::model(|| {
        let handle = handle();
        handle.set_endpoints([Endpoint::new("a"), Endpoint::new("b")]).expect("a valid set");
        let set = handle.balancer().set.load();
        let other = set.at(1).expect("two endpoints").state;
        let permit = Permit::try_acquire(other, 1, NOW).expect("it is free");
        // The model takes no first value of an atomic for sequentially consistent.
        drop(handle.balancer().retries.leave(enter_retry(&handle, &set).id));
        let releases = thread::spawn(move || drop(permit));
        let place = enter_retry(&handle, &set);
        releases.join().expect("it does not panic");
        let retries = &handle.balancer().retries;
        let permit = retries.take_permit(place.id, Waker::noop().clone()).expect("the permit is free");
        assert_eq!((permit.endpoint().id, retries.len()), (other.id, 0));
        drop((permit, set));
        assert_eq!(handle.in_flight(), 0);
    });
}

#[test]
fn loom_balance_retry_that_leaves_beside_a_release_loses_no_permit() {
    loom::model(|| {
        let handle = handle();
        handle.set_endpoints([Endpoint::new("a"), Endpoint::new("b")]).expect("a valid set");
        let set = handle.balancer().set.load();
        let permit = Permit::try_acquire(set.at(1).expect("two endpoints").state, 1, NOW).expect("it is free");
        let place = enter_retry(&handle, &set);
        let releases = thread::spawn(move || drop(permit));
        drop(handle.balancer().retries.leave(place.id));
        releases.join().expect("it does not panic");
        assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
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
