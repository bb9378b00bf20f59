//! A mean that remembers a bounded number of samples.

/// The most samples that the mean remembers: its standard error is then an eighth of the samples' deviation.
const MAX_WEIGHT: f32 = 32.0;

/// Below this weight the estimate is unknown, and the next sample is the first.
pub(super) const MIN_WEIGHT: f32 = 0.5;

/// The mean in nanoseconds and the weight of its samples, packed into one word so that they change together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) nanos: f32,
    pub(super) weight: f32,
}

impl Mean {
    pub(super) fn is_unknown(self) -> bool {
        self.weight < MIN_WEIGHT
    }

    #[inline]
    pub(super) fn with(self, sample: f32) -> Self {
        if self.is_unknown() {
            return Self { nanos: sample, weight: 1.0 };
        }
        let weight = (self.weight + 1.0).min(MAX_WEIGHT);
        Self { nanos: self.nanos + (sample - self.nanos) / weight, weight }
    }

    #[inline]
    pub(super) fn pack(self) -> u64 {
        u64::from(self.nanos.to_bits()) << 32 | u64::from(self.weight.to_bits())
    }

    #[inline]
    pub(super) fn unpack(word: u64) -> Self {
        Self { nanos: f32::from_bits((word >> 32) as u32), weight: f32::from_bits(word as u32) }
    }
}
