//! Calls with keys: what the times of a key decide, and what they do not.

use super::*;
use crate::algorithm::estimate::Took;
use crate::ground::scope::ShareKey;

fn keyed(key: u64) -> PermitRequest {
    PermitRequest { share_key: Some(ShareKey::of_hash((key + 1) << 32)), ..wanted(1) }
}

fn within(time: Duration, wanted: PermitRequest) -> PermitRequest {
    PermitRequest { deadline: Some(time::now() + time), ..wanted }
}

/// So many calls of this key succeed.
async fn calls(gate: &Arc<Gate>, wanted: PermitRequest, count: u32, took: Took) {
    for _ in 0..count {
        let Ok(Admitted::Now(permit)) = admit(gate, wanted) else { panic!("there is a free permit") };
        advance(10 * MS).await;
        gate.record(time::now(), Verdict::Success, took, None, permit.ticket());
    }
}

/// A gate with one permit, and calls of 10 ms until now.
async fn usual_gate(order: Order) -> Arc<Gate> {
    let gate = gate(1, order);
    calls(&gate, keyed(0), 100, (10 * MS).into()).await;
    gate
}

/// A server's stream holds its permit for a minute, but only its head has a deadline.
#[tokio::test(start_paused = true)]
async fn key_with_long_bodies_is_judged_by_the_time_to_its_heads() {
    let gate = usual_gate(Order::Fifo).await;
    calls(&gate, keyed(1), 8, Took { held: 60_000 * MS, needed: 10 * MS }).await;
    calls(&gate, keyed(0), 400, (10 * MS).into()).await;
    let permit = now(&gate, 1);
    let mut stream = later(&gate, within(90 * MS, keyed(1)));
    let _behind = later(&gate, keyed(0));
    drop(permit);
    assert!(matches!(stream.poll(), Poll::Ready(Ok(_))));
}

/// While others wait, one in eight of its calls that reach the head gets a permit, and shows that they are quick again.
#[tokio::test(start_paused = true)]
async fn key_that_was_slow_is_tried_again_while_others_wait() {
    let gate = usual_gate(Order::Fifo).await;
    calls(&gate, keyed(1), 100, (60_000 * MS).into()).await;
    calls(&gate, keyed(0), 1000, (10 * MS).into()).await;
    let (mut permit, mut served) = (Some(now(&gate, 1)), 0);
    for _ in 0..200 {
        let mut slow = later(&gate, within(90 * MS, keyed(1)));
        let mut other = later(&gate, within(90 * MS, keyed(0)));
        permit.take();
        if let Poll::Ready(Ok(granted)) = slow.poll() {
            gate.record(time::now(), Verdict::Success, (10 * MS).into(), None, granted.ticket());
            served += 1;
            drop(granted);
        }
        let Poll::Ready(Ok(granted)) = other.poll() else { panic!("it has time enough") };
        gate.record(time::now(), Verdict::Success, (10 * MS).into(), None, granted.ticket());
        permit = Some(granted);
    }
    assert!((20..200).contains(&served), "{served}");
}

/// Ninety-nine calls of 10 ms and one of a minute: the others need no minute.
#[tokio::test(start_paused = true)]
async fn one_slow_call_refuses_no_other_of_its_key() {
    let gate = usual_gate(Order::Fifo).await;
    calls(&gate, keyed(1), 99, (10 * MS).into()).await;
    calls(&gate, keyed(1), 1, (60_000 * MS).into()).await;
    let permit = now(&gate, 1);
    let mut quick = later(&gate, within(95 * MS, keyed(1)));
    let _behind = later(&gate, keyed(0));
    drop(permit);
    assert!(matches!(quick.poll(), Poll::Ready(Ok(_))));
}

/// In a queue whose newest call is served first, a new key has no calls ahead.
#[tokio::test(start_paused = true)]
async fn new_key_waits_for_one_call_of_each_key_in_any_order() {
    for order in [Order::Fifo, Order::Lifo] {
        let gate = usual_gate(order).await;
        let _permit = now(&gate, 1);
        let _waiting: Vec<_> = (0..6).map(|_| later(&gate, keyed(0))).collect();
        assert!(admit(&gate, within(70 * MS, keyed(0))).is_err(), "{order:?}: after six");
        assert!(admit(&gate, within(70 * MS, keyed(1))).is_ok(), "{order:?}: after one");
    }
}
