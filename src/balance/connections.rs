//! The clients of the endpoints, made by a closure.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::balancer::Balancer;
use super::client::{CallClient, Connect, EndpointClient};
use super::endpoint::Endpoint;
use super::endpoint_set::{EndpointSet, Member};
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::{Loaded, Mutex, Swap, foreign, lock};
use crate::ground::time;

/// The clients of the endpoints of a set, shared by the clones of a [`Balance`](super::Balance).
///
/// They follow the set when a call comes, so that the closure and the drop of a client run in the task of a caller, and only if
/// there are calls. So a service without calls keeps its last set, with the endpoints that have left since.
pub(super) struct Connections<S> {
    connect: Arc<Connect<S>>,
    current: Swap<Connected<S>>,
    /// Locked while `current` is replaced: no clients are lost between two replacements, and older ones do not replace newer ones.
    replacing: Mutex<()>,
}

/// A set, and the clients of its members in their order: a call reads both at once.
pub(super) struct Connected<S> {
    pub(super) set: Arc<EndpointSet>,
    clients: Arc<[Arc<EndpointClient<S>>]>,
}

impl<S: Clone> Connections<S> {
    pub(super) fn new(set: &Arc<EndpointSet>, connect: impl Fn(&Endpoint) -> S + Send + Sync + 'static) -> Self {
        let connect: Arc<Connect<S>> = Arc::new(connect);
        let clients = set.members.iter().map(|member| Arc::new(EndpointClient::new(member, &connect))).collect();
        let first = Connected { set: Arc::clone(set), clients };
        first.clients.iter().for_each(|client| drop(client.for_call()));
        Self { connect, current: Swap::from_pointee(first), replacing: Mutex::new(()) }
    }

    /// The published set, with its clients.
    #[inline]
    pub(super) fn current(&self, balancer: &Balancer) -> Loaded<Connected<S>> {
        let current = self.current.load();
        if current.set.version < balancer.version() {
            drop(current);
            self.follow(balancer);
            return self.current.load();
        }
        current
    }

    /// The latest set, with its clients. What the queue has granted is in this one, and maybe not in the published one yet.
    pub(super) fn latest(&self, balancer: &Balancer) -> Arc<Connected<S>> {
        if self.current.load().set.version < balancer.set.load().version {
            self.follow(balancer);
        }
        Arc::clone(&self.current.load())
    }

    /// A client of the endpoint at this position.
    #[inline]
    pub(super) fn client(&self, Connected { set, clients }: &Connected<S>, i: usize) -> Option<CallClient<S>> {
        let (member, client) = (set.get(i)?, clients.get(i)?);
        let has_failed = client.id.get() == member.state.failed_client.load(Ordering::Relaxed);
        Some(if has_failed { self.replacement(client, member) } else { client.for_call() })
    }

    /// A client of the endpoint with this id, if it is in this set.
    pub(super) fn client_of(&self, connected: &Connected<S>, id: NonZeroU64) -> Option<CallClient<S>> {
        let i = connected.set.members.iter().position(|member| member.state.id == id)?;
        self.client(connected, i)
    }

    /// Whether a call for this endpoint would get this client, too.
    pub(super) fn is_current(&self, balancer: &Balancer, endpoint: NonZeroU64, client: NonZeroU64) -> bool {
        self.client_of(&self.latest(balancer), endpoint).is_some_and(|current| current.id == client)
    }

    #[cold]
    fn follow(&self, balancer: &Balancer) {
        let replaced = {
            let _replacing = lock(&self.replacing);
            let (current, set) = (self.current.load(), Arc::clone(&balancer.set.load()));
            // Another call may have been first.
            (current.set.version < set.version)
                .then(|| self.current.swap(Arc::new(current.following(set, &self.connect))))
        };
        // Unused clients are dropped without the lock.
        foreign(|| drop(replaced));
    }

    /// A client for a call in place of this one, which has failed. It is the same if that is too young, or if the endpoint has left.
    #[cold]
    fn replacement(&self, failed: &Arc<EndpointClient<S>>, member: &Member) -> CallClient<S> {
        let now = time::now();
        let (client, replaced) = {
            let _replacing = lock(&self.replacing);
            let current = self.current.load();
            // In a newer set it may be elsewhere.
            let at = current.clients.iter().position(|client| client.endpoint_id == failed.endpoint_id);
            let client = at.and_then(|at| Some((at, current.clients.get(at)?)));
            match client {
                // Another call has replaced it.
                Some((_, client)) if client.id != failed.id => (Arc::clone(client), None),
                Some((at, client)) if client.is_replaceable(now) => {
                    let client = Arc::new(EndpointClient::new(member, &self.connect));
                    let replaced = self.current.swap(Arc::new(current.with(at, &client)));
                    (client, Some(replaced))
                }
                _ => (Arc::clone(failed), None),
            }
        };
        // The unused client is dropped without the lock.
        foreign(|| drop(replaced));
        client.for_call()
    }
}

impl<S> Connected<S> {
    /// The clients of this set. Endpoints that stay at their address keep theirs.
    fn following(&self, set: Arc<EndpointSet>, connect: &Arc<Connect<S>>) -> Self {
        if set.generation == self.set.generation {
            return Self { set, clients: Arc::clone(&self.clients) };
        }
        let known: HashMap<_, _> = self.clients.iter().map(|known| (known.endpoint_id, known)).collect();
        let clients = set.members.iter().map(|member| match known.get(&member.state.id) {
            Some(known) if *known.address() == *member.endpoint.address() => Arc::clone(known),
            _ => Arc::new(EndpointClient::new(member, connect)),
        });
        let clients = clients.collect();
        Self { set, clients }
    }

    /// The same with another client at this position.
    fn with(&self, at: usize, client: &Arc<EndpointClient<S>>) -> Self {
        let clients = self.clients.iter().enumerate().map(|(i, known)| if i == at { client } else { known });
        Self { set: Arc::clone(&self.set), clients: clients.cloned().collect() }
    }
}

impl<S> fmt::Debug for Connections<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("clients", &self.current.load().clients.len()).finish_non_exhaustive()
    }
}
