use super::*;

const MS: Duration = Duration::from_millis(1);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(1 << 40) + Duration::from_millis(millis)
}

fn millis(cost: Option<f64>) -> Option<f64> {
    cost.map(|nanos| (nanos / 1e4).round() / 100.0)
}

/// Two endpoints: one with samples of 10 ms, one with samples of 200 ms, of which the first has nearly all calls.
fn fast_and_slow() -> (SetLoad, EndpointLoad, EndpointLoad) {
    let (set, fast, slow) = (SetLoad::new(), EndpointLoad::new(), EndpointLoad::new());
    slow.succeeded(at(0), 200 * MS, &set);
    for i in 0..1000 {
        fast.succeeded(at(i), 10 * MS, &set);
    }
    (set, fast, slow)
}

#[test]
fn calls_in_flight_are_at_most_the_limit() {
    let load = EndpointLoad::new();
    assert_eq!([(); 3].map(|()| load.begin(at(0), 2)), [Some(1), Some(2), None]);
    load.end();
    assert_eq!(load.in_flight(), 1);
    assert_eq!((load.begin(at(1), 2), load.begin(at(1), 1)), (Some(2), None));
}

#[test]
fn failure_costs_ten_times_the_usual_success() {
    let (set, load) = (SetLoad::new(), EndpointLoad::new());
    load.failed(at(0), MS / 2, &set);
    assert_eq!(load.cost(at(0), set.mean_cost()), None, "nothing is known of successes");
    let (set, fast, other) = fast_and_slow();
    assert!(millis(set.success.read().map(|(usual, _)| usual)).is_some_and(|usual| usual < 20.0));
    let failing = EndpointLoad::new();
    failing.failed(at(1000), MS / 2, &set);
    let cost = failing.cost(at(1000), set.mean_cost()).unwrap_or(0.0);
    assert!(cost > 9.0 * fast.cost(at(1000), set.mean_cost()).unwrap_or(f64::MAX), "{cost}");
    // A failure that took longer than the penalty counts with its own time.
    other.failed(at(9000), 3000 * MS, &set);
    assert!(other.cost(at(9000), set.mean_cost()).is_some_and(|cost| cost > 2e9));
}

#[test]
fn estimate_ages_toward_the_mean_and_then_is_unknown() {
    let (set, fast, slow) = fast_and_slow();
    assert!(fast.cost(at(1000), set.mean_cost()).is_some_and(|cost| (10e6..10.1e6).contains(&cost)));
    assert!(slow.cost(at(1), set.mean_cost()).is_some_and(|cost| cost > 199e6));
    let half = slow.cost(at(2500), set.mean_cost()).unwrap_or(0.0);
    assert!((100e6..120e6).contains(&half), "{half}");
    assert_eq!(slow.cost(at(5000), set.mean_cost()), None);
}

#[test]
fn trial_of_a_stale_endpoint_renews_its_estimate() {
    let (set, _, slow) = fast_and_slow();
    assert_eq!(slow.cost(at(6000), set.mean_cost()), None);
    assert!(slow.begin(at(6000), u32::MAX).is_some());
    assert!(
        slow.cost(at(6000), set.mean_cost()).is_some_and(|cost| cost > 199e6),
        "the second call does not try it too"
    );
    slow.succeeded(at(6010), 10 * MS, &set);
    assert!(
        slow.cost(at(6010), set.mean_cost()).is_some_and(|cost| cost < 20e6),
        "one good sample is enough to come back"
    );
}

#[test]
fn abandoned_call_only_raises_the_estimate() {
    let (set, fast, _) = fast_and_slow();
    fast.abandoned(at(1000), MS, &set);
    assert!(fast.cost(at(1000), set.mean_cost()).is_some_and(|cost| (10e6..10.1e6).contains(&cost)));
    fast.abandoned(at(1000), 1000 * MS, &set);
    assert!(fast.cost(at(1000), set.mean_cost()).is_some_and(|cost| cost > 12e6));
}

/// Otherwise an endpoint that hangs would look unknown, and idle as soon as its callers have left.
#[test]
fn abandoned_call_is_the_first_sample_if_it_is_longer_than_usual() {
    let (set, fast, _) = fast_and_slow();
    let hangs = EndpointLoad::new();
    hangs.abandoned(at(1000), MS, &set);
    assert_eq!(hangs.cost(at(1000), set.mean_cost()), None);
    hangs.abandoned(at(1000), 100 * MS, &set);
    assert!(hangs.cost(at(1000), set.mean_cost()) > fast.cost(at(1000), set.mean_cost()));
}

#[test]
fn hot_level_is_the_quantile_of_loads() {
    let set = SetLoad::new();
    let mut random = fastrand::Rng::with_seed(7);
    let mut levels = Vec::new();
    for i in 0..20_000 {
        set.observe(100.0 * random.f64());
        if i > 1000 {
            levels.push(set.hot_above());
        }
    }
    let mean = levels.iter().sum::<f64>() / levels.len() as f64;
    assert!((78.0..90.0).contains(&mean), "{mean}");
    for _ in 0..1000 {
        set.observe(3.0);
    }
    assert_eq!(set.hot_above(), 3.0, "no endpoint is hot among equals");
}

#[test]
fn extreme_instants_do_not_panic() {
    let (set, load) = (SetLoad::new(), EndpointLoad::new());
    load.succeeded(Instant::MAX, Duration::MAX, &set);
    load.failed(Instant::from_nanos(0), Duration::ZERO, &set);
    load.succeeded(at(0), Duration::ZERO, &set);
    assert!(load.cost(Instant::MAX, set.mean_cost()).is_none_or(f64::is_finite));
}
