use proptest::prelude::*;

use super::*;

fn settings() -> impl Strategy<Value = Outliers> {
    (0..=100u32, 1..40u64, 0..100u32, 1..=5usize, prop::bool::ANY).prop_map(
        |(percent, base, threshold, hosts, exact)| Outliers {
            base_ejection_time: Duration::from_secs(base),
            max_ejection_percent: percent,
            success_rate: Some(if exact {
                SuccessRate::A50
            } else {
                SuccessRate { minimum_hosts: hosts, ..SuccessRate::default() }
            }),
            failure_percentage: Some(FailurePercentage {
                threshold,
                minimum_hosts: hosts,
                ..FailurePercentage::default()
            }),
            ..Outliers::default()
        },
    )
}

proptest! {
    #[test]
    fn no_more_than_the_share_are_ejected(
        outliers in settings(),
        intervals in prop::collection::vec(prop::collection::vec((0..3u16, 0..300u64, 0..300u64, 0..2000u64), 1..20), 1..12),
        seed: u64,
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut set: Vec<Judged> = Vec::new();
        for (interval, results) in intervals.iter().enumerate() {
            // The set grows and shrinks, and endpoints change their tier; what stays keeps its record.
            set.resize(results.len(), Judged::default());
            for (judged, (tier, successes, failures, millis)) in set.iter_mut().zip(results) {
                judged.tier = *tier;
                judged.counts = CallCounts { successes: *successes, failures: *failures, latency: Some(Duration::from_millis(*millis)) };
            }
            let before = ejected(&set);
            let changes = outliers.sweep(at(10 * interval as u64), &mut set, || random.f64());
            let after = ejected(&set);
            for tier in 0..3 {
                let members: Vec<_> = set.iter().filter(|judged| judged.tier == tier).collect();
                let out = members.iter().filter(|judged| judged.record.is_ejected()).count();
                prop_assert!(out <= outliers.allowed(members.len()), "{out} of {}", members.len());
                prop_assert!(members.is_empty() || out < members.len());
            }
            // The changes are the difference.
            let mut replayed: std::collections::BTreeSet<_> = before.into_iter().collect();
            for change in changes {
                match change {
                    EjectionChange::Ejected(i, _) => prop_assert!(replayed.insert(i)),
                    EjectionChange::Restored(i) => prop_assert!(replayed.remove(&i)),
                }
            }
            prop_assert_eq!(replayed.into_iter().collect::<Vec<_>>(), after);
        }
    }

    /// The naive model of a latency outlier sorts the medians of the others each time.
    #[test]
    fn latency_outliers_match_the_naive_model(millis in prop::collection::vec(1..400u64, 3..12)) {
        let counts: Vec<_> = millis.iter().map(|&millis| {
            CallCounts { successes: 100, failures: 0, latency: Some(Duration::from_millis(millis)) }
        }).enumerate().collect();
        let mut found: Vec<_> = Slowness::default().outliers(&counts).into_iter().map(|(i, _)| i).collect();
        found.sort_unstable();
        let naive: Vec<_> = (0..millis.len()).filter(|&own| {
            let mut others: Vec<u64> = (0..millis.len()).filter(|i| *i != own).map(|i| millis[i]).collect();
            others.sort_unstable();
            millis[own] > 50 && millis[own] > 4 * others[(others.len() - 1) / 2]
        }).collect();
        prop_assert_eq!(found, naive);
    }

    /// Every ejection ends: no endpoint that behaves is out for longer than the longest ejection and an interval.
    #[test]
    fn endpoint_that_recovers_is_restored(outliers in settings(), failures in prop::collection::vec(0..100u64, 2..12)) {
        let mut set: Vec<_> = failures.into_iter().map(|failures| counts(100 - failures, failures)).collect();
        outliers.sweep(at(0), &mut set, || 0.0);
        set.iter_mut().for_each(|judged| judged.counts = CallCounts::default());
        for now in 1..=31 {
            outliers.sweep(at(10 * now), &mut set, || 0.0);
        }
        prop_assert_eq!(ejected(&set), [0; 0]);
    }
}
