//! How calls return to a better tier: as slowly as to an endpoint that is back.
//!
//! A tier that was down comes back cold as a whole. [Slow start](super::slow_start) spreads the calls within a tier, so it has no effect there,
//! and all calls would return to cold endpoints at once. So the part of the calls that a tier or a better one gets grows over the window of the
//! slow start, by its factor. It shrinks at once: what is less healthy gets fewer calls without delay.
//!
//! Two things end a return early. A tier never carries more on the way than its health allows, so the calls of standbys that fail meanwhile
//! are back at once. And where no tier got calls before, as at the start of a client, there is nothing to return from.

use super::slow_start::SlowStart;
use crate::ground::time::Instant;

/// A tier when the shares change. All are parts of the calls, in percent; the first three of the tier and all better ones together.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReturningTier {
    /// What they get now.
    pub(super) gets: f64,
    /// What they would have got in the end by the former shares.
    pub(super) former: u32,
    /// What they get in the end.
    pub(super) target: u32,
    /// The most that the tier itself carries.
    pub(super) carries: u32,
}

/// What the tiers got before, and since when that changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TierReturn {
    /// For each tier: the part of the calls, in percent, that it or a better one got.
    from: Box<[f64]>,
    since: Instant,
    /// How far the slow start was then.
    begun_at: f64,
    slow_start: SlowStart,
}

impl TierReturn {
    /// If calls move to better tiers: how they do. It goes on with a return that is under way.
    pub(super) fn new(
        tiers: &[ReturningTier],
        under_way: Option<&Self>,
        slow_start: &SlowStart,
        now: Instant,
    ) -> Option<Self> {
        if slow_start.window.is_zero() {
            return None;
        }
        let grows = tiers.iter().any(|tier| tier.target > tier.former);
        let (since, begun_at) = match under_way {
            // Another change does not begin it anew.
            Some(under_way) if !grows => (under_way.since, slow_start.factor(now.since(under_way.since))),
            _ => (now, 0.0),
        };
        let mut from: Box<[f64]> = tiers.iter().map(|tier| tier.gets.min(tier.target.into())).collect();
        // What a tier cannot carry goes to a better one at once.
        let mut rest = tiers.last()?.target.into();
        for (got, tier) in from.iter_mut().zip(tiers).rev() {
            *got = got.max(rest);
            rest = (*got - f64::from(tier.carries)).max(0.0);
        }
        let is_under_way = begun_at < 1.0 && from.iter().zip(tiers).any(|(got, tier)| *got < tier.target.into());
        is_under_way.then_some(Self { from, since, begun_at, slow_start: *slow_start })
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.since(self.since) >= self.slow_start.window
    }

    /// The part of the calls, in percent, that a tier or a better one gets now.
    pub(super) fn up_to(&self, tier: usize, target: u32, now: Instant) -> f64 {
        let (from, to) = (self.from.get(tier).copied().unwrap_or(0.0), f64::from(target));
        let done = (self.slow_start.factor(now.since(self.since)) - self.begun_at) / (1.0 - self.begun_at);
        from + (to - from) * done
    }
}
