use super::*;

mod properties;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(1 << 40) + Duration::from_secs(seconds)
}

/// The settings of A50 to the letter.
fn a50() -> Outliers {
    Outliers {
        max_ejection_percent: 10,
        success_rate: Some(SuccessRate::A50),
        failure_percentage: None,
        slowness: None,
        ..Outliers::default()
    }
}

fn only_failures() -> Outliers {
    Outliers { success_rate: None, failure_percentage: Some(FailurePercentage::default()), ..a50() }
}

fn only_slowness() -> Outliers {
    Outliers { success_rate: None, slowness: Some(Slowness::default()), max_ejection_percent: 50, ..a50() }
}

fn counts(successes: u64, failures: u64) -> Judged {
    Judged { counts: CallCounts { successes, failures, latency: None }, ..Judged::default() }
}

/// Endpoints with a hundred calls each, of which so many fail.
fn failing<const N: usize>(failures: [u64; N]) -> [Judged; N] {
    failures.map(|failures| counts(100 - failures, failures))
}

fn slow<const N: usize>(millis: [u64; N]) -> [Judged; N] {
    millis.map(|millis| Judged {
        counts: CallCounts { successes: 100, failures: 0, latency: Some(Duration::from_millis(millis)) },
        ..Judged::default()
    })
}

fn ejected(set: &[Judged]) -> Vec<usize> {
    set.iter().enumerate().filter(|(_, judged)| judged.record.is_ejected()).map(|(i, _)| i).collect()
}

/// The endpoints that one sweep ejects, of a set that is new.
fn swept(outliers: &Outliers, mut set: Vec<Judged>) -> Vec<usize> {
    outliers.sweep(at(0), &mut set, || 0.5);
    ejected(&set)
}

#[test]
fn success_rate_matches_the_formula_of_a50() {
    // Four of five without a failure, one with a share of d: mean 1 - d/5, deviation 0.4 d, so the threshold is 1 - 0.96 d.
    for failures in [1, 10, 50, 100] {
        assert_eq!(swept(&a50(), failing([0, 0, 0, failures, 0]).into()), [3], "{failures}");
        let wider = SuccessRate { stdev_factor: 2001, ..SuccessRate::A50 };
        let outliers = Outliers { success_rate: Some(wider), ..a50() };
        assert_eq!(
            swept(&outliers, failing([0, 0, 0, failures, 0]).into()),
            [0; 0],
            "twice the deviation is not reached"
        );
    }
    // Two of seven: mean 1 - 2/7 d, deviation 0.452 d, so the threshold is 1 - 1.144 d, and both are within.
    assert_eq!(swept(&a50(), failing([0, 0, 60, 0, 60, 0, 0]).into()), [0; 0]);
    // With a factor of 1.5 it is 1 - 0.963 d.
    let narrower = SuccessRate { stdev_factor: 1500, ..SuccessRate::A50 };
    let outliers = Outliers { success_rate: Some(narrower), max_ejection_percent: 30, ..a50() };
    assert_eq!(swept(&outliers, failing([0, 0, 60, 0, 60, 0, 0]).into()), [2, 4]);
    // No deviation, no outlier, however bad all are.
    assert_eq!(swept(&a50(), failing([90; 7]).into()), [0; 0]);
}

#[test]
fn success_rate_needs_hosts_and_volume() {
    assert_eq!(swept(&a50(), failing([0, 0, 0, 100]).into()), [0; 0], "four hosts");
    let mut set = Vec::from(failing([0, 0, 0, 0, 100]));
    set[0].counts.successes = 99;
    assert_eq!(swept(&a50(), set.clone()), [0; 0], "five hosts, of which one has 99 calls");
    set.push(counts(100, 0));
    assert_eq!(swept(&a50(), set.clone()), [4]);
    set[4].counts.failures = 99;
    set.push(counts(100, 0));
    assert_eq!(swept(&a50(), set), [0; 0], "the outlier has 99 calls");
}

/// In a set without failures the law of A50 ejects for a single one. The additions ask for a gap that matters and is not chance.
#[test]
fn success_rate_by_default_ignores_small_gaps_and_chance() {
    let outliers = Outliers { success_rate: Some(SuccessRate::default()), ..a50() };
    assert_eq!(swept(&outliers, failing([0, 0, 0, 1, 0]).into()), [0; 0]);
    assert_eq!(swept(&outliers, failing([0, 0, 0, 20, 0]).into()), [3]);
    let busy = [0, 0, 0, 3000, 0].map(|failures| counts(100_000 - failures, failures));
    assert_eq!(swept(&outliers, busy.into()), [0; 0], "three percent, far beyond chance, are not worth it");
    assert_eq!(
        swept(&outliers, failing([25, 25, 25, 40, 25, 25, 25]).into()),
        [0; 0],
        "40 of 100 can be chance at 27 percent"
    );
    let busy = [25, 25, 25, 40, 25, 25, 25].map(|percent| counts(1000 - 10 * percent, 10 * percent));
    assert_eq!(swept(&outliers, busy.into()), [3], "400 of 1000 cannot");
}

#[test]
fn failure_percentage_matches_a50() {
    let outliers = Outliers { failure_percentage: Some(FailurePercentage::A50), ..only_failures() };
    assert_eq!(swept(&outliers, failing([0, 0, 0, 0, 84]).into()), [0; 0]);
    assert_eq!(swept(&outliers, failing([0, 0, 0, 0, 85]).into()), [4]);
    assert_eq!(swept(&outliers, failing([0, 0, 0, 85]).into()), [0; 0], "four hosts");
    let mut set = Vec::from(failing([0; 4]));
    set.push(counts(0, 49));
    assert_eq!(swept(&outliers, set.clone()), [0; 0], "49 calls");
    set[4].counts.failures = 50;
    assert_eq!(swept(&outliers, set.clone()), [4]);
    // Only the size of the set counts here, not the volume of the others.
    set[..4].fill(counts(0, 0));
    assert_eq!(swept(&outliers, set), [4]);
}

#[test]
fn enforcement_percentage_is_a_share_of_outliers() {
    let with = |enforcement| Outliers { success_rate: Some(SuccessRate { enforcement, ..SuccessRate::A50 }), ..a50() };
    for (enforcement, chance, expected) in
        [(0, 0.0, false), (50, 0.499, true), (50, 0.5, false), (100, 0.999_999, true), (1, 0.0, true)]
    {
        let mut set = failing([0, 0, 0, 0, 50]);
        with(enforcement).sweep(at(0), &mut set, || chance);
        assert_eq!(!ejected(&set).is_empty(), expected, "{enforcement} {chance}");
    }
}

#[test]
fn ejection_percent_is_never_exceeded_and_one_stays() {
    let allowed = |percent, hosts| Outliers { max_ejection_percent: percent, ..a50() }.allowed(hosts);
    assert_eq!([1, 2, 5, 10, 19, 20, 100].map(|hosts| allowed(10, hosts)), [0, 1, 1, 1, 1, 2, 10]);
    assert_eq!([0, 1, 2, 3, 10].map(|hosts| allowed(50, hosts)), [0, 0, 1, 1, 5]);
    assert_eq!([1, 2, 10].map(|hosts| allowed(100, hosts)), [0, 1, 9]);
    assert_eq!(allowed(0, 10), 0);
    // All fail. The worst are ejected, up to the share.
    let outliers = Outliers { max_ejection_percent: 50, ..only_failures() };
    assert_eq!(swept(&outliers, failing([90, 99, 91, 98, 92, 97]).into()), [1, 3, 5]);
    let all = Outliers { max_ejection_percent: 100, ..only_failures() };
    assert_eq!(swept(&all, failing([100; 6]).into()).len(), 5);
}

#[test]
fn ejection_time_grows_and_falls_with_the_multiplier() {
    let outliers = a50();
    assert_eq!([1, 2, 9, 10, 11, u32::MAX].map(|n| outliers.ejection_time(n).as_secs()), [30, 60, 270, 300, 300, 300]);
    let long = Outliers { base_ejection_time: 600 * SECOND, ..a50() };
    assert_eq!(long.ejection_time(3), 600 * SECOND, "the longer one of base and maximum");

    let mut set = failing([0, 0, 0, 0, 50]);
    let mut now = 0;
    // Sweeps every ten seconds until the endpoint is back; returns how long that took.
    let mut bad_until_restored = |set: &mut [Judged; 5]| {
        set[4].counts = counts(50, 50).counts;
        assert_eq!(outliers.sweep(at(now), set, || 0.5), [EjectionChange::Ejected(4, EjectionReason::SuccessRate)]);
        let since = now;
        loop {
            now += 10;
            match outliers.sweep(at(now), set, || 0.5)[..] {
                [] => {}
                [EjectionChange::Restored(4)] => break,
                ref other => panic!("{other:?}"),
            }
        }
        set[4].counts = counts(100, 0).counts;
        (now - since, set[4].record.multiplier)
    };
    // The time has to be exceeded, so it takes one more interval.
    assert_eq!(bad_until_restored(&mut set), (40, 1));
    assert_eq!(bad_until_restored(&mut set), (70, 2));
    assert_eq!(bad_until_restored(&mut set), (100, 3));
    for expected in [2, 1, 0, 0] {
        assert_eq!(outliers.sweep(at(10_000), &mut set, || 0.5), []);
        assert_eq!(set[4].record.multiplier, expected);
    }
}

/// An endpoint that comes back with few calls, or that is bad and not ejected, has not shown that it is well.
#[test]
fn multiplier_falls_only_in_healthy_intervals() {
    let bad_latency = CallCounts { successes: 100, failures: 0, latency: Some(400 * SECOND / 1000) };
    let cases = [
        (a50(), counts(50, 50).counts, counts(99, 0).counts, counts(100, 0).counts),
        (only_failures(), counts(0, 50).counts, counts(49, 0).counts, counts(50, 0).counts),
        (only_slowness(), bad_latency, CallCounts { successes: 19, ..bad_latency }, slow([10])[0].counts),
    ];
    for (outliers, bad, few, well) in cases {
        let mut set = slow([10; 5]);
        let mut now = 0;
        let mut interval = |set: &mut [Judged; 5], counts| {
            set[4].counts = counts;
            now += 10;
            outliers.sweep(at(now), set, || 0.5);
            (set[4].record.is_ejected(), set[4].record.multiplier)
        };
        for times in 1..4 {
            while !interval(&mut set, bad).0 {}
            while interval(&mut set, few).0 {}
            assert_eq!(interval(&mut set, few), (false, times), "{bad:?}");
            assert_eq!(interval(&mut set, CallCounts::default()), (false, times), "{bad:?}");
        }
        assert_eq!([2, 1, 0, 0].map(|_| interval(&mut set, well).1), [2, 1, 0, 0]);
        while !interval(&mut set, bad).0 {}
        while interval(&mut set, few).0 {}
        let none = Outliers { max_ejection_percent: 0, ..outliers };
        set[4].counts = bad;
        (0..2).for_each(|_| drop(none.sweep(at(now + 10), &mut set, || 0.5)));
        assert_eq!((ejected(&set), set[4].record.multiplier), (vec![], 1), "{bad:?}");
    }
}

/// The largest deviation among four is less than 1.9 times the standard deviation.
#[test]
fn small_tier_ejects_the_one_that_fails_among_others_that_are_well() {
    let small = |failures: &[u64]| {
        swept(&only_failures(), failures.iter().map(|failures| counts(100 - failures, *failures)).collect())
    };
    for (failures, expected) in [
        (&[70, 0, 0, 0][..], &[0][..]),
        (&[70, 5, 17, 0], &[0]),
        (&[0, 70, 0], &[1]),
        (&[5, 55], &[1]),
        (&[49, 0, 0, 0], &[]),
        (&[70, 30, 30, 0], &[]),
        (&[60, 60, 0], &[]),
        (&[30, 70], &[]),
        (&[100], &[]),
        (&[70, 0, 0, 0, 0], &[]),
    ] {
        assert_eq!(small(failures), expected, "{failures:?}");
    }
    let few = [counts(30, 70), counts(40, 0)];
    assert_eq!(swept(&only_failures(), few.into()), [0; 0], "too few calls of the other one");
    let a50 = Outliers { failure_percentage: Some(FailurePercentage::A50), ..only_failures() };
    assert_eq!(swept(&a50, failing([100, 0, 0, 0]).into()), [0; 0]);
}

#[test]
fn ejected_endpoint_is_not_judged() {
    let mut set = failing([0, 0, 0, 0, 0, 50, 50]);
    let outliers = Outliers {
        max_ejection_percent: 50,
        failure_percentage: Some(FailurePercentage { threshold: 40, ..FailurePercentage::default() }),
        ..a50()
    };
    outliers.sweep(at(0), &mut set, || 0.5);
    assert_eq!(ejected(&set), [5, 6]);
    // What the two were still asked before is stale: the mean is that of the others, and their multiplier stays.
    set[0].counts = counts(90, 10).counts;
    outliers.sweep(at(10), &mut set, || 0.5);
    assert_eq!((ejected(&set), set[5].record.multiplier), (vec![0, 5, 6], 1));
}

#[test]
fn slow_endpoint_is_ejected_after_two_intervals() {
    let outliers = only_slowness();
    let sweep = |set: &mut [Judged], now| outliers.sweep(at(now), set, || 0.5);
    let mut set = slow([10, 12, 60, 11]);
    assert_eq!(sweep(&mut set, 0), []);
    assert_eq!(sweep(&mut set, 10), [EjectionChange::Ejected(2, EjectionReason::Latency)]);
    // An interval that is not slow, or says nothing, begins anew.
    for between in [slow([10])[0].counts, CallCounts::default()] {
        let mut set = slow([10, 12, 60, 11]);
        let slow = set[2].counts;
        let found: Vec<_> = [slow, between, slow]
            .map(|counts| {
                set[2].counts = counts;
                sweep(&mut set, 0)
            })
            .concat();
        assert_eq!((found, sweep(&mut set, 0).len()), (vec![], 1));
    }
}

#[test]
fn latency_outlier_needs_a_factor_a_floor_hosts_and_volume() {
    let outliers = |set: &[Judged]| {
        let counts: Vec<_> = set.iter().map(|judged| judged.counts).enumerate().collect();
        let found = Slowness::default().outliers(&counts);
        found.into_iter().map(|(i, _)| i).collect::<Vec<_>>()
    };
    assert_eq!(outliers(&slow([20, 20, 80])), [0; 0], "four times is not more than four times");
    assert_eq!(outliers(&slow([20, 20, 81])), [2]);
    assert_eq!(outliers(&slow([1, 1, 50])), [0; 0], "at the floor");
    assert_eq!(outliers(&slow([1, 1, 51])), [2]);
    assert_eq!(outliers(&slow([20, 2000])), [0; 0], "of two, nobody knows which one is normal");
    assert_eq!(outliers(&slow([20, 2000, 2000])), [1, 2], "of three, two can be slow");
    assert_eq!(outliers(&slow([20, 2000, 2000, 2000])), [0; 0], "if most are slow, slow is normal");
    assert_eq!(outliers(&slow([20, 20, 2000, 2000])), [2, 3]);
    let mut set = slow([20, 20, 2000]);
    set[2].counts.successes = 19;
    assert_eq!(outliers(&set), [0; 0]);
}

#[test]
fn smaller_set_gets_endpoints_back() {
    let outliers = Outliers { max_ejection_percent: 50, ..only_failures() };
    let mut set = Vec::from(failing([99, 98, 97, 0, 0, 0]));
    outliers.sweep(at(0), &mut set, || 0.5);
    set[1].record.ejected_at = Some(at(5));
    assert_eq!(ejected(&set), [0, 1, 2]);
    // Discovery takes the three good ones away.
    set.truncate(3);
    assert_eq!(outliers.bound(&mut set), [EjectionChange::Restored(0), EjectionChange::Restored(2)]);
    assert_eq!(ejected(&set), [1]);
    set[1].record.restore();
    assert_eq!((ejected(&set), set[1].record.multiplier), (vec![], 1));
}

/// The endpoints of these tiers, one after the other.
fn in_tiers(tiers: &[&[Judged]]) -> Vec<Judged> {
    let tier = |(tier, members): (usize, &&[Judged])| {
        members.iter().map(move |judged| Judged { tier: tier as u16, ..*judged }).collect::<Vec<_>>()
    };
    tiers.iter().enumerate().flat_map(tier).collect()
}

#[test]
fn share_is_that_of_each_tier() {
    let half = Outliers { max_ejection_percent: 50, ..only_failures() };
    let all_fail = failing([90, 99, 91, 98, 92, 97]);
    assert_eq!(swept(&half, in_tiers(&[&all_fail, &[counts(0, 0); 6]])), [1, 3, 5], "idle standbys do not count");
    assert_eq!(swept(&half, in_tiers(&[&failing([100; 3]), &[counts(0, 0); 3]])), [0; 0], "a tier of three");
    assert_eq!(swept(&half, in_tiers(&[&all_fail, &all_fail])), [1, 3, 5, 7, 9, 11]);
    let all = Outliers { max_ejection_percent: 100, ..only_failures() };
    assert_eq!(swept(&all, in_tiers(&[&all_fail, &failing([0; 6]), &all_fail])).len(), 10, "one of each tier stays");
    // The tiers may be mixed in the set.
    let mut mixed = in_tiers(&[&all_fail, &failing([0; 6])]);
    mixed.swap(1, 7);
    assert_eq!(swept(&half, mixed), [3, 5, 7]);
}

#[test]
fn outliers_are_those_of_their_own_tier() {
    let slowness = only_slowness();
    let twice = |mut set: Vec<Judged>| {
        (0..2).for_each(|now| drop(slowness.sweep(at(10 * now), &mut set, || 0.5)));
        ejected(&set)
    };
    assert_eq!(twice(in_tiers(&[&slow([10, 11, 12]), &slow([300, 310, 290])])), [0; 0], "a remote tier is slower");
    assert_eq!(twice(in_tiers(&[&slow([10, 11, 12]), &slow([300, 2000, 290])])), [4]);
    assert_eq!(twice(in_tiers(&[&slow([10, 11]), &slow([300])])), [0; 0]);
    let set = in_tiers(&[&failing([0; 5]), &failing([50; 5])]);
    assert_eq!(swept(&a50(), set), [0; 0], "a tier that fails alike has no outlier");
}

#[test]
fn endpoints_that_change_their_tier_are_brought_back() {
    let outliers = Outliers { max_ejection_percent: 50, ..only_failures() };
    let mut set = Vec::from(failing([99, 98, 0, 0, 0, 0]));
    outliers.sweep(at(0), &mut set, || 0.5);
    assert_eq!(ejected(&set), [0, 1]);
    set[2..].iter_mut().for_each(|judged| judged.tier = 1);
    assert_eq!(outliers.bound(&mut set), [EjectionChange::Restored(0)]);
    set[1].tier = 1;
    assert_eq!(outliers.bound(&mut set), []);
    set[1].tier = 2;
    assert_eq!(outliers.bound(&mut set), [EjectionChange::Restored(1)], "it is alone");
}

/// Ten endpoints that all fail three calls in ten: what is ejected is chance, and hardly ever happens.
#[test]
fn set_that_fails_alike_is_not_ejected() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut set = [Judged::default(); 10];
    let mut ejections = 0;
    for interval in 0..1000 {
        for judged in &mut set {
            let failures = (0..200).filter(|_| random.f64() < 0.3).count() as u64;
            judged.counts =
                CallCounts { successes: 200 - failures, failures, latency: Some(Duration::from_millis(10)) };
        }
        let changes = Outliers::default().sweep(at(10 * interval), &mut set, || 0.5);
        ejections += changes.iter().filter(|change| matches!(change, EjectionChange::Ejected(..))).count();
    }
    assert!(ejections <= 20, "{ejections} of 10,000");
}
