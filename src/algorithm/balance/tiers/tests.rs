use proptest::prelude::*;

use super::*;

const NOW: Instant = Instant::from_nanos(1_000_000);

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
    assert_eq!(calm.shares(&health).choose(|_| true, 0.0, NOW), None);
    assert_eq!(Overprovisioning::default().shares(&[]).choose(|_| true, 0.0, NOW), None);
    assert_eq!(Overprovisioning::default().shares(&[TierHealth::default()]).choose(|_| true, 0.5, NOW), None);
}

#[test]
fn calls_are_drawn_by_share() {
    let split = shares(&[50, 100]);
    let drawn = |chance| split.choose(|_| true, chance, NOW).map(|choice| choice.tier);
    assert_eq!([0.0, 0.699, 0.701, 0.999].map(drawn), [Some(0), Some(0), Some(1), Some(1)]);
}

#[test]
fn only_tier_is_that_of_every_draw() {
    for (healthy, expected) in [(&[100, 50][..], Some(0)), (&[0, 100], Some(1)), (&[50, 100], None), (&[10], Some(0))] {
        let split = shares(healthy);
        assert_eq!(split.only(NOW).map(|only| only.tier), expected, "{healthy:?}");
        let drawn = [0.0, 0.5, 0.999].map(|chance| split.choose(|_| true, chance, NOW));
        assert!(expected.is_none() || drawn.iter().all(|choice| *choice == split.only(NOW)), "{healthy:?}");
    }
}

#[test]
fn tiers_that_are_down_are_passed_over() {
    for (healthy, expected) in
        [(&[100, 0][..], &[][..]), (&[0, 100], &[0]), (&[50, 0, 100], &[1]), (&[0, 0, 100, 0], &[0, 1]), (&[0, 0], &[])]
    {
        assert_eq!(shares(healthy).passed_over().collect::<Vec<_>>(), expected, "{healthy:?}");
    }
}

#[test]
fn full_tier_overflows_to_the_next() {
    let choose = |healthy: &[u32], full: &[usize], chance| {
        shares(healthy).choose(|tier| !full.contains(&tier), chance, NOW).map(|choice| (choice.tier, choice.overflow))
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
        if let Some(TierChoice { tier, .. }) = shares.choose(free, chance, NOW) {
            prop_assert!(free(tier));
            prop_assert!(tiers[tier].healthy > 0 || shares.panics(tier) && tiers[tier].total > 0);
        }
    }
}
