//! State per key: one by default, as many as there are hosts, tenants or shards when a layer is told how to tell requests
//! apart.
//!
//! Memory is bounded, and nothing that is worth keeping is forgotten to stay within the bound:
//!
//! - A key has a state of its own as long as there is room for `max_keys` of them.
//! - If there is none, a state that is *as good as new* and not in use is forgotten: a full rate limit, a closed breaker that
//!   has seen nothing bad of late, an idle gate, a budget with a full reserve. A new state in its place would act alike, so calls with
//!   many other keys (by accident or on purpose) reset no limit and close no breaker.
//! - If none of those looked at is as good as new, the new key shares one of 128 states until there is room. The key's hash,
//!   which is seeded at random, chooses which: one bad key affects one in 128 of the others that have no room, and cannot
//!   choose which.
//! - When there is room, the key gets a state of its own, which [inherits](Forgettable::inherit) what the shared one holds against
//!   its callers: an exhausted limit is not renewed by the move.
//!
//! # No foreign code under the lock
//! A key's `Hash`, `Eq` and `Drop` are the user's code: they may panic, block, or call the same layer again. So the table is a map
//! from hashes, and knows keys only as opaque values. A lookup hashes the key, takes the lock to get the entry with that hash (both of
//! its `Arc`s are cloned), lets the lock go and compares the keys. Different keys with one hash are rare; they are numbered as they
//! come, so that a lookup asks for the next one after those it has compared. A new key is inserted only if under the lock there is
//! still no entry that it has not been compared with; else it is compared first. What is forgotten is handed out and dropped
//! unlocked. The lock is held for one step in a map, and to look at a fixed number of entries when there is no room.
//!
//! What a call holds of a state must hold the [`Arc`] that it got: that is how the table knows which states are in use.

mod forgettable;
mod survey;
mod table;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

pub(crate) use self::forgettable::Forgettable;
pub(crate) use self::survey::Survey;
use self::table::{Entered, EntryPosition, Table};
use crate::ground::sync::{Arc, Mutex, foreign, lock};
use crate::ground::time::{self, Instant};

/// The type of the keys by which something tells requests apart.
///
/// This half of [`KeyBy`] does not know the request, so that a layer's type needs not name it.
pub trait Keying: Send + Sync + 'static {
    /// What requests with a common state have in common: an authority, a tenant, a shard.
    ///
    /// No lock is held while its `Hash`, `Eq` and `Drop` run; if one of them panics, only the call at hand is affected.
    type Key: Hash + Eq + Send + Sync + 'static;

    /// The key as it is kept with a new state; it must be equal to `key`. By default it is `key` itself.
    ///
    /// A key that shares memory with its request, such as a part of a `Bytes` or of a URI, is copied here: otherwise it would
    /// keep that memory for as long as the state is kept.
    fn to_keep(&self, key: Self::Key) -> Self::Key {
        key
    }
}

/// Tells requests apart, so that a layer keeps a state (a breaker, a limit, a budget) for each kind of them.
///
/// A layer's `keyed_by` takes a closure, which is all that most need. Implement this for a type of your own to name it in
/// signatures, or where some requests have no key.
///
/// ```
/// use seawall::keyed::{KeyBy, Keying};
///
/// struct Request {
///     tenant: Option<u32>,
/// }
///
/// #[derive(Clone)]
/// struct ByTenant;
///
/// impl Keying for ByTenant {
///     type Key = u32;
/// }
///
/// impl KeyBy<Request> for ByTenant {
///     fn key(&self, request: &Request) -> Option<u32> {
///         request.tenant
///     }
/// }
/// # assert_eq!(ByTenant.key(&Request { tenant: Some(7) }), Some(7));
/// ```
pub trait KeyBy<Request>: Keying {
    /// The request's key. All requests without one share one state.
    fn key(&self, request: &Request) -> Option<Self::Key>;
}

/// One state for all requests: the default, and free.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneKey;

impl Keying for OneKey {
    type Key = ();
}

impl<Request> KeyBy<Request> for OneKey {
    fn key(&self, _: &Request) -> Option<()> {
        None
    }
}

/// A state for each value of a function of the request: what a layer's `keyed_by` makes.
pub struct ByKey<F, Key> {
    function: F,
    key: PhantomData<fn() -> Key>,
}

impl<F, Key> ByKey<F, Key> {
    /// Keys by `function`.
    pub fn new<Request>(function: F) -> Self
    where
        F: Fn(&Request) -> Key,
    {
        Self { function, key: PhantomData }
    }
}

impl<F, Key> Keying for ByKey<F, Key>
where
    F: Send + Sync + 'static,
    Key: Hash + Eq + Send + Sync + 'static,
{
    type Key = Key;
}

impl<F, Key, Request> KeyBy<Request> for ByKey<F, Key>
where
    F: Fn(&Request) -> Key + Send + Sync + 'static,
    Key: Hash + Eq + Send + Sync + 'static,
{
    fn key(&self, request: &Request) -> Option<Key> {
        Some((self.function)(request))
    }
}

impl<F: Clone, Key> Clone for ByKey<F, Key> {
    fn clone(&self) -> Self {
        Self { function: self.function.clone(), key: PhantomData }
    }
}

impl<F, Key> fmt::Debug for ByKey<F, Key> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").finish_non_exhaustive()
    }
}

/// How many keys a layer keeps a state for, unless told otherwise.
pub(crate) const DEFAULT_MAX_KEYS: usize = 1024;

/// How many entries a new key has looked at for one to be forgotten, so that it costs the same however many there are. The next
/// new key looks at the ones behind.
const CHECKED_PER_INSERT: usize = 16;

/// How many states are held at a time to visit all of them: what is held looks as if it were in use.
const BATCH: usize = 64;

/// The states of a layer value: one for each key, one for requests without a key, and those that keys share for want of room.
pub(crate) struct Keyed<K: Keying, T> {
    keying: K,
    hasher: RandomState,
    common: Arc<T>,
    table: Mutex<Table<K::Key, T>>,
}

impl<K: Keying, T: Forgettable> Keyed<K, T> {
    /// Room for `max_keys` keys, and the common state. Nothing is allocated for keys that have not been seen.
    pub(crate) fn new(keying: K, max_keys: usize, common: T) -> Self {
        let (hasher, table) = (RandomState::new(), Mutex::new(Table::new(max_keys)));
        Self { keying, hasher, common: Arc::new(common), table }
    }

    /// The state of the request's key, made by `make` if the key is new. `make` runs under the table's lock.
    ///
    /// Without keys this is an `Arc` clone; with keys a hash and a comparison of the key, and a step in a map under a lock.
    pub(crate) fn get<Request>(&self, request: &Request, make: impl Fn() -> T) -> Arc<T>
    where
        K: KeyBy<Request>,
    {
        self.of_key(self.key(request), make)
    }

    /// The request's key, which is the user's code.
    pub(crate) fn key<Request>(&self, request: &Request) -> Option<K::Key>
    where
        K: KeyBy<Request>,
    {
        foreign(|| self.keying.key(request))
    }

    /// The state of a key; the common one without any.
    pub(crate) fn of_key(&self, key: Option<K::Key>, make: impl Fn() -> T) -> Arc<T> {
        let Some(key) = key else {
            return Arc::clone(&self.common);
        };
        let hash = foreign(|| self.hasher.hash_one(&key));
        let mut after = 0;
        while let Some(known) = self.next(hash, after) {
            if foreign(|| *known.key == key) {
                return known.state;
            }
            after = known.number;
        }
        self.enter(key, hash, after, make)
    }

    fn next(&self, hash: u64, after: u64) -> Option<table::TableEntry<K::Key, T>> {
        lock(&self.table).next(hash, after)
    }

    #[cold]
    fn enter(&self, key: K::Key, hash: u64, mut after: u64, make: impl Fn() -> T) -> Arc<T> {
        let key = Arc::new(foreign(|| self.keying.to_keep(key)));
        let (now, mut checks_left) = (time::now(), CHECKED_PER_INSERT);
        loop {
            let entered = lock(&self.table).enter(&key, hash, after, &mut checks_left, now, &make);
            match entered {
                Entered::At(state) => return state,
                Entered::CompareFirst(known) if foreign(|| *known.key == *key) => return known.state,
                Entered::CompareFirst(known) => after = known.number,
                Entered::Forgot(forgotten) => foreign(|| drop(forgotten)),
            }
        }
    }

    /// Makes room for so many keys. If that is less than before, [`shrink`](Self::shrink) when no lock is held.
    pub(crate) fn set_max_keys(&self, max_keys: usize) {
        lock(&self.table).set_max(max_keys);
    }

    /// Forgets what is beyond the bound and as good as new. The rest goes as new keys come.
    pub(crate) fn shrink(&self) {
        let (now, mut checks_left) = (time::now(), self.len());
        while checks_left > 0 {
            // A few at a time, so that no call waits for all of it; and dropped one by one, as a key's drop may panic.
            let mut few = BATCH.min(checks_left);
            checks_left -= few;
            while let Some(forgotten) = self.forget_one(now, &mut few) {
                foreign(|| drop(forgotten));
            }
        }
    }

    fn forget_one(&self, now: Instant, checks_left: &mut usize) -> Option<table::TableEntry<K::Key, T>> {
        lock(&self.table).forget_one_beyond(now, checks_left)
    }

    /// The state that requests without a key share.
    pub(crate) fn common(&self) -> &Arc<T> {
        &self.common
    }

    /// Visits every state there is: the common one, the shared ones, and those of the keys. One that is made meanwhile may be
    /// visited or not. No lock is held while `visit` runs.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&T)) {
        self.for_each_without_key(&mut visit);
        self.for_each_of_the_next(usize::MAX, EntryPosition::BEGIN, visit);
    }

    fn for_each_without_key(&self, mut visit: impl FnMut(&T)) {
        visit(&self.common);
        let shared = lock(&self.table).shared();
        shared.iter().for_each(|state| visit(state));
    }

    /// Visits at most `count` states behind a place, and says where it has stopped, if there may be more.
    fn for_each_of_the_next(
        &self,
        count: usize,
        after: EntryPosition,
        mut visit: impl FnMut(&T),
    ) -> Option<EntryPosition> {
        let (mut left, mut position) = (count, after);
        while left > 0 {
            let few = BATCH.min(left);
            left -= few;
            let (states, last) = lock(&self.table).batch(few, position);
            states.iter().for_each(|state| visit(state));
            position = last?;
        }
        Some(position)
    }

    /// How many keys have a state of their own now.
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).len()
    }
}

impl<K: Keying, T> fmt::Debug for Keyed<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("keys", &lock(&self.table).len()).finish_non_exhaustive()
    }
}
