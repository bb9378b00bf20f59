//! What the components of a registry have published so far.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ground::layer_id::LayerId;
use crate::ground::sync::global::{Mutex, lock};
use crate::telemetry::{Counted, Gauge, Instruments, Publication};

/// How many components that were named since the last publication are remembered (about 100 bytes each, and their counters). In a
/// process that never publishes, the oldest are forgotten.
const MAX_UNPUBLISHED: usize = 1024;

/// What the components of a registry have published, by layer value.
pub(super) type Publications = BTreeMap<LayerId, ComponentPublication>;

/// The counters of one component, and how much of them has been published.
pub(super) struct ComponentPublication {
    pub(super) counted: Arc<Counted>,
    pub(super) publication: Publication,
}

impl ComponentPublication {
    pub(super) fn new(id: LayerId, counted: Arc<Counted>) -> Self {
        let publication = Publication::new(&counted.name, id.kind());
        Self { counted, publication }
    }

    pub(super) fn publish(&mut self, gauges: Vec<(Gauge, f64)>) {
        self.publication.publish(&self.counted.tally, Some(&self.counted.calls), gauges);
    }
}

/// The counters of components that were named since the last publication. Such a component may be dropped before the next one, and
/// its counts would be lost.
#[derive(Default)]
pub(super) struct Unpublished(Mutex<VecDeque<(LayerId, Arc<Counted>)>>);

impl Unpublished {
    pub(super) fn add(&self, instruments: &Instruments) {
        let Some(named) = instruments.named() else { return };
        let mut named_since = lock(&self.0);
        let oldest = if named_since.len() < MAX_UNPUBLISHED { None } else { named_since.pop_front() };
        named_since.push_back((instruments.layer_id(), Arc::clone(&named.counted)));
        drop(named_since);
        drop(oldest);
    }

    /// Adds them to what is published.
    pub(super) fn move_to(&self, publications: &mut Publications) {
        let named_since = std::mem::take(&mut *lock(&self.0));
        for (id, counted) in named_since {
            publications.entry(id).or_insert_with(|| ComponentPublication::new(id, counted));
        }
    }
}
