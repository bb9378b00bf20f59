//! What a call teaches the learned delay when it ends.

use tower::Service;

use super::flights::Flights;
use super::hedged_call::HedgedCall;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::retry::Kept;

impl<S, K, T> HedgedCall<S, K, T> {
    /// Learns from a success of the attempt at `index`: the time of the first attempt that was not answered before, or that it has had
    /// so far. So the time of an attempt that loses against a hedge counts as well, with what it has proved to need.
    pub(super) fn learn<C>(&self, flights: &Flights<S, K, C>, index: usize, now: Instant)
    where
        K: Kept,
        S: Service<K::Attempt>,
        C: Classify<S::Response, Settled = T>,
    {
        let Some(learned) = self.settings.learned() else { return };
        // A long poll says nothing about how long other calls take.
        if self.inherited.lasts() {
            return;
        }
        let oldest = flights.iter().take(index).find(|flight| flight.is_in_flight());
        // An attempt after a failure is a retry. Only one beside a slow attempt shows that hedges help.
        let by_hedge = oldest.is_some();
        let took = oldest.or_else(|| flights.iter().nth(index)).map(|flight| flight.took(now));
        if let Some(took) = took {
            self.policy.succeeded(took, by_hedge, learned, now);
        }
    }

    /// Learns from a call that ends with this verdict, if it was hedged and no attempt was answered: how long the first one had.
    pub(super) fn learn_unanswered<C>(&self, flights: &Flights<S, K, C>, verdict: Verdict)
    where
        K: Kept,
        S: Service<K::Attempt>,
        C: Classify<S::Response, Settled = T>,
    {
        if self.hedging.started() < 2 || matches!(verdict, Verdict::Success | Verdict::CallerFault | Verdict::Failed) {
            return;
        }
        let Some(learned) = self.settings.learned() else { return };
        let now = time::now();
        let mut unanswered = flights.iter().filter_map(|flight| flight.unanswered_for(now));
        if let (Some(had), Some(_)) = (unanswered.next(), unanswered.next()) {
            self.policy.unanswered(had, learned, now);
        }
    }
}
