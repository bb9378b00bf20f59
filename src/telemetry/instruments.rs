//! The instruments of one layer value: its counters and its name.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use super::calls::Calls;
use super::counted::{Counted, tally};
use super::directory;
use super::tally::Tally;
use crate::ground::layer_id::{LayerId, LayerKind};
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;

/// See the module. Without a name they are a few words, and events count with all other nameless layers of the kind. Clones share
/// the same instruments.
#[derive(Clone)]
pub(crate) struct Instruments {
    layer_id: LayerId,
    inner: Arc<SharedInstruments>,
}

struct SharedInstruments {
    layer_id: LayerId,
    named: OnceLock<Named>,
}

/// The data of a named layer.
pub(crate) struct Named {
    pub(crate) since: Instant,
    pub(crate) counted: Arc<Counted>,
    /// The registration, released when the instruments are dropped.
    pub(crate) registration: Box<dyn Any + Send + Sync>,
}

impl Instruments {
    pub(crate) fn new(kind: LayerKind) -> Self {
        Self::of(LayerId::unique(kind))
    }

    fn of(layer_id: LayerId) -> Self {
        Self { layer_id, inner: Arc::new(SharedInstruments { layer_id, named: OnceLock::new() }) }
    }

    /// The instruments of all nameless layers of a kind. Their calls are not counted.
    pub(crate) fn nameless(kind: LayerKind) -> Self {
        static NAMELESS: LazyLock<[Instruments; LayerKind::ALL.len()]> =
            LazyLock::new(|| LayerKind::ALL.map(|kind| Instruments::of(LayerId::nameless(kind))));
        NAMELESS[kind as usize].clone()
    }

    /// Sets the name, unless there is one. `registration` is dropped with the instruments.
    pub(crate) fn give_name(&self, name: Arc<str>, since: Instant, registration: Box<dyn Any + Send + Sync>) {
        self.inner.named.get_or_init(|| {
            let counted = Arc::new(Counted { name, calls: Calls::default(), tally: Tally::new() });
            // Before the name is visible. Otherwise a lookup could count a call as nameless that this layer counts.
            directory::insert(self.layer_id, Arc::clone(&counted));
            Named { since, counted, registration }
        });
    }

    #[inline]
    pub(crate) fn named(&self) -> Option<&Named> {
        self.inner.named.get()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.named().map(|named| &*named.counted.name)
    }

    #[inline]
    pub(crate) fn layer_id(&self) -> LayerId {
        self.layer_id
    }

    pub(crate) fn kind(&self) -> LayerKind {
        self.layer_id.kind()
    }

    pub(crate) fn tally(&self) -> &Tally {
        tally(self.named().map(|named| &*named.counted), self.layer_id)
    }

    /// Counts an admitted call.
    #[inline]
    pub(crate) fn pass(&self) {
        if let Some(named) = self.named() {
            named.counted.tally.passed.add();
        }
    }

    /// Records the end of a call. Returns whether the layer has a name.
    #[inline]
    pub(crate) fn record(&self, verdict: Verdict, took: Duration) -> bool {
        match self.named() {
            Some(named) => {
                named.counted.calls.record(verdict, took);
                true
            }
            None => false,
        }
    }
}

impl Drop for SharedInstruments {
    fn drop(&mut self) {
        if self.named.get().is_some() {
            directory::remove(self.layer_id);
        }
    }
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instruments").field("layer", &self.kind()).field("name", &self.name()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use crate::ground::time;

    fn named(name: &str) -> Instruments {
        let instruments = Instruments::new(LayerKind::Bulkhead);
        instruments.give_name(name.into(), time::now(), Box::new(()));
        instruments
    }

    #[test]
    fn counters_are_found_by_id_while_the_layer_exists() {
        let found = |layer_id| directory::find(layer_id).map(|counted| counted.name.to_string());
        let first = named("first");
        let layer_id = first.layer_id();
        assert_eq!(found(layer_id).as_deref(), Some("first"));
        assert_eq!(found(Instruments::new(LayerKind::Retry).layer_id()), None);
        drop(first);
        let others: Vec<_> = (0..64).map(|_| named("other")).collect();
        assert_eq!((found(layer_id), layer_id.kind()), (None, LayerKind::Bulkhead));
        assert!(others.iter().all(|other| other.layer_id() != layer_id && found(other.layer_id()).is_some()));
    }
}
