//! Which tier gets a call: priority levels with overprovisioning.
//!
//! The first tier gets all calls while enough of its endpoints are healthy. With fewer, a growing part of the calls goes to the next
//! tier, before the first one is overloaded. The arithmetic is that of Envoy ("Priority levels" and "Panic threshold" in its
//! documentation), in whole percent:
//!
//! ```text
//! health(tier) = min(100, 140 · healthy / total)                 all of the load down to 71.4 % healthy
//! total        = min(100, sum of health)
//! share(tier)  = min(what is left, health(tier) · 100 / total)   in the order of the tiers
//! ```
//!
//! While the total is 100, health is enough in sum and no tier panics. Below that, a tier with less than `panic_below` percent of
//! healthy endpoints *panics*: its calls go to all of its endpoints, because to send them all to the few healthy ones would take those
//! down too. If no endpoint is healthy at all, the first tier gets all calls and panics.
//!
//! Envoy's documentation has two tables that differ: the one on panic lists 50/60 % healthy as 50/50 and 25/100 % as 25/75. Its
//! formula and the table on priority levels give 70/30 and 35/65, and so does this module.
//!
//! A tier without a share gets no calls, and so no probes for its half-open breakers. [`TierShares::passed_over`] lists the tiers for
//! which the owner has to look for probes itself.
//!
//! Health is not capacity. If all permits of the tier are taken, [`TierShares::choose`] takes the next one, call by call: a standby
//! carries the overflow and nothing more, and calls return as soon as the tier has a free permit.
//!
//! Shares that move calls to a better tier are reached slowly, see [`tier_return`](super::tier_return).

use super::slow_start::SlowStart;
use super::tier_return::{ReturningTier, TierReturn};
use crate::ground::time::Instant;

/// The endpoints of a tier. One that is ejected, isolated by hand or draining counts as unhealthy, as does one whose circuit breaker is
/// open or half-open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TierHealth {
    pub(crate) healthy: u32,
    pub(crate) total: u32,
}

/// How tiers share the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overprovisioning {
    /// In percent: with 140 a tier carries all calls while 100/140 of its endpoints are healthy.
    pub(crate) factor: u32,
    /// A tier with a smaller percentage of healthy endpoints may panic. Zero turns panic off.
    pub(crate) panic_below: u32,
}

impl Default for Overprovisioning {
    fn default() -> Self {
        Self { factor: 140, panic_below: 50 }
    }
}

/// The share of each tier. Computed when health changes, read by each call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TierShares {
    tiers: Box<[TierShare]>,
    only: Option<TierChoice>,
    /// Calls are on their way to these shares.
    returning: Option<TierReturn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TierShare {
    percent: u32,
    /// The sum up to here.
    up_to: u32,
    /// What its health allows: `health(tier)` of the module.
    health: u32,
    /// There is an endpoint that may get a call: a healthy one, or any one in a panic.
    usable: bool,
    panics: bool,
}

/// The tier of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TierChoice {
    pub(crate) tier: usize,
    /// The tier that the shares name is full, and this one stands in.
    pub(crate) overflow: bool,
}

impl Overprovisioning {
    /// The shares of tiers in the order of their priority.
    pub(crate) fn shares(&self, tiers: &[TierHealth]) -> TierShares {
        let percent = |tier: &TierHealth, factor: u32| {
            let scaled = u64::from(tier.healthy.min(tier.total)) * u64::from(factor);
            u32::try_from(scaled.checked_div(tier.total.into()).unwrap_or(0).min(100)).unwrap_or(100)
        };
        let sum: u32 = tiers.iter().fold(0, |sum, tier| (sum + percent(tier, self.factor)).min(100));
        let mut left = 100;
        let mut shares: Box<[TierShare]> = tiers
            .iter()
            .map(|tier| {
                let scaled = percent(tier, self.factor) * 100;
                // Rounded, and never more than the rest.
                let share = (scaled + sum / 2).checked_div(sum).unwrap_or(0).min(left);
                left -= share;
                let few = tier.total > 0 && percent(tier, 100) < self.panic_below;
                let panics = sum < 100 && few;
                let health = percent(tier, self.factor);
                TierShare { percent: share, up_to: 0, health, usable: tier.healthy > 0 || panics, panics }
            })
            .collect();
        // What rounding has left, or everything if nothing is healthy.
        let rest = shares.iter().position(|share| if sum == 0 { share.usable } else { share.percent > 0 });
        if let Some(share) = rest.and_then(|tier| shares.get_mut(tier)) {
            share.percent += left;
        }
        let mut sum = 0;
        for share in &mut shares {
            sum += share.percent;
            share.up_to = sum;
        }
        let only = shares.iter().position(|share| share.percent == 100 && share.usable);
        TierShares { only: only.map(|tier| TierChoice { tier, overflow: false }), tiers: shares, returning: None }
    }
}

impl TierShares {
    /// These shares after others: calls return to better tiers slowly. `ranks` names for a tier the last one of the former tiers that
    /// ranks no lower.
    pub(crate) fn after(
        mut self,
        before: &Self,
        ranks: impl Fn(usize) -> Option<usize>,
        slow_start: &SlowStart,
        now: Instant,
    ) -> Self {
        // Before, no tier got calls.
        if before.tiers.last().is_none_or(|last| last.up_to == 0) {
            return self;
        }
        let tiers: Vec<_> = (0..self.tiers.len())
            .map(|tier| {
                let former = ranks(tier);
                ReturningTier {
                    gets: former.map_or(0.0, |former| before.up_to_at(former, now)),
                    former: former.map_or(0, |former| before.up_to(former)),
                    target: self.up_to(tier),
                    carries: self.carries(tier),
                }
            })
            .collect();
        self.returning = TierReturn::new(&tiers, before.returning.as_ref(), slow_start, now);
        self
    }

    /// The share of a tier and all better ones in percent, once no calls are on their way.
    fn up_to(&self, tier: usize) -> u32 {
        self.tiers.get(tier).map_or(0, |share| share.up_to)
    }

    /// The share of a tier and all better ones in percent.
    fn up_to_at(&self, tier: usize, now: Instant) -> f64 {
        let target = self.up_to(tier);
        self.returning.as_ref().map_or(target.into(), |returning| returning.up_to(tier, target, now))
    }

    /// The most that a tier gets while calls return, in percent.
    fn carries(&self, tier: usize) -> u32 {
        self.tiers.get(tier).map_or(0, |share| share.percent.max(share.health))
    }

    /// The share of a tier in percent, once no calls are on their way.
    pub(crate) fn percent(&self, tier: usize) -> u32 {
        self.tiers.get(tier).map_or(0, |share| share.percent)
    }

    /// Whether a tier panics: the health of its endpoints does not count.
    pub(crate) fn panics(&self, tier: usize) -> bool {
        self.tiers.get(tier).is_some_and(|share| share.panics)
    }

    /// The tiers without a share that rank before one that has a share. They get all their calls back once they are healthy.
    pub(crate) fn passed_over(&self) -> impl Iterator<Item = usize> + '_ {
        let last = self.tiers.iter().rposition(|share| share.percent > 0).unwrap_or(0);
        (0..last).filter(|tier| self.percent(*tier) == 0)
    }

    /// The tier that gets all calls, if there is one.
    #[inline]
    pub(crate) fn only(&self, now: Instant) -> Option<TierChoice> {
        let is_reached = self.returning.as_ref().is_none_or(|returning| returning.is_over(now));
        if is_reached { self.only } else { None }
    }

    /// The tier of a call; `chance` is in `0.0..1.0`. If it has no capacity, the next one that has; then earlier ones. `None` if no
    /// tier has: the call waits for the first permit of any.
    #[inline]
    pub(crate) fn choose(&self, has_capacity: impl Fn(usize) -> bool, chance: f64, now: Instant) -> Option<TierChoice> {
        let drawn = self.draw(chance, now)?;
        let later = drawn..self.tiers.len();
        later.chain(0..drawn).find_map(|tier| {
            let share = self.tiers.get(tier)?;
            let fits = share.usable && has_capacity(tier);
            fits.then_some(TierChoice { tier, overflow: tier != drawn })
        })
    }

    fn draw(&self, chance: f64, now: Instant) -> Option<usize> {
        (0..self.tiers.len()).find(|tier| chance * 100.0 < self.up_to_at(*tier, now))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod return_tests;
#[cfg(all(test, not(seawall_loom)))]
mod tests;
