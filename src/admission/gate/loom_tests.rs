use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::algorithm::limit::Law;
use crate::ground::scope;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: StdArc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn wanted(weight: u32) -> PermitRequest {
    PermitRequest::new(weight, &scope::Context::NONE)
}

/// Waits without a bound: models have no timers.
fn enter(gate: &Arc<Gate>, weight: u32) -> Option<Admitted> {
    if let Some(permit) = Gate::try_acquire(gate, weight) {
        return Some(Admitted::Now(permit));
    }
    let until = Until { at: Instant::MAX, reason: Reason::QueueTimeout };
    Gate::enqueue(gate, wanted(weight), Duration::ZERO, 8, |_, _| Ok(until)).ok().map(Admitted::Later)
}

/// Polls once, and again if it was woken: a waiter that is still pending has no outcome.
fn finish(admitted: Option<Admitted>) -> Option<Permit> {
    match admitted? {
        Admitted::Now(permit) => Some(permit),
        Admitted::Later(mut waiter) => poll(&mut waiter, &StdArc::new(Flag::default())),
    }
}

fn poll(waiter: &mut Waiter, flag: &StdArc<Flag>) -> Option<Permit> {
    let waker = Waker::from(StdArc::clone(flag));
    match waiter.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(result) => result.ok(),
        Poll::Pending => None,
    }
}

/// Two calls acquire and release while a third reads: the limit always holds, and all permits are released in the end.
#[test]
fn loom_gate_keeps_the_limit_and_leaks_no_permit() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(2, Order::Fifo));
        let threads: Vec<_> = [1, 2]
            .map(|weight| {
                let gate = Arc::clone(&gate);
                loom::thread::spawn(move || {
                    let permit = finish(enter(&gate, weight));
                    assert!(gate.in_use() <= 2);
                    drop(permit);
                })
            })
            .into_iter()
            .collect();
        assert!(gate.in_use() <= 2);
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert!(gate.is_idle());
    });
}

/// A permit is released while a call joins the queue: the waiter gets it and is woken.
#[test]
fn loom_no_wake_up_is_lost() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1, Order::Fifo));
        let held = Gate::try_acquire(&gate, 1);
        let thread = loom::thread::spawn(move || drop(held));
        match enter(&gate, 1) {
            Some(Admitted::Now(_)) => {}
            Some(Admitted::Later(mut waiter)) => {
                let flag = StdArc::new(Flag::default());
                let first = poll(&mut waiter, &flag);
                thread.join().expect("no panic");
                if first.is_none() {
                    assert!(flag.0.load(Ordering::SeqCst), "the permit is free and no waiter was woken");
                    assert!(poll(&mut waiter, &flag).is_some());
                }
            }
            None => panic!("there is room"),
        }
        assert_eq!(gate.waiting(), 0);
    });
}

/// The first waiter is dropped while the permit is released: in any order, the second gets it.
#[test]
fn loom_grant_racing_a_drop_goes_to_the_next() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1, Order::Fifo));
        let held = Gate::try_acquire(&gate, 1);
        let first = enter(&gate, 1);
        let Some(Admitted::Later(mut second)) = enter(&gate, 1) else { panic!("the permit is taken") };
        let flag = StdArc::new(Flag::default());
        assert!(poll(&mut second, &flag).is_none());
        let giving_up = loom::thread::spawn(move || drop(first));
        drop(held);
        giving_up.join().expect("no panic");
        assert!(flag.0.load(Ordering::SeqCst));
        assert!(poll(&mut second, &flag).is_some());
        assert!(gate.is_idle());
    });
}

/// The limit is raised while a call joins the queue.
#[test]
fn loom_raised_limit_is_seen_by_waiters() {
    loom::model(|| {
        let gate = Arc::new(Gate::new(1, Order::Fifo));
        let held = Gate::try_acquire(&gate, 1);
        let theirs = Arc::clone(&gate);
        let thread = loom::thread::spawn(move || theirs.configure(Law::Fixed, 2));
        let admitted = enter(&gate, 1);
        thread.join().expect("no panic");
        assert!(finish(admitted).is_some());
        assert_eq!(gate.waiting(), 0);
        drop(held);
        assert!(gate.is_idle());
    });
}
