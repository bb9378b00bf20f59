//! State per key: one by default, as many as there are hosts, tenants or shards when a layer is told how to tell requests
//! apart.
//!
//! The number of keys is bounded. When a new key comes and there is no room, the state of the key that has been idle the
//! longest is forgotten; when none is idle, the new key shares the *common* state until there is room. So memory is
//! bounded, and no request is ever refused for lack of room here.

mod table;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use self::table::Table;
use crate::ground::sync::{Arc, Mutex, lock};

/// The type of the keys by which something tells requests apart.
///
/// This half of [`KeyBy`] does not know the request, so that a layer's type needs not name it.
pub trait Keying: Send + Sync + 'static {
    /// What requests with a common state have in common: an authority, a tenant, a shard.
    type Key: Hash + Eq + Clone + Send + Sync + 'static;
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
    Key: Hash + Eq + Clone + Send + Sync + 'static,
{
    type Key = Key;
}

impl<F, Key, Request> KeyBy<Request> for ByKey<F, Key>
where
    F: Fn(&Request) -> Key + Send + Sync + 'static,
    Key: Hash + Eq + Clone + Send + Sync + 'static,
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

/// The states of a layer value: one for each key, and a common one.
///
/// What a call holds of a state must hold the [`Arc`] it got: that is how the store knows which keys are in use.
pub(crate) struct Keyed<K: Keying, T> {
    keying: K,
    common: Arc<T>,
    table: Mutex<Table<K::Key, T>>,
}

impl<K: Keying, T> Keyed<K, T> {
    /// Room for `max_keys` keys, and the common state. Nothing is allocated for keys that have not been seen.
    pub(crate) fn new(keying: K, max_keys: usize, common: T) -> Self {
        Self { keying, common: Arc::new(common), table: Mutex::new(Table::new(max_keys)) }
    }

    /// The state of the request's key, made by `make` if the key is new. `make` runs under the store's lock.
    ///
    /// Without keys this is an `Arc` clone; with keys a hash of the key under a lock, and the same time however many
    /// keys there are.
    pub(crate) fn get<Request>(&self, request: &Request, make: impl FnOnce() -> T) -> Arc<T>
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
        self.keying.key(request)
    }

    /// The state of a key; the common one without any.
    pub(crate) fn of_key(&self, key: Option<K::Key>, make: impl FnOnce() -> T) -> Arc<T> {
        // The key's clones, hash and drop are the user's code: they happen under the lock.
        let Some(key) = key else {
            return Arc::clone(&self.common);
        };
        let (state, forgotten) = lock(&self.table).get_or_make(key, make);
        drop(forgotten);
        state.unwrap_or_else(|| Arc::clone(&self.common))
    }

    /// Makes room for so many keys. If that is less than before, idle ones are forgotten at once, and those in use when they
    /// are idle. What is returned was forgotten, and is to be dropped where foreign code may run.
    #[must_use]
    pub(crate) fn set_max_keys(&self, max_keys: usize) -> Vec<(K::Key, Arc<T>)> {
        lock(&self.table).set_max(max_keys)
    }

    /// The state that requests without a key share, and those for whose key there is no room.
    pub(crate) fn common(&self) -> &Arc<T> {
        &self.common
    }

    /// Every state there is now, the common one first: for handles that show a sum or change a setting.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let mut all = vec![Arc::clone(&self.common)];
        all.extend(lock(&self.table).states().cloned());
        all
    }

    /// How many keys have a state of their own now.
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).len()
    }
}

impl<K: Keying, T> fmt::Debug for Keyed<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.len()).finish_non_exhaustive()
    }
}
