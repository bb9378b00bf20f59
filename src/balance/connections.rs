//! The clients of the endpoints, made by a closure.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::client::{CallClient, Connect, EndpointClient};
use super::endpoint::Endpoint;
use super::endpoint_set::EndpointSet;
use super::endpoint_state::EndpointState;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Mutex, Swap, foreign, lock};
use crate::ground::time;

/// The clients of the endpoints of a set, shared by the clones of a [`Balance`](super::Balance).
///
/// They follow the set when a call comes, so that the closure and the drop of a client run in the task of a caller, and only if
/// there are calls.
pub(super) struct Connections<S> {
    connect: Arc<Connect<S>>,
    current: Swap<Connected<S>>,
    /// Locked while `current` is replaced: no clients are lost between two replacements, and older ones do not replace newer ones.
    replacing: Mutex<()>,
}

/// The clients of one generation of the set, in the order of its members.
struct Connected<S> {
    generation: u64,
    clients: Box<[Arc<EndpointClient<S>>]>,
}

impl<S: Clone> Connections<S> {
    pub(super) fn new(set: &EndpointSet, connect: impl Fn(&Endpoint) -> S + Send + Sync + 'static) -> Self {
        let connect: Arc<Connect<S>> = Arc::new(connect);
        let none = Connected { generation: 0, clients: Box::new([]) };
        let first = none.following(set, &connect);
        first.clients.iter().for_each(|client| drop(client.for_call()));
        Self { connect, current: Swap::from_pointee(first), replacing: Mutex::new(()) }
    }

    /// A client of the endpoint at this position. `None` if that has left the set meanwhile.
    #[inline]
    pub(super) fn client(&self, set: &EndpointSet, i: usize, state: &EndpointState) -> Option<CallClient<S>> {
        let failed = state.failed_client.load(Ordering::Relaxed);
        let current = self.current.load();
        if current.generation == set.generation {
            let client = current.clients.get(i)?;
            if client.id.get() != failed {
                return Some(client.for_call());
            }
        }
        self.renewed(set, i)
    }

    /// A client of the endpoint with this id, if it is in the set.
    pub(super) fn client_of(&self, set: &EndpointSet, id: NonZeroU64) -> Option<CallClient<S>> {
        let (i, member) = set.members.iter().enumerate().find(|(_, member)| member.state.id == id)?;
        self.client(set, i, &member.state)
    }

    /// Whether a call for this endpoint would get this client, too.
    pub(super) fn is_current(&self, set: &EndpointSet, endpoint: NonZeroU64, client: NonZeroU64) -> bool {
        self.client_of(set, endpoint).is_some_and(|current| current.id == client)
    }

    /// The same after the set has changed, or the client has failed.
    #[cold]
    fn renewed(&self, set: &EndpointSet, i: usize) -> Option<CallClient<S>> {
        let (member, now) = (set.get(i)?, time::now());
        let (mut followed, mut replaced) = (None, None);
        let client = {
            let _replacing = lock(&self.replacing);
            let mut current = Arc::clone(&self.current.load());
            if current.generation < set.generation {
                current = Arc::new(current.following(set, &self.connect));
                followed = Some(self.current.swap(Arc::clone(&current)));
            }
            // In a newer set it may be elsewhere.
            let at = current.clients.iter().position(|client| client.endpoint_id == member.state.id);
            let client = at.and_then(|at| Some((at, Arc::clone(current.clients.get(at)?))));
            client.map(|(at, client)| {
                if client.id.get() != member.state.failed_client.load(Ordering::Relaxed) || !client.is_replaceable(now)
                {
                    return client;
                }
                let client = Arc::new(EndpointClient::new(member, &self.connect));
                replaced = Some(self.current.swap(Arc::new(current.with(at, &client))));
                client
            })
        };
        // Unused clients are dropped without the lock.
        foreign(|| drop((followed, replaced)));
        Some(client?.for_call())
    }
}

impl<S> Connected<S> {
    /// The clients of this set. Endpoints that stay at their address keep theirs.
    fn following(&self, set: &EndpointSet, connect: &Arc<Connect<S>>) -> Self {
        let known: HashMap<_, _> = self.clients.iter().map(|known| (known.endpoint_id, known)).collect();
        let clients = set.members.iter().map(|member| match known.get(&member.state.id) {
            Some(known) if *known.address() == *member.endpoint.address() => Arc::clone(known),
            _ => Arc::new(EndpointClient::new(member, connect)),
        });
        Self { generation: set.generation, clients: clients.collect() }
    }

    /// The same with another client at this position.
    fn with(&self, at: usize, client: &Arc<EndpointClient<S>>) -> Self {
        let clients = self.clients.iter().enumerate().map(|(i, known)| if i == at { client } else { known });
        Self { generation: self.generation, clients: clients.cloned().collect() }
    }
}

impl<S> fmt::Debug for Connections<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("clients", &self.current.load().clients.len()).finish_non_exhaustive()
    }
}
