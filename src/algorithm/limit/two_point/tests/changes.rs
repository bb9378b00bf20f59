//! The service changes.

use super::*;

/// Laws that compare the present with the past climb back to the old limit here, after a few hundred windows. At 1250 calls a second
/// and at most 70 calls a window, these are more than a thousand.
#[test]
fn lasting_slowdown_changes_nothing() {
    for noise in [0.05, 0.5] {
        let plant = Plant::new(50, Noise::Lognormal(noise), 101).then(5.0, 50, 4.0);
        let [early, late] = plant.run(&mut law(16), [(10.0, 40.0), (70.0, 100.0)]);
        for seen in [early, late] {
            assert_good(seen);
            assert!((0.9..1.5).contains(&(seen.limit / 50.0)), "{seen:?}");
        }
        assert!((early.limit / late.limit).ln().abs() < 0.1, "a drift: {early:?} {late:?}");
    }
}

#[test]
fn lost_and_returned_capacity_is_followed() {
    for noise in [0.0, 0.2, 0.5] {
        let plant = Plant::new(50, Noise::Lognormal(noise), 102).then(5.0, 12, 1.0).then(35.0, 50, 1.0);
        let [low, high] = plant.run(&mut law(16), [(15.0, 35.0), (35.0, 45.0)]);
        assert_good(low);
        assert!(high.recovered < 10.0 && high.recovered > 0.0 && high.utilisation > 0.8, "{high:?}");
    }
}

/// The times of calls that are cut at a deadline are those of the deadline.
#[test]
fn calls_cut_from_outside_count() {
    let plant = Plant::new(10, Noise::Lognormal(0.2), 101).with(|plant| plant.cut = 0.05);
    let [seen] = plant.run(&mut law(256), [(10.0, 30.0)]);
    assert_good(seen);
    assert_eq!(seen.cut, 0, "{seen:?}");
}
