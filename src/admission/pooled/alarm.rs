use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project::pin_project;
use tokio::runtime::{Handle, Id};
use tokio::time::Sleep;

use super::relay::Relay;
use crate::ground::time::Instant;

/// A sleep, and what is needed to reuse it.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Alarm {
    #[pin]
    sleep: Sleep,
    /// When the sleep fires: no later than the deadline, and earlier if that is decades away.
    fires_at: Instant,
    /// The sleep was moved, and does not wake its task until it is polled again.
    moved: bool,
    runtime: Id,
    relay: Arc<Relay>,
    waker: Waker,
}

impl Alarm {
    #[allow(clippy::disallowed_methods, reason = "the one place that makes sleeps, to pool them")]
    pub(super) fn fresh(runtime: Id, deadline: Instant) -> Pin<Box<Self>> {
        let relay = Relay::new();
        let waker = Waker::from(Arc::clone(&relay));
        let at = deadline.to_tokio();
        Box::pin(Self {
            sleep: tokio::time::sleep_until(at),
            fires_at: Instant::from_tokio(at),
            moved: true,
            runtime,
            relay,
            waker,
        })
    }

    /// Whether the current runtime is another one than that of the sleep.
    pub(crate) fn is_foreign(&self) -> bool {
        Handle::try_current().is_ok_and(|handle| handle.id() != self.runtime)
    }

    /// An unused sleep wakes no task.
    pub(super) fn forget_task(&self) {
        self.relay.forget_task();
    }

    pub(super) fn runtime(&self) -> Id {
        self.runtime
    }

    pub(crate) fn fires_at(&self) -> Instant {
        self.fires_at
    }

    pub(super) fn is_elapsed(&self) -> bool {
        self.sleep.is_elapsed()
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(crate) fn is_moved(&self) -> bool {
        self.moved
    }

    #[cfg(all(test, not(seawall_loom)))]
    pub(crate) fn pretend_to_be_of(self: Pin<&mut Self>, runtime: Id) {
        *self.project().runtime = runtime;
    }

    pub(super) fn move_to(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        // A reset also registers a fresh sleep. A first poll would do that too, but panics if the runtime has shut down.
        let at = deadline.to_tokio();
        this.sleep.reset(at);
        *this.fires_at = Instant::from_tokio(at);
        *this.moved = true;
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.fires_at > deadline {
            self.as_mut().move_to(deadline);
        }
        let registered = self.relay.forward_to(cx.waker());
        // The relay must know the task before this check. Otherwise a sleep that fires in between would wake no task.
        if self.sleep.is_elapsed() {
            if self.fires_at < deadline {
                self.as_mut().move_to(deadline);
            }
            // Still elapsed, or elapsed again: the deadline has passed, or the runtime has shut down.
            if self.sleep.is_elapsed() {
                return Poll::Ready(());
            }
        }
        if registered && !self.moved {
            return Poll::Pending;
        }
        let this = self.project();
        *this.moved = false;
        this.sleep.poll(&mut Context::from_waker(this.waker))
    }
}
