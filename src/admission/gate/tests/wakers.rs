//! Wakers that panic.

use super::*;

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
