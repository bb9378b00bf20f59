//! The attempts of one call, in their order.

use std::pin::Pin;

use pin_project::pin_project;
use tower::Service;

use super::flight::AttemptFlight;
use crate::ground::scope;
use crate::ground::verdict::Classify;
use crate::layers::retry::Kept;

/// See the module. Only calls that are hedged allocate.
#[pin_project]
pub(super) struct Flights<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[pin]
    first: AttemptFlight<S, K, C>,
    further: Vec<Pin<Box<AttemptFlight<S, K, C>>>>,
}

impl<S, K, C> Flights<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    pub(super) fn new(first: AttemptFlight<S, K, C>) -> Self {
        Self { first, further: Vec::new() }
    }

    pub(super) fn push(self: Pin<&mut Self>, flight: AttemptFlight<S, K, C>) {
        self.project().further.push(Box::pin(flight));
    }

    pub(super) fn get(self: Pin<&mut Self>, index: usize) -> Option<Pin<&mut AttemptFlight<S, K, C>>> {
        let this = self.project();
        match index.checked_sub(1) {
            None => Some(this.first),
            Some(index) => this.further.get_mut(index).map(Pin::as_mut),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &AttemptFlight<S, K, C>> {
        std::iter::once(&self.first).chain(self.further.iter().map(|flight| &**flight))
    }

    /// Marks a local wait if no attempt is at the dependency.
    pub(super) fn mark_local_wait(&self) {
        if !self.iter().any(|flight| flight.is_in_flight() && !flight.waits_locally()) {
            scope::mark_local_wait();
        }
    }

    pub(super) fn newest(&self) -> &AttemptFlight<S, K, C> {
        self.further.last().map_or(&self.first, |flight| flight)
    }

    /// One attempt has answered the call, and the others have lost.
    pub(super) fn lose(self: Pin<&mut Self>) {
        self.project().further.iter_mut().for_each(|flight| flight.as_mut().lose());
    }

    /// Drops all attempts, the oldest first. What they hold is released, and what they have not sent is refunded.
    pub(super) fn cancel(self: Pin<&mut Self>) {
        let this = self.project();
        this.first.cancel();
        this.further.clear();
    }
}
