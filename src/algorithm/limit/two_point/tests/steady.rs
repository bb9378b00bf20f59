//! Full load that does not change.

use super::*;

fn run(plant: &Plant, start: usize, span: (f64, f64)) -> Seen {
    let [seen] = plant.run(&mut law(start), [span]);
    seen
}

#[test]
fn noise_changes_neither_use_nor_times() {
    for noise in [0.0, 0.05, 0.2, 0.5] {
        let seen = run(&Plant::new(50, Noise::Lognormal(noise), 101), 16, (3.0, 20.0));
        assert_between(seen, 0.96, 1.22);
    }
}

#[test]
fn small_services_are_found() {
    for noise in [0.05, 0.2, 0.5] {
        // A whole number is a third of three.
        for (capacity, inflation) in [(1, 1.5), (3, 1.35), (10, 1.25)] {
            let seen = run(&Plant::new(capacity, Noise::Lognormal(noise), 102), 16, (10.0, 60.0));
            assert_between(seen, 0.93, inflation);
        }
    }
}

#[test]
fn large_service_is_found() {
    let seen = run(&Plant::new(500, Noise::Lognormal(0.2), 102), 16, (1.5, 4.0));
    assert_between(seen, 0.95, 1.15);
}

#[test]
fn uneven_times_in_a_queue_are_no_obstacle() {
    for (noise, capacity, until) in
        [(Noise::Exponential, 10, 60.0), (Noise::Exponential, 50, 20.0), (Noise::Bimodal(20.0), 10, 60.0)]
    {
        let plant = Plant::new(capacity, noise, 103).with(|plant| plant.server = Server::Queue);
        assert_good(run(&plant, 16, (5.0, until)));
    }
}

#[test]
fn rare_outliers_do_not_move_the_limit() {
    for noise in [0.0, 0.5] {
        let plant = Plant::new(50, Noise::Lognormal(noise), 101).with(|plant| plant.outliers = true);
        assert_good(run(&plant, 16, (5.0, 30.0)));
    }
}

#[test]
fn start_far_too_high_is_corrected_within_seconds() {
    for seed in [101, 102, 103] {
        assert_good(run(&Plant::new(10, Noise::Lognormal(0.2), seed), 256, (10.0, 30.0)));
    }
}

/// Some calls need a slot for 10 ms, others wait elsewhere for 40 ms.
#[test]
fn quick_calls_stay_quick_among_other_work() {
    for slots in [false, true] {
        let classes = vec![Class { share: 0.7, base: 0.01, slots: true }, Class { share: 0.3, base: 0.04, slots }];
        let plant = Plant::new(50, Noise::Lognormal(0.2), 101).with(|plant| plant.classes = classes);
        let seen = run(&plant, 16, (5.0, 25.0));
        assert_good(seen);
        assert!(seen.first_class < 1.4, "{seen:?}");
    }
}

/// One call a second at three slots: a thousand calls are a quarter of an hour.
#[test]
fn slow_traffic_is_learned_from_few_calls() {
    for seed in [101, 102, 103] {
        let plant = Plant::new(3, Noise::Lognormal(0.2), seed).then(0.0, 3, 300.0);
        assert_between(run(&plant, 16, (900.0, 3000.0)), 0.9, 1.3);
    }
}

#[test]
fn limit_stays_while_there_is_room() {
    for (arrivals, until) in [(1.0, 2000.0), (500.0, 20.0), (1000.0, 20.0)] {
        let plant = Plant::new(50, Noise::Lognormal(0.2), 101).with(|plant| plant.arrivals = arrivals);
        let seen = run(&plant, 16, (0.0, until));
        assert_eq!((seen.least, seen.most), (16, 16), "{arrivals}");
    }
}
