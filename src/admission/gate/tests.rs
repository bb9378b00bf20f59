mod model;

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

/// Records calls, of which only the first began when nothing was known.
fn record(gate: &Gate, calls: u32, verdict: Verdict, took: Duration) {
    let now = time::now();
    gate.record(now.minus(took), verdict, took.into(), None);
    for _ in 1..calls {
        gate.record(now, verdict, took.into(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn wait_ends_at_max_wait_or_when_too_late_to_serve() {
    let gate = gate(1, Order::Fifo);
    let start = time::now();
    record(&gate, 10, Verdict::Success, 10 * MS);
    let permit = now(&gate, 1);
    let mut patient = later(&gate, wanted(1));
    let mut hurried = later(&gate, PermitRequest { deadline: Some(start + 50 * MS), ..wanted(1) });
    advance(39 * MS).await;
    tokio::task::yield_now().await;
    assert!(hurried.poll().is_pending());
    advance(2 * MS).await;
    tokio::task::yield_now().await;
    assert_eq!(hurried.woken(), 1);
    assert!(matches!(hurried.poll(), Poll::Ready(Err(Reason::NotInTime))), "10 ms were still left");
    advance(60 * MS).await;
    tokio::task::yield_now().await;
    assert!(matches!(patient.poll(), Poll::Ready(Err(Reason::QueueTimeout))));
    drop(permit);
    assert!(gate.is_idle());
}

#[tokio::test(start_paused = true)]
async fn expired_waiters_are_refused_at_the_head() {
    let gate = gate(1, Order::Fifo);
    let start = time::now();
    record(&gate, 200, Verdict::Success, 10 * MS);
    let permit = now(&gate, 1);
    let mut expired: Vec<_> =
        (0..3).map(|_| later(&gate, PermitRequest { deadline: Some(start + 60 * MS), ..wanted(1) })).collect();
    let mut in_time = later(&gate, PermitRequest { deadline: Some(start + 90 * MS), ..wanted(1) });
    // None of them has been polled when the permit comes free, so no timer of theirs can help.
    advance(55 * MS).await;
    drop(permit);
    for caller in &mut expired {
        assert!(matches!(caller.poll(), Poll::Ready(Err(Reason::NotInTime))));
    }
    assert!(matches!(in_time.poll(), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn idle_gate_admits_despite_the_estimate() {
    let gate = gate(2, Order::Fifo);
    let start = time::now();
    record(&gate, 50, Verdict::TimedOut, 1000 * MS);
    let hurried = |deadline| PermitRequest { deadline: Some(start + deadline * MS), ..wanted(1) };
    assert_eq!(admit(&gate, hurried(0)).unwrap_err().reason, Reason::DeadlineExpired, "there must be some time left");
    let Ok(Admitted::Now(_trial)) = admit(&gate, hurried(5)) else { panic!("the gate is idle") };
    let refused = admit(&gate, hurried(5)).unwrap_err();
    assert_eq!(refused.reason, Reason::NotInTime);
    let numbers = refused.numbers;
    assert_eq!((numbers.time_left(), numbers.expected()), (Some(5 * MS), Some(1000 * MS)));
    assert_eq!((numbers.waiting(), numbers.limit()), (Some(0), Some(2)));
    advance(60_000 * MS).await;
    // The first call hangs, and without new samples the estimate has decayed.
    assert!(matches!(admit(&gate, hurried(60_005)), Ok(Admitted::Now(_))));
}

/// Several kinds of calls with too little time alternate: each kind has its share of tries.
#[tokio::test(start_paused = true)]
async fn one_in_eight_short_deadline_calls_is_admitted() {
    for kinds in 1..12_usize {
        let gate = gate(8, Order::Fifo);
        let start = time::now();
        record(&gate, 50, Verdict::Success, 1000 * MS);
        let _busy = now(&gate, 1);
        let mut tries = vec![0_u32; kinds];
        for n in 0..kinds * 800 {
            let wanted = PermitRequest { deadline: Some(start + 5 * MS), ..wanted(1) };
            tries[n % kinds] += u32::from(admit(&gate, wanted).is_ok());
        }
        assert!(tries.iter().all(|tries| (80..=120).contains(tries)), "{tries:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_have_retry_after_without_an_estimate() {
    let instruments = Instruments::nameless(LayerKind::Bulkhead);
    let gate = gate(1, Order::Fifo);
    let _held = now(&gate, 1);
    let mut waiting = later(&gate, wanted(1));
    let full = Gate::admit(Arc::clone(&gate), time::now(), wanted(1), 1, MS).unwrap_err();
    let floor = full.by(&instruments).rejected().retry_after().unwrap();
    assert!(!floor.is_zero());
    let high = PermitRequest { priority: Priority::High, ..wanted(1) };
    let Ok(Admitted::Later(_high)) = Gate::admit(Arc::clone(&gate), time::now(), high, 1, 100 * MS) else {
        panic!("it displaces the other call")
    };
    let Poll::Ready(Err(reason)) = waiting.poll() else { panic!("displaced") };
    let refused = gate.refuse(reason, None).by(&instruments).into_rejected();
    assert_eq!((refused.reason(), refused.retry_after()), (Reason::Displaced, Some(floor)));
    assert_eq!((refused.numbers().waiting(), refused.numbers().limit()), (Some(1), Some(1)));
    gate.record(time::now(), Verdict::Success, (80 * MS).into(), None);
    let refused = gate.refuse(reason, None).by(&instruments).into_rejected();
    assert_eq!(refused.retry_after(), Some(160 * MS), "one is served and one waits");
}

#[tokio::test(start_paused = true)]
async fn returning_call_precedes_new_calls_and_is_not_displaced() {
    let gate = gate(1, Order::Lifo);
    let held = now(&gate, 1);
    let mut critical = later(&gate, PermitRequest { priority: Priority::Critical, ..wanted(1) });
    let low = PermitRequest { priority: Priority::Low, ..wanted(1) };
    let Ok(Admitted::Later(returning)) = Gate::readmit(&gate, low) else { panic!("the permit is taken") };
    let mut returning = Caller::new(returning);
    assert!(returning.poll().is_pending());
    let critical_again = PermitRequest { priority: Priority::Critical, ..wanted(1) };
    let Ok(Admitted::Later(_newest)) = Gate::admit(Arc::clone(&gate), time::now(), critical_again, 2, 100 * MS) else {
        panic!("it displaces the other new call")
    };
    assert!(matches!(critical.poll(), Poll::Ready(Err(Reason::Displaced))));
    drop(held);
    assert!(matches!(returning.poll(), Poll::Ready(Ok(_))));
}

/// Its remaining work need not take as long as a whole call.
#[tokio::test(start_paused = true)]
async fn returning_call_is_served_until_its_deadline() {
    for (left, served) in [(11, true), (10, false)] {
        let gate = gate(1, Order::Fifo);
        for _ in 0..50 {
            gate.record(time::now(), Verdict::Success, (1000 * MS).into(), None);
        }
        let held = now(&gate, 1);
        let soon = PermitRequest { deadline: Some(time::now() + left * MS), ..wanted(1) };
        let Ok(Admitted::Later(returning)) = Gate::readmit(&gate, soon) else { panic!("the permit is taken") };
        let mut returning = Caller::new(returning);
        assert!(returning.poll().is_pending());
        let max_wait_end = Until { at: Instant::MAX, reason: Reason::QueueTimeout };
        let _new_call = Gate::enqueue(&gate, wanted(1), 100, |_, _| Ok(max_wait_end)).unwrap();
        advance(10 * MS).await;
        drop(held);
        assert_eq!(matches!(returning.poll(), Poll::Ready(Ok(_))), served, "{left} ms, of which 10 were waited");
    }
}

#[test]
fn away_calls_are_bounded() {
    let gate = gate(2, Order::Fifo);
    let mut away: Vec<_> = (0..32).map(|_| Gate::count_away(&gate).unwrap()).collect();
    assert!(Gate::count_away(&gate).is_none());
    assert!(!gate.is_as_new(time::now()), "they will come back");
    away.pop();
    away.extend(Gate::count_away(&gate));
    gate.configure(Law::Fixed, 1);
    away.truncate(16);
    assert!(Gate::count_away(&gate).is_none());
    away.clear();
    assert_eq!(gate.away(), 0);
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

struct Faulty;

impl Wake for Faulty {
    fn wake(self: StdArc<Self>) {
        panic!("a faulty executor");
    }
}

fn catch<T>(action: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(action)).ok()
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_does_not_prevent_other_wakeups() {
    let gate = gate(2, Order::Fifo);
    let permit = now(&gate, 2);
    let mut faulty = later(&gate, wanted(1));
    assert!(faulty.waiter.poll(&mut Context::from_waker(&Waker::from(StdArc::new(Faulty)))).is_pending());
    let mut other = later(&gate, wanted(1));
    assert!(catch(|| drop(permit)).is_none());
    assert_eq!(other.woken(), 1);
    assert!(other.poll().is_ready());
    assert!(catch(|| drop(faulty)).is_some());
    assert!(gate.is_idle());
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_does_not_leak_a_queue_position() {
    let gate = gate(1, Order::Lifo);
    let permit = now(&gate, 1);
    let mut faulty = later(&gate, wanted(1));
    assert!(faulty.waiter.poll(&mut Context::from_waker(&Waker::from(StdArc::new(Faulty)))).is_pending());
    let newcomer = catch(|| Gate::admit(Arc::clone(&gate), time::now(), wanted(1), 1, 100 * MS));
    assert!(newcomer.is_none(), "it displaces the faulty one, and has to wake it");
    assert_eq!(gate.waiting(), 0);
    drop((permit, faulty));
    assert!(gate.is_idle());
}

/// A waker whose drop panics.
struct Sticky;

impl Wake for Sticky {
    fn wake(self: StdArc<Self>) {}
}

impl Drop for Sticky {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a faulty executor");
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_waker_drop_does_not_leak_a_permit() {
    let gate = gate(1, Order::Fifo);
    let permit = now(&gate, 1);
    let Ok(Admitted::Later(mut waiter)) = admit(&gate, wanted(1)) else { panic!("the permit is taken") };
    assert!(waiter.poll(&mut Context::from_waker(&Waker::from(StdArc::new(Sticky)))).is_pending());
    drop(permit);
    // The queue has consumed its waker; the timer holds the last one.
    assert!(catch(|| waiter.poll(&mut Context::from_waker(Waker::noop()))).is_none());
    assert!(gate.is_idle());
}

/// First outside of a runtime, where no timer shares the waker.
#[test]
fn panicking_waker_drop_does_not_prevent_other_wakeups() {
    let gate = gate(2, Order::Fifo);
    let _permit = now(&gate, 1);
    let Ok(Admitted::Later(mut heavy)) = admit(&gate, wanted(2)) else { panic!("there is one permit for two") };
    assert!(catch(|| heavy.poll(&mut Context::from_waker(&Waker::from(StdArc::new(Sticky))))).is_none());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _inside = runtime.enter();
    let light = later(&gate, wanted(1));
    assert!(catch(|| drop(heavy)).is_none());
    assert_eq!(light.woken(), 1);
}

#[tokio::test(start_paused = true)]
async fn overweight_call_counts_as_all_permits() {
    let gate = gate(4, Order::Fifo);
    for _ in 0..200 {
        gate.record(time::now(), Verdict::Success, (10 * MS).into(), None);
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
        for _ in 0..20_000 {
            while let Ok(Admitted::Now(permit)) = admit(&gate, wanted(weight)) {
                permits.push_back(permit);
            }
            // Ten slots: calls take longer by what is in flight beyond them.
            let took = MS * (gate.in_use() / weight).max(10);
            let permit = permits.pop_front().expect("the limit is at least one");
            gate.record(time::now(), Verdict::Success, took.into(), permit.ticket());
        }
        assert!(gate.limit() <= 20 * weight, "{weight}: {}", gate.limit());
    }
}
