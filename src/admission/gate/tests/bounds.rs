//! The bounds of a wait: the deadline, `max_wait` and the estimate.

use super::*;

/// Records calls, of which only the first began when nothing was known.
fn record(gate: &Gate, calls: u32, verdict: Verdict, took: Duration) {
    let now = time::now();
    gate.record(now.minus(took), verdict, took.into(), None, CallTicket::default());
    for _ in 1..calls {
        gate.record(now, verdict, took.into(), None, CallTicket::default());
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
    gate.record(time::now(), Verdict::Success, (80 * MS).into(), None, CallTicket::default());
    let refused = gate.refuse(reason, None).by(&instruments).into_rejected();
    assert_eq!(refused.retry_after(), Some(160 * MS), "one is served and one waits");
}
