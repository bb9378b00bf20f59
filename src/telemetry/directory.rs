//! Finds the counters of a named layer by its [`LayerId`].
//!
//! Timeouts of many layers fire at the same time, so there is no process-wide lock: layers are sharded by their number, and a
//! lookup waits at most for the layers of one of [`SHARDS`] shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counted::Counted;
use crate::ground::layer_id::LayerId;
use crate::ground::sync::global::{Mutex, lock};

const SHARDS: usize = 64;

type Shard = Mutex<BTreeMap<LayerId, Arc<Counted>>>;

fn shard(layer_id: LayerId) -> &'static Shard {
    static DIRECTORY: [Shard; SHARDS] = [const { Mutex::new(BTreeMap::new()) }; SHARDS];
    &DIRECTORY[layer_id.number() as usize % SHARDS]
}

pub(super) fn insert(layer_id: LayerId, counted: Arc<Counted>) {
    lock(shard(layer_id)).insert(layer_id, counted);
}

/// Removes a dropped layer value.
pub(super) fn remove(layer_id: LayerId) {
    let gone = lock(shard(layer_id)).remove(&layer_id);
    drop(gone);
}

/// The counters of the layer, if it has a name and still exists.
pub(super) fn find(layer_id: LayerId) -> Option<Arc<Counted>> {
    lock(shard(layer_id)).get(&layer_id).cloned()
}
