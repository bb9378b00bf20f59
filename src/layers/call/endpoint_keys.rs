//! The keys of all endpoints of the process by their number, for errors that name endpoints. A call carries only the number.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::ground::sync::global::{Mutex, lock};

static KEYS: Mutex<BTreeMap<NonZeroU64, Arc<str>>> = Mutex::new(BTreeMap::new());

pub(crate) fn insert(endpoint: NonZeroU64, key: Arc<str>) {
    lock(&KEYS).insert(endpoint, key);
}

/// Removes an endpoint that is gone.
pub(crate) fn remove(endpoint: NonZeroU64) {
    lock(&KEYS).remove(&endpoint);
}

/// The key of the endpoint, if it still exists.
pub(crate) fn find(endpoint: NonZeroU64) -> Option<Arc<str>> {
    lock(&KEYS).get(&endpoint).cloned()
}
