//! Calls that give their permit back for a while.

use super::*;

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
            gate.record(time::now(), Verdict::Success, (1000 * MS).into(), None, CallTicket::default());
        }
        let held = now(&gate, 1);
        let soon = PermitRequest { deadline: Some(time::now() + left * MS), ..wanted(1) };
        let Ok(Admitted::Later(returning)) = Gate::readmit(&gate, soon) else { panic!("the permit is taken") };
        let mut returning = Caller::new(returning);
        assert!(returning.poll().is_pending());
        let max_wait_end = Until { at: Instant::MAX, reason: Reason::QueueTimeout };
        let _new_call = Gate::enqueue(&gate, wanted(1), Duration::ZERO, 100, |_, _| Ok(max_wait_end)).unwrap();
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
