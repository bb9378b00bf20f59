//! Quantiles that follow samples by steps on a logarithmic scale.

use std::time::Duration;

use super::mean::MIN_WEIGHT;
use crate::ground::sync::atomic::{AtomicU32, Ordering};
use crate::ground::time::nanos;

/// With fewer samples the quantiles are unknown: the first calls include all setup, or hang, and say little about the next ones.
pub(super) const MIN_WEIGHT_FOR_QUANTILES: f32 = 8.0;

/// With fewer samples the median is their mean on the logarithmic scale; with more it moves by fixed steps.
const MIN_WEIGHT_FOR_STEPS: f32 = 16.0;

/// A time of one nanosecond or more, as the bits of an `f32`, which rise with its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scaled(u32);

impl Scaled {
    /// A doubling is 64 steps.
    pub(super) const STEP: u32 = 1 << 17;

    #[inline]
    pub(super) fn of(time: Duration) -> Self {
        Self((nanos(time) as f32).max(1.0).to_bits())
    }

    #[inline]
    pub(super) fn nanos(self) -> f32 {
        f32::from_bits(self.0)
    }

    pub(super) fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos() as u64)
    }
}

/// A quantile.
#[derive(Debug, Default)]
pub(super) struct Quantile(AtomicU32);

impl Quantile {
    #[inline]
    pub(super) fn get(&self) -> Scaled {
        Scaled(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn set(&self, level: u32) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Down to the sample, up by a step. The level does not decay: a time without calls does not make calls slower.
    #[inline]
    pub(super) fn follow_low(&self, Scaled(sample): Scaled, weight: f32) {
        let Scaled(level) = self.get();
        if level == 0 || sample < level {
            self.set(sample);
        } else if sample > level && weight >= MIN_WEIGHT_FOR_QUANTILES {
            self.set(sample.min(level + Scaled::STEP));
        }
    }

    /// Up by half an octave (with few samples, by up to an octave), down by a step.
    #[inline]
    pub(super) fn follow_high(&self, Scaled(sample): Scaled, weight: f32) -> Scaled {
        let Scaled(level) = self.get();
        let next = if weight < MIN_WEIGHT {
            sample
        } else if sample > level {
            let distance = sample - level;
            level + share(distance, weight).clamp(31 * Scaled::STEP, 64 * Scaled::STEP).min(distance)
        } else {
            sample.max(level.saturating_sub(Scaled::STEP))
        };
        self.set(next);
        Scaled(next)
    }

    /// Up and down by the same steps. With few samples up by half an octave at most, and down by the sample's share.
    #[inline]
    pub(super) fn follow_middle(&self, Scaled(sample): Scaled, weight: f32) {
        let Scaled(level) = self.get();
        if weight < MIN_WEIGHT {
            return self.set(sample);
        }
        let distance = sample.abs_diff(level);
        let step = if weight < MIN_WEIGHT_FOR_STEPS { share(distance, weight) } else { distance.min(4 * Scaled::STEP) };
        if sample > level {
            self.set(level + step.min(32 * Scaled::STEP));
        } else if step > 0 {
            self.set(level - step);
        }
    }
}

/// How far one more sample moves a mean of `weight` samples.
#[inline]
pub(super) fn share(distance: u32, weight: f32) -> u32 {
    (distance as f32 / (weight + 1.0)) as u32
}
