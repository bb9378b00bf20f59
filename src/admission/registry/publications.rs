//! What the components of a registry have published so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ground::layer_id::LayerId;
use crate::telemetry::{Counted, Gauge, Publication};

/// What the components of a registry have published, by layer value.
pub(super) type Publications = BTreeMap<LayerId, ComponentPublication>;

/// The counters of one component, and how much of them has been published.
pub(super) struct ComponentPublication {
    pub(super) counted: Arc<Counted>,
    pub(super) publication: Publication,
}

impl ComponentPublication {
    pub(super) fn publish(&mut self, gauges: Vec<(Gauge, f64)>) {
        self.publication.publish(&self.counted.tally, Some(&self.counted.calls), gauges);
    }
}
