use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1 << 40) + Duration::from_millis(millis)
}

/// A set whose endpoints all are preferred and warm, unless a test says otherwise.
struct Set {
    table: AliasTable,
    shared: SetLoad,
    loads: Vec<EndpointLoad>,
    warmth: Vec<f64>,
    eligibility: Vec<Eligibility>,
    random: fastrand::Rng,
}

impl Set {
    fn new(weights: &[f64], seed: u64) -> Self {
        Self {
            table: AliasTable::new(weights.iter().copied()),
            shared: SetLoad::new(),
            loads: weights.iter().map(|_| EndpointLoad::new()).collect(),
            warmth: vec![1.0; weights.len()],
            eligibility: vec![Eligibility::Preferred; weights.len()],
            random: fastrand::Rng::with_seed(seed),
        }
    }

    fn choose(&mut self, now: Instant) -> Option<usize> {
        let Self { table, shared, loads, warmth, eligibility, random } = self;
        let candidate = |i: usize| Some(Candidate { load: &loads[i], eligibility: eligibility[i], warmth: warmth[i] });
        choose(table, shared, now, candidate, || random.f64())
    }

    /// The share of each endpoint in so many choices that end at once.
    fn shares(&mut self, choices: u32) -> Vec<f64> {
        let mut counts = vec![0_u32; self.loads.len()];
        for _ in 0..choices {
            if let Some(chosen) = self.choose(at(0)) {
                counts[chosen] += 1;
            }
        }
        counts.into_iter().map(|count| f64::from(count) / f64::from(choices)).collect()
    }
}

/// So many choices that two percent of the smallest share are four standard errors of its count, and at least 100,000.
fn enough(weights: &[f64]) -> u32 {
    let sum: f64 = weights.iter().sum();
    let least = weights.iter().map(|weight| weight / sum).filter(|share| *share > 0.0).fold(1.0, f64::min);
    ((4.0_f64 / 0.02).powi(2) * (1.0 - least) / least).ceil().max(100_000.0) as u32
}

fn assert_shares(shares: &[f64], weights: &[f64]) {
    let sum: f64 = weights.iter().sum();
    for (share, weight) in shares.iter().zip(weights) {
        let expected = weight / sum;
        assert!((share - expected).abs() <= 0.02 * expected, "{shares:?} for {weights:?}");
    }
}

#[test]
fn equal_endpoints_are_chosen_by_weight() {
    for weights in
        [&[1.0, 1.0][..], &[1.0, 2.0, 3.0], &[5.0, 1.0, 1.0, 1.0], &[1.0; 10], &[0.0, 1.0, 1.0], &[0.01, 1.0]]
    {
        assert_shares(&Set::new(weights, 7).shares(enough(weights)), weights);
    }
}

#[test]
fn warming_endpoint_is_chosen_by_effective_weight() {
    let mut set = Set::new(&[1.0, 1.0, 2.0], 7);
    set.warmth = vec![1.0, 0.1, 0.5];
    assert_shares(&set.shares(enough(&[1.0, 0.1, 1.0])), &[1.0, 0.1, 1.0]);
    // If all are equally cold, slow start changes nothing.
    set.warmth = vec![0.1; 3];
    assert_shares(&set.shares(enough(&[1.0, 1.0, 2.0])), &[1.0, 1.0, 2.0]);
}

#[test]
fn weights_hold_among_the_few_that_are_usable() {
    let mut set = Set::new(&[1.0; 100], 7);
    set.eligibility = vec![Eligibility::Unusable; 100];
    for i in [3, 50, 51] {
        set.eligibility[i] = Eligibility::Preferred;
    }
    let shares = set.shares(enough(&[1.0; 3]));
    assert_shares(&[shares[3], shares[50], shares[51]], &[1.0; 3]);
}

#[test]
fn attempted_endpoint_is_avoided_if_another_is_usable() {
    use Eligibility::{Attempted, Preferred, Unusable};
    let mut set = Set::new(&[1000.0, 1.0, 1.0], 7);
    let mut reached = |eligibility: [Eligibility; 3]| {
        set.eligibility = eligibility.to_vec();
        let chosen: std::collections::BTreeSet<_> = (0..1000).map(|_| set.choose(at(0))).collect();
        chosen.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(reached([Attempted, Preferred, Unusable]), [Some(1)]);
    assert_eq!(reached([Attempted, Preferred, Preferred]), [Some(1), Some(2)]);
    assert_eq!(reached([Unusable, Attempted, Unusable]), [Some(1)]);
    assert_eq!(reached([Unusable, Attempted, Attempted]), [Some(1), Some(2)]);
    assert_eq!(reached([Unusable; 3]), [None]);
    assert_eq!(Set::new(&[], 7).choose(at(0)), None);
}

/// Two endpoints, so that both are always drawn: the choice is a function of their state.
#[test]
fn rule_is_lexicographic() {
    // (in flight, cost in ms) of both, with a hot level of 4 and a mean cost of 10 ms, and the winner.
    let table = [
        ("both cold: the cheaper, whatever the load", (4, 10), (0, 16), Some(0)),
        ("both cold and as cheap: the less loaded", (4, 10), (3, 14), Some(1)),
        ("both cold and alike: the first draw", (3, 10), (3, 10), None),
        ("cold beats hot, even if it is dearer", (5, 10), (4, 30), Some(1)),
        ("both hot: the less loaded, even if it is dearer", (6, 10), (5, 30), Some(1)),
        ("outlying loses against hot", (9, 10), (0, 50), Some(0)),
    ];
    for (name, first, second, expected) in table {
        let mut winners = Vec::new();
        for seed in 0..20 {
            let mut set = Set::new(&[1.0, 1.0], seed);
            (0..1000).for_each(|i| EndpointLoad::new().succeeded(at(i), 10 * MS, &set.shared));
            for (load, (in_flight, cost)) in set.loads.iter().zip([first, second]) {
                let shared = SetLoad::new();
                load.succeeded(at(999), cost * MS, &shared);
                (0..in_flight).for_each(|_| assert!(load.begin(at(999), u32::MAX).is_some()));
            }
            (0..1000).for_each(|_| set.shared.observe(4.0));
            winners.extend(set.choose(at(999)));
        }
        match expected {
            Some(winner) => assert_eq!(winners, [winner; 20], "{name}"),
            None => assert!(winners.contains(&0) && winners.contains(&1), "{name}"),
        }
    }
}

/// A rival that always costs less would never lose, and nobody would learn that the other has recovered.
#[test]
fn dear_endpoint_is_tried_once_per_stale_period() {
    let mut set = Set::new(&[1.0; 5], 7);
    for load in &set.loads[1..] {
        load.succeeded(at(0), 10 * MS, &set.shared);
    }
    set.loads[0].succeeded(at(0), 200 * MS, &set.shared);
    let mut tried = Vec::new();
    for now in (1..60_000).map(at) {
        let chosen = set.choose(now).expect("all are usable");
        assert!(set.loads[chosen].begin(now, u32::MAX).is_some());
        let took = if chosen == 0 { 200 * MS } else { 10 * MS };
        set.loads[chosen].end();
        set.loads[chosen].succeeded(now, took, &set.shared);
        if chosen == 0 {
            tried.push(now);
        }
    }
    assert!((10..=14).contains(&tried.len()), "{}", tried.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However much more its calls cost, and however little weight it has, an endpoint is tried again: nobody would learn otherwise that
    /// it has become better.
    #[test]
    fn no_endpoint_with_weight_is_starved(
        endpoints in prop::collection::vec((0.1..10.0f64, 1..2000u32, prop::bool::ANY), 1..10),
        seed: u64,
    ) {
        let weights: Vec<f64> = endpoints.iter().map(|endpoint| endpoint.0).collect();
        let mut set = Set::new(&weights, seed);
        let mut calls = vec![0; endpoints.len()];
        for now in (0..60_000).map(at) {
            let chosen = set.choose(now).expect("all are usable");
            let (_, millis, fails) = endpoints[chosen];
            assert!(set.loads[chosen].begin(now, u32::MAX).is_some());
            set.loads[chosen].end();
            match fails {
                true => set.loads[chosen].failed(now, millis * MS, &set.shared),
                false => set.loads[chosen].succeeded(now, millis * MS, &set.shared),
            }
            calls[chosen] += 1;
        }
        // After 5 s without a call its cost no longer counts.
        prop_assert!(calls.iter().all(|calls| *calls >= 6), "{:?}", calls);
    }
}

proptest! {
    /// The naive model: candidates are all that have weight, of the best eligibility there is.
    #[test]
    fn choice_is_of_the_best_eligibility(
        endpoints in prop::collection::vec((0..3u8, prop_oneof![Just(0.0), 0.1..10.0f64], 0.1..=1.0f64, 0..5u8), 1..30),
        seed: u64,
    ) {
        let weights: Vec<f64> = endpoints.iter().map(|endpoint| endpoint.1).collect();
        prop_assume!(weights.iter().sum::<f64>() > 0.0);
        let mut set = Set::new(&weights, seed);
        for (i, (eligibility, _, warmth, in_flight)) in endpoints.iter().enumerate() {
            set.eligibility[i] = [Eligibility::Preferred, Eligibility::Attempted, Eligibility::Unusable][usize::from(*eligibility)];
            set.warmth[i] = *warmth;
            (0..*in_flight).for_each(|_| assert!(set.loads[i].begin(at(0), u32::MAX).is_some()));
        }
        let has = |wanted: u8| endpoints.iter().any(|(eligibility, weight, ..)| *eligibility == wanted && *weight > 0.0);
        let best = [0, 1].into_iter().find(|wanted| has(*wanted));
        for _ in 0..20 {
            let chosen = set.choose(at(0));
            prop_assert_eq!(chosen.map(|i| endpoints[i].0), best);
            prop_assert!(chosen.is_none_or(|i| weights[i] > 0.0));
        }
    }

    /// With nothing known of costs, the naive model is the less loaded of two, up to one call.
    #[test]
    fn less_loaded_of_two_is_chosen(loads in (0..50u32, 0..50u32), weights in (0.1..10.0f64, 0.1..10.0f64), seed: u64) {
        let mut set = Set::new(&[weights.0, weights.1], seed);
        (0..loads.0).for_each(|_| assert!(set.loads[0].begin(at(0), u32::MAX).is_some()));
        (0..loads.1).for_each(|_| assert!(set.loads[1].begin(at(0), u32::MAX).is_some()));
        let [left, right] = [f64::from(loads.0) / weights.0, f64::from(loads.1) / weights.1];
        if left > right + 1.001 / weights.1 {
            prop_assert_eq!(set.choose(at(0)), Some(1));
        } else if right > left + 1.001 / weights.0 {
            prop_assert_eq!(set.choose(at(0)), Some(0));
        }
    }
}
