//! The clients of the endpoints, made by a closure.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::endpoint::Endpoint;
use super::endpoint_set::{EndpointSet, Member};
use crate::ground::sync::{Swap, foreign};

type Connect<S> = Box<dyn Fn(&Endpoint) -> S + Send + Sync>;

/// The clients of the endpoints of a set, shared by the clones of a [`Balance`](super::Balance).
///
/// They follow the set when a call comes, so that the closure and the drop of a client run in the task of a caller, and only if
/// there are calls.
pub(super) struct Connections<S> {
    connect: Connect<S>,
    current: Swap<Connected<S>>,
}

/// The clients of one generation of the set, in the order of its members.
struct Connected<S> {
    generation: u64,
    clients: Box<[EndpointClient<S>]>,
}

struct EndpointClient<S> {
    id: NonZeroU64,
    address: Arc<str>,
    client: S,
}

impl<S: Clone> Connections<S> {
    pub(super) fn new(set: &EndpointSet, connect: Connect<S>) -> Self {
        let none = Connected { generation: 0, clients: Box::new([]) };
        let connections = Self { connect, current: Swap::from_pointee(none) };
        connections.with(set, |_| ());
        connections
    }

    /// A client of the member at this position.
    #[inline]
    pub(super) fn client(&self, set: &EndpointSet, i: usize) -> Option<S> {
        self.with(set, |connected| foreign(|| connected.clients.get(i).map(|connected| connected.client.clone())))
    }

    /// A client of the endpoint with this id, if it is in the set.
    pub(super) fn client_of(&self, set: &EndpointSet, id: NonZeroU64) -> Option<S> {
        self.client(set, set.members.iter().position(|member| member.state.id == id)?)
    }

    #[inline]
    fn with<T>(&self, set: &EndpointSet, act: impl FnOnce(&Connected<S>) -> T) -> T {
        let current = self.current.load();
        if current.generation == set.generation { act(&current) } else { act(&self.renew(&current, set)) }
    }

    /// Calls of several threads may do this at once: then one of them is kept.
    #[cold]
    fn renew(&self, before: &Connected<S>, set: &EndpointSet) -> Arc<Connected<S>> {
        let known: HashMap<NonZeroU64, &EndpointClient<S>> =
            before.clients.iter().map(|known| (known.id, known)).collect();
        let client_of = |Member { endpoint, state }: &Member| match known.get(&state.id) {
            Some(known) if *known.address == *endpoint.address() => {
                let client = foreign(|| known.client.clone());
                EndpointClient { id: known.id, address: Arc::clone(&known.address), client }
            }
            _ => {
                let client = foreign(|| (self.connect)(endpoint));
                EndpointClient { id: state.id, address: endpoint.address().into(), client }
            }
        };
        let clients = set.members.iter().map(client_of).collect();
        let connected = Arc::new(Connected { generation: set.generation, clients });
        if self.current.load().generation < set.generation {
            drop(self.current.swap(Arc::clone(&connected)));
        }
        connected
    }
}

impl<S> fmt::Debug for Connections<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("clients", &self.current.load().clients.len()).finish_non_exhaustive()
    }
}
