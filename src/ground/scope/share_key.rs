//! The key by which calls share queues fairly.

use std::num::NonZeroU32;

/// The hash of a key whose calls share the queues fairly with those of other keys.
///
/// Different keys with one hash would share their turns. With a random seed, hardly ever do two of the keys that a process serves at a
/// time, and no caller can choose a key that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShareKey(NonZeroU32);

impl ShareKey {
    pub(crate) fn of_hash(hash: u64) -> Self {
        Self(NonZeroU32::new((hash >> 32) as u32).unwrap_or(NonZeroU32::MIN))
    }

    /// Zero without a key.
    #[inline]
    pub(super) fn bits(key: Option<Self>) -> u32 {
        key.map_or(0, |Self(key)| key.get())
    }

    #[inline]
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }
}
