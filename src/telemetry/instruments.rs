//! The instruments of one layer value: what it counts, and under which name.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};
use std::time::Duration;

use super::calls::Calls;
use super::tally::Tally;
use crate::ground::sync::global::{Mutex, lock};
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;

/// Which layer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LayerKind {
    Deadline,
    Retry,
    Bulkhead,
    CircuitBreaker,
    RateLimit,
    LoadShed,
    /// No layer, but the settings of all of them.
    Settings,
}

impl LayerKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Deadline,
        Self::Retry,
        Self::Bulkhead,
        Self::CircuitBreaker,
        Self::RateLimit,
        Self::LoadShed,
        Self::Settings,
    ];

    /// The layer in one word, as errors, logs and metrics have it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Retry => "retry",
            Self::Bulkhead => "bulkhead",
            Self::CircuitBreaker => "circuit_breaker",
            Self::RateLimit => "rate_limit",
            Self::LoadShed => "load_shed",
            Self::Settings => "settings",
        }
    }
}

/// Whose bound or refusal it is, in two words that a call can carry along: the instruments are looked up when there is something
/// to report. A call that is refused cheaply has them at hand and does not look.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    id: u64,
    /// Where its instruments can be found; none for the nameless of a kind.
    desk: Option<&'static Desk>,
}

/// Where the instruments of one layer value can be found for as long as they are there, so that calls which end at the same time
/// wait for those of their own layer only, and not for one lock of the process.
///
/// Desks live as long as the process, and are used again: there are as many as there were layer values at one time.
#[derive(Default)]
struct Desk(Mutex<Option<(u64, Weak<Inner>)>>);

/// The desks that are not in use.
static FREE_DESKS: Mutex<Vec<&'static Desk>> = Mutex::new(Vec::new());

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Source {}

const KIND_BITS: u32 = 3;

impl Source {
    /// Of any layer of a kind that has no name.
    pub(crate) const fn nameless(kind: LayerKind) -> Self {
        Self { id: kind as u64, desk: None }
    }

    #[cfg(feature = "metrics")]
    pub(crate) const fn id(self) -> u64 {
        self.id
    }

    fn kind(self) -> LayerKind {
        LayerKind::ALL[(self.id & ((1 << KIND_BITS) - 1)) as usize % LayerKind::ALL.len()]
    }

    pub(crate) fn layer(self) -> &'static str {
        self.kind().as_str()
    }

    /// Those of the layer value, if it has a name and is still there; else those that the nameless of its kind share.
    pub(crate) fn instruments(self) -> Instruments {
        let found = self.desk.and_then(|desk| match &*lock(&desk.0) {
            Some((id, inner)) if *id == self.id => inner.upgrade(),
            _ => None,
        });
        found.map_or_else(|| Instruments::nameless(self.kind()), |inner| Instruments { source: self, inner })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.layer())
    }
}

/// See the module. Without a name they are a few words, and what happens is counted with all other nameless layers of the kind.
/// Clones are handles of the same instruments.
#[derive(Clone)]
pub(crate) struct Instruments {
    source: Source,
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    named: OnceLock<Named>,
}

/// What comes with a name.
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) since: Instant,
    pub(crate) counted: Arc<Counted>,
    /// The place in a registry, given back when the instruments are dropped.
    pub(crate) registration: Box<dyn Any + Send + Sync>,
}

/// What is counted under a name. Whoever publishes it keeps it a little longer than the layer is there, to tell it to the end.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) calls: Calls,
    pub(crate) tally: Tally,
}

impl Instruments {
    pub(crate) fn new(kind: LayerKind) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let free = lock(&FREE_DESKS).pop();
        let desk = free.unwrap_or_else(|| Box::leak(Box::default()));
        Self::of(Source { id: number << KIND_BITS | kind as u64, desk: Some(desk) })
    }

    fn of(source: Source) -> Self {
        Self { source, inner: Arc::new(Inner { source, named: OnceLock::new() }) }
    }

    /// Those of all layers of a kind that have no name. Their calls are not counted.
    pub(crate) fn nameless(kind: LayerKind) -> Self {
        static NAMELESS: LazyLock<[Instruments; LayerKind::ALL.len()]> =
            LazyLock::new(|| LayerKind::ALL.map(|kind| Instruments::of(Source::nameless(kind))));
        NAMELESS[kind as usize].clone()
    }

    /// What the nameless of a kind have counted.
    pub(crate) fn nameless_tally(kind: LayerKind) -> &'static Tally {
        static TALLIES: [Tally; LayerKind::ALL.len()] = [const { Tally::new() }; LayerKind::ALL.len()];
        &TALLIES[kind as usize]
    }

    /// Gives them a name, unless they have one. `registration` is dropped with them.
    pub(crate) fn give_name(&self, name: Arc<str>, since: Instant, registration: Box<dyn Any + Send + Sync>) {
        let counted = Arc::new(Counted { calls: Calls::default(), tally: Tally::new() });
        let named_now = Named { name, since, counted, registration };
        if self.inner.named.set(named_now).is_ok() {
            if let Some(desk) = self.source.desk {
                *lock(&desk.0) = Some((self.source.id, Arc::downgrade(&self.inner)));
            }
        }
    }

    #[inline]
    pub(crate) fn named(&self) -> Option<&Named> {
        self.inner.named.get()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.named().map(|named| &*named.name)
    }

    #[inline]
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    pub(crate) fn kind(&self) -> LayerKind {
        self.source.kind()
    }

    pub(crate) fn tally(&self) -> &Tally {
        match self.named() {
            Some(named) => &named.counted.tally,
            None => Self::nameless_tally(self.kind()),
        }
    }

    /// A call was let start.
    #[inline]
    pub(crate) fn pass(&self) {
        if let Some(named) = self.named() {
            named.counted.tally.passed.add();
        }
    }

    /// A call has ended. Says whether anyone is interested.
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

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(desk) = self.source.desk {
            let gone = lock(&desk.0).take();
            drop(gone);
            lock(&FREE_DESKS).push(desk);
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
    fn source_finds_its_instruments_while_they_are_there_and_never_others() {
        let first = named("first");
        let source = first.source();
        assert_eq!(source.instruments().name(), Some("first"));
        assert_eq!(Instruments::new(LayerKind::Retry).source().instruments().name(), None);
        drop(first);
        // One of these stands where it stood.
        let others: Vec<_> = (0..64).map(|_| named("other")).collect();
        assert_eq!((source.instruments().name(), source.layer()), (None, "bulkhead"));
        assert!(others.iter().all(|other| other.source() != source && other.source().instruments().name().is_some()));
    }
}
