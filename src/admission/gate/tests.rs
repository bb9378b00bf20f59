mod bounds;
mod keys;
mod model;
mod returning;
mod wakers;

use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake, Waker};

use tokio::time::advance;

use super::*;
use crate::algorithm::limit::Law;
use crate::ground::context::Priority;
use crate::ground::layer_id::LayerKind;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::Verdict;

const MS: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waiter with a waker that counts.
struct Caller {
    waiter: Waiter,
    count: StdArc<Counting>,
    waker: Waker,
}

impl Caller {
    fn new(waiter: Waiter) -> Self {
        let count = StdArc::new(Counting::default());
        Self { waiter, waker: Waker::from(StdArc::clone(&count)), count }
    }

    fn poll(&mut self) -> Poll<Result<Permit, Reason>> {
        self.waiter.poll(&mut Context::from_waker(&self.waker))
    }

    fn woken(&self) -> usize {
        self.count.0.load(Ordering::Relaxed)
    }
}

fn gate(limit: u32, order: Order) -> Arc<Gate> {
    Arc::new(Gate::new(limit, order))
}

fn wanted(weight: u32) -> PermitRequest {
    PermitRequest::new(weight, &scope::Context::NONE)
}

fn admit(gate: &Arc<Gate>, wanted: PermitRequest) -> Result<Admitted, Refusal> {
    Gate::admit(Arc::clone(gate), time::now(), wanted, 100, 100 * MS)
}

fn now(gate: &Arc<Gate>, weight: u32) -> Permit {
    match admit(gate, wanted(weight)).unwrap() {
        Admitted::Now(permit) => permit,
        Admitted::Later(_) => panic!("there is no free permit"),
    }
}

fn later(gate: &Arc<Gate>, wanted: PermitRequest) -> Caller {
    match admit(gate, wanted).unwrap() {
        Admitted::Now(_) => panic!("there is a free permit"),
        Admitted::Later(waiter) => {
            let mut caller = Caller::new(waiter);
            assert!(caller.poll().is_pending());
            caller
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_and_woken_singly() {
    for (order, expected) in [(Order::Fifo, [0, 1, 2]), (Order::Lifo, [2, 1, 0])] {
        let gate = gate(1, order);
        let mut permit = Some(now(&gate, 1));
        let mut callers: Vec<_> = (0..3).map(|_| later(&gate, wanted(1))).collect();
        for n in expected {
            assert!(callers.iter().all(|caller| caller.woken() <= 1));
            permit.take();
            assert_eq!(callers[n].woken(), 1, "{order:?}");
            permit = Some(match callers[n].poll() {
                Poll::Ready(Ok(permit)) => permit,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!((gate.in_use(), gate.waiting()), (1, 0));
        drop(permit);
        assert!(gate.is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn higher_priority_is_served_first_and_displaces_the_lowest() {
    let gate = gate(1, Order::Fifo);
    let permit = now(&gate, 1);
    let with = |priority| PermitRequest { priority, ..wanted(1) };
    let mut low = later(&gate, with(Priority::Low));
    let mut high = later(&gate, with(Priority::High));
    let refused = Gate::admit(Arc::clone(&gate), time::now(), with(Priority::Low), 2, MS).unwrap_err();
    assert_eq!(refused.reason, Reason::QueueFull);
    let Ok(Admitted::Later(critical)) = Gate::admit(Arc::clone(&gate), time::now(), with(Priority::Critical), 2, MS)
    else {
        panic!("it ranks before the others");
    };
    assert_eq!((low.woken(), gate.waiting()), (1, 2));
    assert!(matches!(low.poll(), Poll::Ready(Err(Reason::Displaced))));
    let mut critical = Caller::new(critical);
    drop(permit);
    assert!(high.poll().is_pending());
    assert!(matches!(critical.poll(), Poll::Ready(Ok(_))), "and is dropped at once");
    assert!(matches!(high.poll(), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn heavy_call_is_not_overtaken_by_light_calls() {
    let gate = gate(4, Order::Fifo);
    let (one, two) = (now(&gate, 1), now(&gate, 2));
    let mut heavy = later(&gate, wanted(9));
    let mut light = later(&gate, wanted(1));
    assert_eq!(gate.in_use(), 3, "one is free, and no call takes it");
    drop(one);
    assert!(heavy.poll().is_pending());
    drop(two);
    let Poll::Ready(Ok(alone)) = heavy.poll() else { panic!("the gate is idle") };
    assert_eq!(gate.in_use(), 4);
    assert!(light.poll().is_pending());
    drop(alone);
    assert!(light.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_passes_its_grant_on() {
    let gate = gate(4, Order::Fifo);
    let permit = now(&gate, 3);
    let heavy = later(&gate, wanted(2));
    let mut light = later(&gate, wanted(1));
    drop(heavy);
    assert_eq!((light.woken(), gate.waiting(), gate.in_use()), (1, 0, 4), "the next call is served");
    let Poll::Ready(Ok(_light)) = light.poll() else { panic!("granted") };
    let (first, mut second) = (later(&gate, wanted(3)), later(&gate, wanted(3)));
    drop(permit);
    assert_eq!((first.woken(), second.woken()), (1, 0));
    drop(first);
    assert_eq!(second.woken(), 1, "an unclaimed grant is not lost");
    assert!(second.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn permit_over_the_limit_is_released() {
    let gate = gate(1, Order::Fifo);
    let held = now(&gate, 1);
    let over = Gate::acquire_over_limit(&gate, 1);
    assert_eq!(gate.in_use(), 2);
    let mut waiting = later(&gate, wanted(1));
    drop(held);
    assert!(waiting.poll().is_pending(), "the other is one too many for two");
    drop(over);
    assert!(waiting.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn limit_changes_while_calls_run_and_wait() {
    let gate = gate(2, Order::Fifo);
    let mut held = vec![now(&gate, 1), now(&gate, 1)];
    let mut callers: Vec<_> = (0..3).map(|_| later(&gate, wanted(1))).collect();
    gate.configure(Law::Fixed, 4);
    assert_eq!(callers.iter().map(Caller::woken).sum::<usize>(), 2);
    held.extend(callers.drain(..2).map(|mut caller| match caller.poll() {
        Poll::Ready(Ok(permit)) => permit,
        other => panic!("{other:?}"),
    }));
    gate.configure(Law::Fixed, 0);
    assert_eq!((gate.limit(), gate.in_use()), (1, 4), "a lower limit revokes no permit");
    while held.len() > 1 {
        held.pop();
        assert!(callers[0].poll().is_pending());
    }
    held.pop();
    assert!(callers[0].poll().is_ready());
}

/// Netflix: bypassed calls always pass, and never count as in flight.
#[tokio::test(start_paused = true)]
async fn zero_weight_passes_and_is_not_counted() {
    let gate = gate(1, Order::Fifo);
    let _held = now(&gate, 1);
    let free = now(&gate, 0);
    assert_eq!(gate.in_use(), 1);
    drop(free);
    assert_eq!(gate.in_use(), 1);
}

#[tokio::test(start_paused = true)]
async fn overweight_call_counts_as_all_permits() {
    let gate = gate(4, Order::Fifo);
    for _ in 0..200 {
        gate.record(time::now(), Verdict::Success, (10 * MS).into(), None, CallTicket::default());
    }
    let permit = now(&gate, 1);
    let mut heavy = later(&gate, wanted(u32::MAX));
    let mut light = later(&gate, wanted(1));
    drop(permit);
    drop(heavy.poll());
    assert!(light.poll().is_ready());
}

/// Three of five permits are in use, and the next call needs three: the limit is in use, and what calls take counts.
#[tokio::test(start_paused = true)]
async fn heavy_calls_use_a_learned_limit() {
    let law = Law::TwoPoint { objective: None };
    for weight in [1, 3] {
        let gate = Arc::new(Gate::observed(law, 64, Order::Fifo.into(), Instruments::nameless(LayerKind::Bulkhead)));
        let mut permits = std::collections::VecDeque::new();
        for n in 0..20_000 {
            // Few calls at first, and then as many as the limit allows.
            while n / 10 + 1 > permits.len()
                && let Ok(Admitted::Now(permit)) = admit(&gate, wanted(weight))
            {
                permits.push_back(permit);
            }
            // Ten slots: calls take longer by what is in flight beyond them.
            let took = MS * (gate.in_use() / weight).max(10);
            let permit = permits.pop_front().expect("the limit is at least one");
            gate.record(time::now(), Verdict::Success, took.into(), None, permit.ticket());
        }
        assert!(gate.limit() <= 20 * weight, "{weight}: {}", gate.limit());
    }
}

/// As long as calls have time enough, only a sample of them is learned from. That is enough to know what calls take among few others.
#[tokio::test(start_paused = true)]
async fn limit_is_learned_after_a_quiet_time() {
    let law = Law::TwoPoint { objective: None };
    let gate = Arc::new(Gate::observed(law, 64, Order::Fifo.into(), Instruments::nameless(LayerKind::Bulkhead)));
    let end = |permit: Permit, took: Duration, had: Duration| {
        gate.record(time::now(), Verdict::Success, took.into(), Some(had), permit.ticket());
    };
    let take = || match admit(&gate, wanted(1)) {
        Ok(Admitted::Now(permit)) => Some(permit),
        _ => None,
    };
    for n in 0..1000 {
        end(take().expect("it is free"), 10 * MS + Duration::from_nanos(n), 1000 * MS);
    }
    assert!(gate.is_quiet.load(Ordering::Relaxed));
    let mut permits = std::collections::VecDeque::new();
    for n in 0..5000 {
        permits.extend(std::iter::from_fn(take));
        if n % 8 == 0 {
            gate.learn_refusal();
        }
        // Ten slots, and twice as much time as calls take with fifty others.
        let took = MS * gate.in_use().max(10);
        end(permits.pop_front().expect("the limit is at least one"), took, 100 * MS);
    }
    assert!((7..=20).contains(&gate.limit()), "{}", gate.limit());
    assert!(!gate.is_quiet.load(Ordering::Relaxed));
}

/// A caller that hedges cancels some of its calls.
#[tokio::test(start_paused = true)]
async fn calls_that_are_cancelled_early_are_not_short_of_time() {
    let law = Law::TwoPoint { objective: None };
    let gate = Arc::new(Gate::observed(law, 64, Order::Fifo.into(), Instruments::nameless(LayerKind::Bulkhead)));
    for (took, is_quiet) in [(10, true), (900, false)] {
        for _ in 0..100 {
            let permit = now(&gate, 1);
            gate.record(time::now(), Verdict::Abandoned, (took * MS).into(), Some(1000 * MS), permit.ticket());
        }
        assert_eq!(gate.is_quiet.load(Ordering::Relaxed), is_quiet, "{took}");
    }
}

/// A heavy call takes longer, and uses many permits, for its own reasons.
#[tokio::test(start_paused = true)]
async fn heavy_call_is_not_among_many_others() {
    let law = Law::TwoPoint { objective: None };
    let gate = Arc::new(Gate::observed(law, 64, Order::Fifo.into(), Instruments::nameless(LayerKind::Bulkhead)));
    let end = |permit: Permit, took: Duration| {
        // Too little time: a crowd would be measured.
        gate.record(time::now(), Verdict::Success, took.into(), Some(30 * MS), permit.ticket());
    };
    for _ in 0..500 {
        (0..3).for_each(|_| end(now(&gate, 1), 20 * MS));
        let (heavy, light) = (now(&gate, 16), now(&gate, 1));
        end(heavy, 320 * MS);
        end(light, 20 * MS);
        assert_eq!(gate.limit(), 64);
    }
}
