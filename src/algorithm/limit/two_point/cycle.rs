//! What the windows of one cycle say: how much longer calls take at the upper level than at the lower one.

use super::window::Summary;

/// The upper level is above the knee by this share. So the usual ratio is one and this.
pub(super) const SLACK: f64 = 0.33;

/// How far the usual ratio must be away, in standard errors, for a decision without the last window.
pub(super) const CERTAIN: f64 = 2.5;

/// The windows of a cycle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cycle {
    pub(super) high: Summary,
    pub(super) low: Summary,
    /// The upper level again. A drift of the times by itself cancels in the mean of the window before and the window after.
    pub(super) again: Option<Summary>,
    /// The logarithm of the upper level over the lower one: calls cannot take longer by more.
    pub(super) most: f64,
    /// The variance of a single sample.
    pub(super) noise: f64,
}

/// The logarithm of the times at the upper level over those at the lower one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratio {
    raw: f64,
    /// Its standard error.
    pub(super) error: f64,
    most: f64,
}

impl Cycle {
    /// `None` if the service itself changed meanwhile.
    pub(super) fn ratio(&self) -> Option<Ratio> {
        let Self { high, low, again, most, noise } = *self;
        let last = again.unwrap_or(high);
        let slope = (high.slope + last.slope) / 4.0 + low.slope / 2.0;
        let raw = ((high.mean + last.mean) / 2.0 - low.mean) / slope;
        let drift = (last.mean - high.mean) / slope;
        let upper = match again {
            Some(again) => (noise / high.count + noise / again.count) / 4.0,
            None => noise / high.count,
        };
        // A steady drift cancels, a sudden one does not.
        let error = (upper + noise / low.count + (drift / 4.0).powi(2)).sqrt();
        let usual_drift = (noise / high.count + noise / last.count).sqrt();
        (drift.abs() <= most + 3.0 * usual_drift).then_some(Ratio { raw, error, most })
    }
}

impl Ratio {
    /// Within what is possible. Below zero it is noise, and stays, so that noise in both directions cancels over the cycles.
    pub(super) fn bounded(&self) -> f64 {
        self.raw.clamp(-self.most / 2.0, self.most)
    }

    /// Whether there is no queue, rather than one of the usual ratio.
    pub(super) fn is_free(&self, usual: f64) -> bool {
        self.raw < 0.5 * self.most.min(usual)
    }

    /// Whether calls certainly queue at the upper level.
    pub(super) fn is_queue(&self) -> bool {
        self.raw >= CERTAIN * self.error
    }

    /// Whether the knee seems to be below the lower level.
    pub(super) fn is_clear(&self) -> bool {
        self.raw >= self.most - 0.5 * self.error
    }

    /// Whether the knee is below the lower level, and the usual ratio is out of the question.
    pub(super) fn is_certain(&self) -> bool {
        self.raw >= self.most - self.error && self.most - SLACK.ln_1p() >= CERTAIN * self.error
    }
}
