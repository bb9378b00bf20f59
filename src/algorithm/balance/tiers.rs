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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TierShares {
    tiers: Box<[TierShare]>,
    only: Option<TierChoice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TierShare {
    percent: u32,
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
                TierShare { percent: share, usable: tier.healthy > 0 || panics, panics }
            })
            .collect();
        // What rounding has left, or everything if nothing is healthy.
        let rest = shares.iter().position(|share| if sum == 0 { share.usable } else { share.percent > 0 });
        if let Some(share) = rest.and_then(|tier| shares.get_mut(tier)) {
            share.percent += left;
        }
        let only = shares.iter().position(|share| share.percent == 100 && share.usable);
        TierShares { only: only.map(|tier| TierChoice { tier, overflow: false }), tiers: shares }
    }
}

impl TierShares {
    /// The share of a tier in percent.
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
    pub(crate) fn only(&self) -> Option<TierChoice> {
        self.only
    }

    /// The tier of a call; `chance` is in `0.0..1.0`. If it has no capacity, the next one that has; then earlier ones. `None` if no
    /// tier has: the call waits for the first permit of any.
    #[inline]
    pub(crate) fn choose(&self, has_capacity: impl Fn(usize) -> bool, chance: f64) -> Option<TierChoice> {
        let drawn = self.draw(chance)?;
        let later = drawn..self.tiers.len();
        later.chain(0..drawn).find_map(|tier| {
            let share = self.tiers.get(tier)?;
            let fits = share.usable && has_capacity(tier);
            fits.then_some(TierChoice { tier, overflow: tier != drawn })
        })
    }

    fn draw(&self, chance: f64) -> Option<usize> {
        let mut rest = chance * 100.0;
        self.tiers.iter().position(|share| {
            rest -= f64::from(share.percent);
            rest < 0.0
        })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(percent_healthy: &[u32]) -> TierShares {
        let tiers: Vec<_> = percent_healthy.iter().map(|&healthy| TierHealth { healthy, total: 100 }).collect();
        Overprovisioning::default().shares(&tiers)
    }

    fn percents(shares: &TierShares) -> Vec<u32> {
        shares.tiers.iter().map(|share| share.percent).collect()
    }

    /// The three tables of "Priority levels".
    #[test]
    fn shares_match_envoys_tables() {
        let table: [(&[u32], &[u32]); 19] = [
            (&[100, 100], &[100, 0]),
            (&[72, 100], &[100, 0]),
            (&[71, 100], &[99, 1]),
            (&[50, 100], &[70, 30]),
            (&[25, 100], &[35, 65]),
            (&[0, 100], &[0, 100]),
            (&[72, 72], &[100, 0]),
            (&[71, 71], &[99, 1]),
            (&[50, 50], &[70, 30]),
            (&[50, 60], &[70, 30]),
            (&[25, 25], &[50, 50]),
            (&[5, 65], &[7, 93]),
            (&[100, 100, 100], &[100, 0, 0]),
            (&[72, 72, 100], &[100, 0, 0]),
            (&[71, 71, 100], &[99, 1, 0]),
            (&[50, 50, 100], &[70, 30, 0]),
            (&[25, 100, 100], &[35, 65, 0]),
            (&[25, 25, 100], &[35, 35, 30]),
            (&[25, 25, 20], &[36, 36, 28]),
        ];
        for (healthy, expected) in table {
            assert_eq!(percents(&shares(healthy)), expected, "{healthy:?}");
        }
    }

    /// The table of "Panic threshold", see the module.
    #[test]
    fn panic_needs_a_sum_below_one_hundred() {
        let table: [(&[u32], &[bool]); 8] = [
            (&[72, 72], &[false, false]),
            (&[50, 60], &[false, false]),
            (&[25, 100], &[false, false]),
            (&[0, 100], &[false, false]),
            (&[25, 25], &[true, true]),
            (&[5, 65], &[true, false]),
            (&[49], &[true]),
            (&[50], &[false]),
        ];
        for (healthy, expected) in table {
            let panics: Vec<_> = shares(healthy).tiers.iter().map(|share| share.panics).collect();
            assert_eq!(panics, expected, "{healthy:?}");
        }
    }

    #[test]
    fn first_tier_carries_all_down_to_five_of_seven() {
        let of = |healthy, total| {
            let standby = TierHealth { healthy: 1, total: 1 };
            Overprovisioning::default().shares(&[TierHealth { healthy, total }, standby]).percent(0)
        };
        assert_eq!([of(5, 7), of(4, 7), of(2, 3), of(1, 2), of(0, 2)], [100, 80, 93, 70, 0]);
    }

    #[test]
    fn nothing_healthy_sends_all_to_the_first_tier_in_a_panic() {
        let all = shares(&[0, 0]);
        assert_eq!((percents(&all), all.tiers[0].panics), (vec![100, 0], true));
        // An empty tier cannot take calls.
        let health = [TierHealth::default(), TierHealth { healthy: 0, total: 2 }];
        assert_eq!(percents(&Overprovisioning::default().shares(&health)), [0, 100]);
        // Without panic, and without endpoints, there is no tier.
        let calm = Overprovisioning { panic_below: 0, ..Overprovisioning::default() };
        assert_eq!(calm.shares(&health).choose(|_| true, 0.0), None);
        assert_eq!(Overprovisioning::default().shares(&[]).choose(|_| true, 0.0), None);
        assert_eq!(Overprovisioning::default().shares(&[TierHealth::default()]).choose(|_| true, 0.5), None);
    }

    #[test]
    fn calls_are_drawn_by_share() {
        let split = shares(&[50, 100]);
        let drawn = |chance| split.choose(|_| true, chance).map(|choice| choice.tier);
        assert_eq!([0.0, 0.699, 0.701, 0.999].map(drawn), [Some(0), Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn only_tier_is_that_of_every_draw() {
        for (healthy, expected) in
            [(&[100, 50][..], Some(0)), (&[0, 100], Some(1)), (&[50, 100], None), (&[10], Some(0))]
        {
            let split = shares(healthy);
            assert_eq!(split.only().map(|only| only.tier), expected, "{healthy:?}");
            let drawn = [0.0, 0.5, 0.999].map(|chance| split.choose(|_| true, chance));
            assert!(expected.is_none() || drawn.iter().all(|choice| *choice == split.only()), "{healthy:?}");
        }
    }

    #[test]
    fn tiers_that_are_down_are_passed_over() {
        for (healthy, expected) in [
            (&[100, 0][..], &[][..]),
            (&[0, 100], &[0]),
            (&[50, 0, 100], &[1]),
            (&[0, 0, 100, 0], &[0, 1]),
            (&[0, 0], &[]),
        ] {
            assert_eq!(shares(healthy).passed_over().collect::<Vec<_>>(), expected, "{healthy:?}");
        }
    }

    #[test]
    fn full_tier_overflows_to_the_next() {
        let choose = |healthy: &[u32], full: &[usize], chance| {
            shares(healthy).choose(|tier| !full.contains(&tier), chance).map(|choice| (choice.tier, choice.overflow))
        };
        assert_eq!(choose(&[100, 100], &[], 0.5), Some((0, false)));
        assert_eq!(choose(&[100, 100], &[0], 0.5), Some((1, true)));
        assert_eq!(choose(&[100, 0, 100], &[0], 0.5), Some((2, true)), "a tier that is down carries no overflow");
        assert_eq!(choose(&[50, 100], &[1], 0.9), Some((0, true)), "an earlier tier stands in too");
        assert_eq!(choose(&[100, 100], &[0, 1], 0.5), None);
    }

    fn tiers() -> impl Strategy<Value = Vec<TierHealth>> {
        prop::collection::vec(
            (0..50u32, 0..50u32).prop_map(|(a, b)| TierHealth { healthy: a.min(b), total: a.max(b) }),
            1..6,
        )
    }

    proptest! {
        /// The naive model: the formula in real numbers. Whole percents differ by the rounding of each tier.
        #[test]
        fn shares_are_near_the_real_formula(tiers in tiers()) {
            let health = |tier: &TierHealth| (140.0 * f64::from(tier.healthy) / f64::from(tier.total.max(1))).min(100.0);
            let sum = tiers.iter().map(health).sum::<f64>().min(100.0);
            let split = Overprovisioning::default().shares(&tiers);
            let reachable = tiers.iter().any(|tier| tier.total > 0);
            prop_assert_eq!(percents(&split).iter().sum::<u32>(), if reachable { 100 } else { split.percent(0) });
            prop_assume!(sum >= 20.0);
            let mut left = 100.0f64;
            for (i, tier) in tiers.iter().enumerate() {
                let exact = (health(tier) * 100.0 / sum).min(left);
                left -= exact;
                let bound = 1.0 + 100.0 * tiers.len() as f64 / sum;
                prop_assert!((f64::from(split.percent(i)) - exact).abs() <= bound, "{} of {split:?}: {exact}", i);
            }
        }

        #[test]
        fn healthier_first_tier_never_gets_less(tiers in tiers()) {
            let before = Overprovisioning::default().shares(&tiers);
            let mut better = tiers;
            better[0].healthy = (better[0].healthy + 1).min(better[0].total);
            prop_assume!(better[0].healthy > 1);
            prop_assert!(Overprovisioning::default().shares(&better).percent(0) >= before.percent(0));
        }

        #[test]
        fn every_choice_is_usable_and_has_capacity(tiers in tiers(), full: u8, chance in 0.0..1.0f64) {
            let free = |tier: usize| full >> tier & 1 == 0;
            let shares = Overprovisioning::default().shares(&tiers);
            if let Some(TierChoice { tier, .. }) = shares.choose(free, chance) {
                prop_assert!(free(tier));
                prop_assert!(tiers[tier].healthy > 0 || shares.panics(tier) && tiers[tier].total > 0);
            }
        }
    }
}
