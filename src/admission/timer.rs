//! A timer that is armed when first polled.
use crate::ground::time::Instant;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

#[derive(Debug)]
pub(crate) struct Timer(Option<Pin<Box<tokio::time::Sleep>>>);
impl Timer {
    pub(crate) const fn new() -> Self {
        Self(None)
    }
    #[allow(clippy::disallowed_methods, reason = "the one place that arms timers")]
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let s = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.to_tokio())));
        if s.deadline() != at.to_tokio() {
            s.as_mut().reset(at.to_tokio());
        }
        s.as_mut().poll(cx)
    }
}
