//! Which endpoint takes a call now, and its admission there.

use super::balancer::Balancer;
use super::endpoint_set::{ChoiceFor, Chosen, EndpointSet};
use super::permit::Permit;
use super::standing::Wanted;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::chance;
use crate::ground::error::Reason;
use crate::ground::sync::lock;
use crate::ground::time::Instant;
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;
use crate::layers::circuit_breaker::Ticket;
use crate::telemetry::Unreported;

/// What becomes of a call.
#[derive(Debug)]
pub(super) enum Picked {
    /// It runs at this endpoint.
    At(Place),
    /// The usable endpoints are full.
    Full,
    /// Those that have not failed this call are full. One that has may be free.
    OthersFull,
    /// No endpoint takes calls.
    NoEndpoints,
    /// No endpoint takes an attempt beside others of its call.
    NoOther,
}

/// A permit of an endpoint, and the admission by its breaker.
#[derive(Debug)]
pub(super) struct Place {
    /// The position of the endpoint in the set.
    pub(super) member: usize,
    pub(super) permit: Permit,
    pub(super) ticket: Ticket,
    pub(super) bound: CallDeadline,
}

impl Balancer {
    /// An endpoint for a new call. A call does not overtake those that wait, except as a probe. `avoids`: it would rather wait than go
    /// back to an endpoint that has failed it.
    pub(super) fn pick(&self, set: &EndpointSet, bound: CallDeadline, avoids: bool, now: Instant) -> Picked {
        let attempted = AttemptedEndpoints::current();
        if let Some(attempted) = attempted.as_deref().filter(|attempted| self.is_others_only(set, attempted)) {
            return self.pick_other(set, attempted, bound, now).map_or(Picked::NoOther, Picked::At);
        }
        if self.queue.len() > 0 {
            return match self.pick_probe(set, bound, now) {
                Some(place) => Picked::At(place),
                None if self.may_serve(set) => Picked::Full,
                None => Picked::NoEndpoints,
            };
        }
        for wanted in Wanted::ALL {
            let load = &self.common.load;
            let choice = ChoiceFor { wanted, now, load, attempted: attempted.as_deref(), closed_only: false };
            if let Some(place) = pick_passed_over(set, choice, bound) {
                return Picked::At(place);
            }
            if avoids
                && choice.attempted.is_some_and(|attempted| set.serves_others(attempted))
                && !set.has_other(choice)
            {
                return Picked::OthersFull;
            }
            if let Some(place) = pick_free(set, choice, bound) {
                return Picked::At(place);
            }
            if set.serves(wanted) {
                return Picked::Full;
            }
        }
        if self.may_serve(set) { Picked::Full } else { Picked::NoEndpoints }
    }

    /// Whether an attempt with this list is made only at an endpoint that is not on it. The list of a balancer further out says nothing
    /// about this one.
    fn is_others_only(&self, set: &EndpointSet, attempted: &AttemptedEndpoints) -> bool {
        attempted.is_others_only() && (set.has_any_of(attempted) || lock(&self.departed).has_any_of(attempted))
    }

    /// An endpoint for an attempt beside others of its call: one that they have not used, with a free permit while no call waits for
    /// one. A hedge is no probe, wakes no standby and never waits: then it would take from other calls what its own call has already.
    fn pick_other(
        &self,
        set: &EndpointSet,
        attempted: &AttemptedEndpoints,
        bound: CallDeadline,
        now: Instant,
    ) -> Option<Place> {
        if self.queue.len() > 0 {
            return None;
        }
        let (wanted, load) = (Wanted::Healthy, &self.common.load);
        let choice = ChoiceFor { wanted, now, load, attempted: Some(attempted), closed_only: true };
        place(set, set.choose_other(choice)?, bound, choice)
    }

    /// An endpoint whose breaker is half-open and has a free probe slot. A further attempt is no probe where the call has failed, as long as
    /// other endpoints take it.
    pub(super) fn pick_probe(&self, set: &EndpointSet, bound: CallDeadline, now: Instant) -> Option<Place> {
        if set.restricted.is_empty() {
            return None;
        }
        let attempted = AttemptedEndpoints::current().filter(|attempted| set.serves_others(attempted));
        let wanted = if set.serves(Wanted::Healthy) { Wanted::Healthy } else { Wanted::Any };
        let choice = ChoiceFor { wanted, now, load: &self.common.load, attempted: None, closed_only: false };
        set.restricted.iter().find_map(|i| {
            let endpoint = set.at(*i)?;
            let is_attempted = attempted.as_ref().is_some_and(|attempted| attempted.contains(endpoint.state.id));
            if is_attempted || !set.is_usable(endpoint.state, choice) {
                return None;
            }
            if !set.has_permit(endpoint.state, now) {
                endpoint.state.want_probe();
            }
            place(set, endpoint, bound, choice)
        })
    }

    /// The refusal of a call that no endpoint takes.
    pub(super) fn no_endpoints(&self, set: &EndpointSet, now: Instant) -> Unreported {
        let numbers = set.numbers(now);
        self.instruments().refuse(Reason::NoEndpoints).with_numbers(numbers).with_retry_after(numbers.next_probe())
    }
}

/// A half-open endpoint of a tier that gets no calls since its breakers opened: without probes it would not get them back. One endpoint
/// is looked at by each call, so the cost does not depend on their number.
#[inline]
fn pick_passed_over(set: &EndpointSet, choice: ChoiceFor<'_>, bound: CallDeadline) -> Option<Place> {
    let last = set.passed_over.len().checked_sub(1)?;
    let drawn = ((chance::sample() * set.passed_over.len() as f64) as usize).min(last);
    let endpoint = set.at(*set.passed_over.get(drawn)?)?;
    let is_attempted = choice.attempted.is_some_and(|attempted| attempted.contains(endpoint.state.id));
    (!is_attempted && set.is_free(endpoint.state, choice)).then(|| place(set, endpoint, bound, choice))?
}

/// The endpoint that is chosen. If its breaker refuses, which a half-open one may do although it looks usable, the choice is made again
/// among those whose breakers are closed. Endpoints that are still left are tried one after the other.
fn pick_free(set: &EndpointSet, choice: ChoiceFor<'_>, bound: CallDeadline) -> Option<Place> {
    let place = |endpoint: Chosen<'_>| place(set, endpoint, bound, choice);
    let chosen = set.choose(choice)?;
    place(chosen).or_else(|| {
        let again = set.choose(ChoiceFor { closed_only: true, ..choice });
        let mut free = set.others(chosen.position).filter(|endpoint| set.is_free(endpoint.state, choice));
        again.and_then(place).or_else(|| free.find_map(place))
    })
}

#[inline]
fn place(set: &EndpointSet, endpoint: Chosen<'_>, bound: CallDeadline, choice: ChoiceFor<'_>) -> Option<Place> {
    let permit = Permit::try_acquire(endpoint.state, set.limits.max_concurrent, choice.now)?;
    admit(endpoint.position, permit, bound, choice.wanted, choice.now)
}

/// The place of a call with this permit, unless the breaker refuses it.
#[inline]
pub(super) fn admit(member: usize, permit: Permit, bound: CallDeadline, wanted: Wanted, now: Instant) -> Option<Place> {
    let breaker = &permit.endpoint().breaker;
    let ticket = match breaker.admit(bound, now) {
        None if wanted == Wanted::Unreachable => breaker.admit_last_resort(bound, now)?,
        ticket => ticket?,
    };
    Some(Place { member, permit, ticket, bound })
}
