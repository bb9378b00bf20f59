//! Which endpoints the attempts of a call have tried, so that further attempts go to other ones.
//!
//! The layers that make several attempts (retry, hedge, quorum) and the balancer do not know each other. The balancer notes the
//! endpoint of an attempt in the call scope. The outer layer takes it from there, and attaches the list to the attempts that follow.
//! A first attempt allocates nothing.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::ground::scope;
use crate::ground::scope::attachment::{self, Attached, AttachmentSlot};

/// The endpoints of the attempts so far, by their process-wide number.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptedEndpoints {
    numbers: Vec<NonZeroU64>,
    /// Whether the attempt is made only if another endpoint takes it at once, because one of these is still at work on the call.
    others_only: bool,
    /// Whether a second answer of one of these is worth nothing, as in a quorum.
    has_votes: bool,
}

impl AttemptedEndpoints {
    /// The list of the current call, if it is a further attempt.
    #[inline]
    pub(crate) fn current() -> Option<Arc<Self>> {
        attachment::attached(AttachmentSlot::AttemptedEndpoints)
    }

    #[inline]
    pub(crate) fn contains(&self, endpoint: NonZeroU64) -> bool {
        self.numbers.contains(&endpoint)
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// See [`NotedEndpoints::others_only`].
    #[inline]
    pub(crate) fn is_others_only(&self) -> bool {
        self.others_only
    }

    /// Whether a second answer of one of these is worth nothing.
    pub(crate) fn has_votes(&self) -> bool {
        self.has_votes
    }

    /// Attaches the list to the attempt that is made or polled, until the guard is dropped.
    #[inline]
    pub(crate) fn enter(list: &Arc<Self>) -> Attached {
        attachment::attach(AttachmentSlot::AttemptedEndpoints, Some(list))
    }

    fn add(&mut self, endpoint: NonZeroU64) {
        if !self.numbers.contains(&endpoint) {
            self.numbers.push(endpoint);
        }
    }
}

#[cfg(test)]
impl FromIterator<NonZeroU64> for AttemptedEndpoints {
    fn from_iter<I: IntoIterator<Item = NonZeroU64>>(endpoints: I) -> Self {
        Self { numbers: endpoints.into_iter().collect(), ..Self::default() }
    }
}

/// The endpoints of the attempts that one layer makes for a call.
#[derive(Debug, Default)]
pub(crate) struct NotedEndpoints {
    /// The endpoint that a balancer noted last, unless it is on the list.
    last: Option<NonZeroU64>,
    /// The endpoints to avoid; `None` while there are none.
    attempted: Option<Arc<AttemptedEndpoints>>,
    has_votes: bool,
}

impl NotedEndpoints {
    /// For calls of which a second one at the same endpoint is worth nothing.
    pub(crate) fn of_votes() -> Self {
        Self { has_votes: true, ..Self::default() }
    }

    /// Makes or polls an attempt, for which balancers avoid the endpoints on the list. Returns the endpoint that was noted meanwhile.
    #[inline]
    pub(crate) fn noting<T>(&mut self, act: impl FnOnce() -> T) -> (T, Option<NonZeroU64>) {
        let (output, noted) = {
            let _attempted = self.attempted.as_ref().map(AttemptedEndpoints::enter);
            scope::noting_endpoint(act)
        };
        if noted.is_some() && noted != self.last {
            // An inner layer may make several attempts within one of this layer.
            self.avoid_last();
            self.last = noted;
        }
        (output, noted)
    }

    /// Adds the endpoint that was noted last to the list, since another attempt follows.
    pub(crate) fn avoid_last(&mut self) {
        let Some(endpoint) = self.last.take() else { return };
        // Those of an outer layer's attempts count as well.
        let attempted = self.attempted.get_or_insert_with(|| AttemptedEndpoints::current().unwrap_or_default());
        let attempted = Arc::make_mut(attempted);
        attempted.has_votes |= self.has_votes;
        attempted.add(endpoint);
    }

    /// The list for an attempt beside others that are in flight: it is made only if an endpoint that is not on the list takes it at once.
    /// `None` if no balancer has noted an endpoint.
    pub(crate) fn others_only(&self) -> Option<Arc<AttemptedEndpoints>> {
        let attempted = self.attempted.as_deref()?;
        Some(Arc::new(AttemptedEndpoints { others_only: true, ..attempted.clone() }))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    /// Whether the list of the current call has these endpoints.
    fn has(endpoints: &[u64]) -> bool {
        let numbers =
            |list: Arc<AttemptedEndpoints>| list.numbers.iter().map(|number| number.get()).collect::<Vec<_>>();
        AttemptedEndpoints::current().map(numbers).unwrap_or_default() == endpoints
    }

    /// An attempt at these endpoints, one after the other.
    fn attempt(notes: &mut NotedEndpoints, endpoints: &[u64], expected: &[u64]) -> Option<u64> {
        let poll = || {
            assert!(has(expected), "{:?}", AttemptedEndpoints::current());
            endpoints.iter().filter_map(|number| NonZeroU64::new(*number)).for_each(scope::note_endpoint);
        };
        notes.noting(poll).1.map(NonZeroU64::get)
    }

    #[test]
    fn further_attempts_see_the_endpoints_before_them() {
        let mut notes = NotedEndpoints::default();
        assert_eq!(attempt(&mut notes, &[1], &[]), Some(1));
        assert_eq!(attempt(&mut notes, &[], &[]), None, "the same attempt, which stays where it is");
        notes.avoid_last();
        assert_eq!(attempt(&mut notes, &[2], &[1]), Some(2));
        // An inner layer has made another attempt.
        assert_eq!(attempt(&mut notes, &[3], &[1]), Some(3));
        assert_eq!(attempt(&mut notes, &[], &[1, 2]), None);
        notes.avoid_last();
        assert_eq!(attempt(&mut notes, &[1], &[1, 2, 3]), Some(1));
        assert!(has(&[]), "the list ends with the attempt");
    }

    #[test]
    fn inner_layer_continues_the_list_of_an_outer_one() {
        let (mut outer, mut inner) = (NotedEndpoints::default(), NotedEndpoints::default());
        attempt(&mut outer, &[1], &[]);
        outer.avoid_last();
        let ((), noted) = outer.noting(|| {
            attempt(&mut inner, &[2], &[1]);
            inner.avoid_last();
            attempt(&mut inner, &[3], &[1, 2]);
        });
        assert_eq!(noted.map(NonZeroU64::get), Some(3));
        assert!(outer.attempted.is_some_and(|list| list.numbers.len() == 1), "the list of the outer layer is its own");
    }
}
