//! The counters of a layer, and where they are.

use std::sync::Arc;

use super::calls::Calls;
use super::tally::Tally;
use crate::ground::layer_id::{LayerId, LayerKind};

/// The counters of a named layer. The publisher keeps them a little longer than the layer exists, to publish the last counts.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) name: Arc<str>,
    pub(crate) calls: Calls,
    pub(crate) tally: Tally,
}

/// The counts of all nameless layers of a kind.
pub(super) fn nameless_tally(kind: LayerKind) -> &'static Tally {
    static TALLIES: [Tally; LayerKind::ALL.len()] = [const { Tally::new() }; LayerKind::ALL.len()];
    &TALLIES[kind as usize]
}

/// The counters of a layer: its own if it has a name, otherwise those of all nameless layers of its kind.
pub(super) fn tally(counted: Option<&Counted>, layer_id: LayerId) -> &Tally {
    counted.map_or_else(|| nameless_tally(layer_id.kind()), |counted| &counted.tally)
}
