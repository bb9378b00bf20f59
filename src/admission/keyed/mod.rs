//! State per key: one state by default, or one per endpoint, tenant or shard if a layer is keyed.
//!
//! Memory is bounded, and no state worth keeping is forgotten to stay within the bound:
//!
//! - A key has a state of its own as long as there is room for `max_keys` of them.
//! - If there is no room, a state that is *as good as new* and not in use is forgotten: a full rate limit, a closed breaker without
//!   recent failures, an idle gate, a budget with a full reserve. A new state in its place would act alike, so calls with many other
//!   keys (by accident or on purpose) reset no limit and close no breaker.
//! - If no checked state is as good as new, the new key shares one of 128 states until there is room. The key's hash, which is seeded
//!   at random, selects the state: one bad key affects one in 128 of the other keys without room, and cannot choose which.
//! - When there is room, the key gets a state of its own, which [inherits](Forgettable::inherit) what the shared one holds against its
//!   callers: an exhausted limit is not renewed by the move.
//!
//! # No foreign code under the lock
//! A key's `Hash`, `Eq` and `Drop` are the user's code: they may panic, block, or call the same layer again. So the table is a map
//! from hashes, and treats keys as opaque values. A lookup hashes the key, takes the lock to get the entry with that hash (both of
//! its `Arc`s are cloned), releases the lock and compares the keys. Different keys with one hash are rare; they are numbered in the
//! order of insertion, so that a lookup asks for the next one after those it has compared. A new key is inserted only if under the
//! lock there is still no entry that it has not been compared with; otherwise that entry is compared first. Forgotten entries are
//! handed out and dropped unlocked. The lock is held for one step in a map, and to check a fixed number of entries when there is no
//! room. That check may take the short lock of an entry's state, which never takes the table's.
//!
//! A call that uses a state must hold the [`Arc`] that it got: that is how the table knows which states are in use.

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
use self::table::{EntryPosition, Insertion, Table};
use crate::ground::sync::{Arc, Mutex, foreign, lock};
use crate::ground::time::{self, Instant};

/// The type of keys that tell requests apart.
///
/// This half of [`KeyBy`] does not know the request, so a layer's type need not name it.
pub trait Keying: Send + Sync + 'static {
    /// The key: an authority, a tenant, a shard. Requests with equal keys share a state.
    ///
    /// No lock is held while its `Hash`, `Eq` and `Drop` run. If one of them panics, only the current call is affected.
    type Key: Hash + Eq + Send + Sync + 'static;

    /// The key as it is stored with a new state; it must be equal to `key`. By default it is `key` itself.
    ///
    /// Copy a key here if it shares memory with its request, such as a part of a `Bytes` or of a URI. Otherwise it would keep that
    /// memory for as long as the state is kept.
    fn to_keep(&self, key: Self::Key) -> Self::Key {
        key
    }
}

/// Tells requests apart, so that a layer keeps a state (a breaker, a limit, a budget) for each key.
///
/// A layer's `keyed_by` takes a closure, which is enough for most uses. Implement this for a type of your own to name it in
/// signatures, or if some requests have no key.
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

/// One state for all requests: the default, at no cost.
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

/// The default of `max_keys`.
pub(crate) const DEFAULT_MAX_KEYS: usize = 1024;

/// How many entries are checked for one to be forgotten when a new key is inserted, so that an insertion costs the same however many
/// entries there are. The next new key continues from there.
const CHECKED_PER_INSERT: usize = 16;

/// How many states are held at a time while all are visited: a state that is held looks as if it were in use.
const BATCH: usize = 64;

/// The states of a layer value: one for each key, one for requests without a key, and those that keys share if there is no room.
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

    /// The request's key. Runs the user's code.
    pub(crate) fn key<Request>(&self, request: &Request) -> Option<K::Key>
    where
        K: KeyBy<Request>,
    {
        foreign(|| self.keying.key(request))
    }

    /// The state of a key; the common state without one.
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
                Insertion::At(state) => return state,
                Insertion::CompareFirst(known) if foreign(|| *known.key == *key) => return known.state,
                Insertion::CompareFirst(known) => after = known.number,
                Insertion::Forgot(forgotten) => foreign(|| drop(forgotten)),
            }
        }
    }

    /// Sets the maximum number of keys. If it is lower than before, call [`shrink`](Self::shrink) when no lock is held.
    pub(crate) fn set_max_keys(&self, max_keys: usize) {
        lock(&self.table).set_max(max_keys);
    }

    /// Forgets states beyond the bound that are as good as new. The others are forgotten as new keys arrive.
    pub(crate) fn shrink(&self) {
        let (now, mut checks_left) = (time::now(), self.len());
        while checks_left > 0 {
            // In batches, so that no call waits for all of it. Dropped one by one, as a key's drop may panic.
            let mut few = BATCH.min(checks_left);
            checks_left -= few;
            while let Some(forgotten) = self.forget_one(now, &mut few) {
                foreign(|| drop(forgotten));
            }
        }
    }

    fn forget_one(&self, now: Instant, checks_left: &mut usize) -> Option<table::TableEntry<K::Key, T>> {
        lock(&self.table).forget_one_over_max(now, checks_left)
    }

    /// The state that requests without a key share.
    pub(crate) fn common(&self) -> &Arc<T> {
        &self.common
    }

    /// Visits every state: the common one, the shared ones, and those of the keys. A state that is made meanwhile may be visited or
    /// not. No lock is held while `visit` runs.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&T)) {
        self.for_each_without_key(&mut visit);
        self.for_each_after(usize::MAX, EntryPosition::BEGIN, visit);
    }

    fn for_each_without_key(&self, mut visit: impl FnMut(&T)) {
        visit(&self.common);
        let shared = lock(&self.table).shared();
        shared.iter().for_each(|state| visit(state));
    }

    /// Visits at most `count` states after a position, and returns where it stopped, if there may be more.
    fn for_each_after(&self, count: usize, after: EntryPosition, mut visit: impl FnMut(&T)) -> Option<EntryPosition> {
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
