//! What a layer counts, and where.

use std::sync::Arc;

use super::calls::Calls;
use super::tally::Tally;
use crate::ground::layer_id::{LayerId, LayerKind};

/// What is counted under a name. Whoever publishes it keeps it a little longer than the layer is there, to tell it to the end.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) name: Arc<str>,
    pub(crate) calls: Calls,
    pub(crate) tally: Tally,
}

/// What all nameless layers of a kind have counted.
pub(super) fn nameless_tally(kind: LayerKind) -> &'static Tally {
    static TALLIES: [Tally; LayerKind::ALL.len()] = [const { Tally::new() }; LayerKind::ALL.len()];
    &TALLIES[kind as usize]
}

/// Where a layer counts: its own counters if it has a name, else those of all nameless layers of its kind.
pub(super) fn tally(counted: Option<&Counted>, layer_id: LayerId) -> &Tally {
    counted.map_or_else(|| nameless_tally(layer_id.kind()), |counted| &counted.tally)
}
