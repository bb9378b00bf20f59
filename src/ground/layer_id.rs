//! The identity of a layer value, in one word.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kind of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LayerKind {
    Deadline,
    Retry,
    Bulkhead,
    CircuitBreaker,
    RateLimit,
    Throttle,
    LoadShed,
    Hedge,
    Quorum,
    Quarantine,
    Fallback,
    Chaos,
    Balance,
    /// No layer: the settings of a whole stack.
    Settings,
}

impl LayerKind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Deadline,
        Self::Retry,
        Self::Bulkhead,
        Self::CircuitBreaker,
        Self::RateLimit,
        Self::Throttle,
        Self::LoadShed,
        Self::Hedge,
        Self::Quorum,
        Self::Quarantine,
        Self::Fallback,
        Self::Chaos,
        Self::Balance,
        Self::Settings,
    ];

    /// The layer in one word, for errors, logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Retry => "retry",
            Self::Bulkhead => "bulkhead",
            Self::CircuitBreaker => "circuit_breaker",
            Self::RateLimit => "rate_limit",
            Self::Throttle => "throttle",
            Self::LoadShed => "load_shed",
            Self::Hedge => "hedge",
            Self::Quorum => "quorum",
            Self::Quarantine => "quarantine",
            Self::Fallback => "fallback",
            Self::Chaos => "chaos",
            Self::Balance => "balance",
            Self::Settings => "settings",
        }
    }
}

/// The number and the kind of a layer value. Calls and bounds carry it, and `telemetry` finds the layer's counters by it for a
/// report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LayerId(u64);

const KIND_BITS: u32 = 4;

impl LayerId {
    /// The id of a new layer value of this kind, unique in this process.
    pub(crate) fn unique(kind: LayerKind) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self(number << KIND_BITS | kind as u64)
    }

    /// The id of all nameless layers of a kind.
    pub(crate) const fn nameless(kind: LayerKind) -> Self {
        Self(kind as u64)
    }

    /// The number of the layer value in this process, across all kinds.
    pub(crate) const fn number(self) -> u64 {
        self.0 >> KIND_BITS
    }

    pub(crate) fn kind(self) -> LayerKind {
        LayerKind::ALL[(self.0 & ((1 << KIND_BITS) - 1)) as usize % LayerKind::ALL.len()]
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_id_is_unique_and_keeps_its_kind() {
        let ids = LayerKind::ALL.map(LayerId::unique);
        assert_eq!(ids.map(LayerId::kind), LayerKind::ALL);
        assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1 && id.number() > 0));
        assert_eq!(LayerKind::ALL.map(|kind| LayerId::nameless(kind).kind()), LayerKind::ALL);
    }
}
