//! The services of the endpoints, made by a closure.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use tower::Layer;

use super::endpoint::Endpoint;
use super::endpoint_set::{EndpointSet, Member};
use crate::ground::sync::{Swap, foreign};
use crate::ground::time::Instant;
use crate::layers::circuit_breaker::CircuitBreaker;
use crate::layers::permits::bulkhead::Bulkhead;

/// The service of an endpoint: its client behind the endpoint's circuit breaker and bulkhead.
pub type Guarded<S, C> = Bulkhead<CircuitBreaker<S, C>, C>;

type Connect<S> = Box<dyn Fn(&Endpoint) -> S + Send + Sync>;

/// The services of the endpoints of a set, shared by the clones of a [`Balance`](super::Balance).
///
/// They follow the set when a call comes, so that the closure and the drop of a service run in the task of a caller, and only if
/// there are calls.
pub(super) struct Connections<S, C> {
    connect: Connect<S>,
    classifier: C,
    current: Swap<Connected<S, C>>,
}

/// The services of one generation of the set.
pub(super) struct Connected<S, C> {
    generation: u64,
    services: Box<[EndpointService<S, C>]>,
}

struct EndpointService<S, C> {
    id: NonZeroU64,
    address: Arc<str>,
    service: Guarded<S, C>,
}

impl<S: Clone, C: Clone> Connections<S, C> {
    pub(super) fn new(set: &EndpointSet, connect: Connect<S>, classifier: C) -> Self {
        let none = Connected { generation: 0, services: Box::new([]) };
        let connections = Self { connect, classifier, current: Swap::from_pointee(none) };
        connections.with(set, |_| ());
        connections
    }

    /// Runs `act` on the services of this set, which are in the order of its members.
    #[inline]
    pub(super) fn with<T>(&self, set: &EndpointSet, act: impl FnOnce(&Connected<S, C>) -> T) -> T {
        let current = self.current.load();
        if current.generation == set.generation { act(&current) } else { act(&self.renew(&current, set)) }
    }

    /// Calls of several threads may do this at once: then one of them is kept.
    #[cold]
    fn renew(&self, before: &Connected<S, C>, set: &EndpointSet) -> Arc<Connected<S, C>> {
        let known: HashMap<NonZeroU64, &EndpointService<S, C>> =
            before.services.iter().map(|known| (known.id, known)).collect();
        let service_of = |Member { endpoint, state }: &Member| match known.get(&state.id) {
            Some(known) if *known.address == *endpoint.address() => {
                EndpointService { id: known.id, address: Arc::clone(&known.address), service: known.service.clone() }
            }
            _ => {
                let client = foreign(|| (self.connect)(endpoint));
                let breaker = state.breaker.clone().with_classifier(self.classifier.clone()).layer(client);
                let service = state.bulkhead.clone().with_classifier(self.classifier.clone()).layer(breaker);
                EndpointService { id: state.id, address: endpoint.address().into(), service }
            }
        };
        let services = set.members.iter().map(service_of).collect();
        let connected = Arc::new(Connected { generation: set.generation, services });
        if self.current.load().generation < set.generation {
            drop(self.current.swap(Arc::clone(&connected)));
        }
        connected
    }
}

impl<S: Clone, C: Clone> Connected<S, C> {
    /// The service of an endpoint, if its breaker admits a call now. It has to be used for that call.
    pub(super) fn admit(&self, i: usize, now: Instant) -> Option<Guarded<S, C>> {
        let mut service = self.services.get(i)?.service.clone();
        service.get_mut().reserve(now).then_some(service)
    }
}

impl<S, C> fmt::Debug for Connections<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("services", &self.current.load().services.len()).finish_non_exhaustive()
    }
}
