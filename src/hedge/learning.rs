//! What a call teaches when it ends: the learned delay, and the time that hedges may take.

use tower::Service;

use super::flights::Flights;
use super::hedged_call::HedgedCall;
use super::lesson::{Lesson, Observation};
use crate::algorithm::hedge;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::retry::Kept;

impl<S, K, T> HedgedCall<S, K, T> {
    /// Learns from an answer of the attempt at `index`. The time of an attempt that loses against a hedge counts as well, with what it
    /// has proved to need.
    pub(super) fn learn<C>(&self, flights: &Flights<S, K, C>, index: usize, verdict: Verdict, now: Instant)
    where
        K: Kept,
        S: Service<K::Attempt>,
        C: Classify<S::Response, Settled = T>,
    {
        // A long poll says nothing about how long other calls take.
        if !self.settings.hedges_slow() || self.inherited.lasts() {
            return;
        }
        let oldest = flights.iter().take(index).find(|flight| flight.is_in_flight());
        // An attempt after a failure is a retry. Only one beside a slow attempt shows that hedges help.
        let by_hedge = oldest.is_some();
        let took = oldest.or_else(|| flights.iter().nth(index)).map(|flight| flight.took(now));
        let latency = took.filter(|_| verdict == Verdict::Success).map(|took| Observation::Success { took, by_hedge });
        let first = flights.iter().next().filter(|first| index == 0 || first.is_in_flight());
        self.policy.record(Lesson { first_had: first.map(|first| first.took(now)), latency }, &self.settings, now);
    }

    /// Learns from a call that ends with this verdict, if no attempt was answered.
    pub(super) fn learn_unanswered<C>(&self, flights: &Flights<S, K, C>, verdict: Verdict)
    where
        K: Kept,
        S: Service<K::Attempt>,
        C: Classify<S::Response, Settled = T>,
    {
        if hedge::decides(verdict) || !self.settings.hedges_slow() || self.inherited.lasts() {
            return;
        }
        let now = time::now();
        let first_had = flights.iter().next().and_then(|first| first.unanswered_for(now));
        let mut unanswered = flights.iter().filter_map(|flight| flight.unanswered_for(now));
        let latency = match (unanswered.next(), unanswered.next()) {
            (Some(had), Some(_)) => Some(Observation::Unanswered(had)),
            _ => None,
        };
        if first_had.is_some() || latency.is_some() {
            self.policy.record(Lesson { first_had, latency }, &self.settings, now);
        }
    }
}
