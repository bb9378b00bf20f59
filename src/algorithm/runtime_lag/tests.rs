mod loops;
mod model;

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const START: Instant = Instant::from_nanos(1 << 63);
const BOUND: Duration = Duration::from_millis(50);

fn at(ms: u64) -> Instant {
    START + Duration::from_millis(ms)
}

/// Samples of a probe that sleeps for the interval and is then polled so late, one after the other. Returns the time after them.
fn probe(shedder: &mut LagShedder, start: u64, lags: &[u64]) -> u64 {
    lags.iter().fold(start, |now, lag| {
        let due = now + 50;
        shedder.polled(BOUND, at(due + lag), at(due));
        due + lag
    })
}

fn refuses(shedder: &LagShedder) -> bool {
    shedder.share() > 0.0
}

#[test]
fn one_pause_of_any_length_refuses_nothing() {
    for pause in [60, 1000, 60_000, 86_400_000_000] {
        for before in 0..8 {
            let mut shedder = LagShedder::default();
            let now = probe(&mut shedder, 0, &vec![1; before]);
            // After the pause, calls are polled before the probe is.
            for call in [pause, pause + 1, pause + 2] {
                shedder.overdue(BOUND, at(now + 50 + call), at(now + 50));
            }
            let now = probe(&mut shedder, now, &[pause + 3]);
            probe(&mut shedder, now, &[0; 20]);
            assert!(!refuses(&shedder), "{pause} ms after {before} samples: {shedder:?}");
        }
    }
}

#[test]
fn pauses_with_a_sample_between_them_refuse_nothing() {
    let mut shedder = LagShedder::default();
    let lags: Vec<u64> = (0..1000).map(|i| if i % 4 == 0 { 2 } else { 500 }).collect();
    probe(&mut shedder, 0, &lags);
    assert!(!refuses(&shedder), "{shedder:?}");
}

#[test]
fn lag_up_to_the_bound_refuses_nothing_and_above_it_does() {
    let mut shedder = LagShedder::default();
    let now = probe(&mut shedder, 0, &[50; 1000]);
    assert!(!refuses(&shedder));
    probe(&mut shedder, now, &[60; 8]);
    assert!(refuses(&shedder), "{shedder:?}");
}

/// A probe that is not polled while calls are shows a standing lag before it ends.
#[test]
fn overdue_probe_shows_the_lag_while_calls_are_polled() {
    let mut shedder = LagShedder::default();
    let now = probe(&mut shedder, 0, &[0; 8]);
    for call in 0..50 {
        shedder.overdue(BOUND, at(now + 50 + 60 + 10 * call), at(now + 50));
    }
    assert!(refuses(&shedder), "{shedder:?}");
}

#[test]
fn share_grows_while_the_lag_stands_and_falls_when_it_is_gone() {
    let mut shedder = LagShedder::default();
    let mut now = probe(&mut shedder, 0, &[0; 8]);
    let mut share = 0.0;
    // Growing, so that refusals are not found to be useless.
    for lag in [100, 150, 250, 400, 600, 900] {
        now = probe(&mut shedder, now, &[lag; 4]);
        assert!(shedder.share() > share, "{lag}: {shedder:?}");
        share = shedder.share();
    }
    assert!(share > 0.5);
    while refuses(&shedder) {
        now = probe(&mut shedder, now, &[0; 4]);
        assert!(shedder.share() < share);
        share = shedder.share();
    }
    assert!(now < 20_000, "{now}");
}

#[test]
fn lag_between_half_of_the_bound_and_the_bound_changes_nothing() {
    let mut shedder = LagShedder::default();
    let now = probe(&mut shedder, 0, &[0, 0, 0, 0, 200, 200, 200, 200]);
    let share = shedder.share();
    assert!(share > 0.0);
    for lag in [26, 30, 49] {
        probe(&mut shedder, now, &[lag; 100]);
        assert_eq!(shedder.share(), share);
    }
}

#[test]
fn lower_priorities_are_refused_first_and_each_keeps_a_floor() {
    let admitted = |cut: f64| {
        let mut shedder = LagShedder { admitted: 1.0 - cut, ..LagShedder::default() };
        let mut admitted = [0; 4];
        for call in 0..8000 {
            let priority = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical][call % 4];
            let chance = call as f64 * 0.618_033_988_749_895 % 1.0;
            admitted[call % 4] += u32::from(shedder.admit(priority, || chance).is_ok());
        }
        admitted.map(|calls| f64::from(calls) / 2000.0)
    };
    let close = |admitted: [f64; 4], expected: [f64; 4]| {
        admitted.iter().zip(expected).all(|(admitted, expected)| (admitted - expected).abs() < 0.03)
    };
    assert_eq!(admitted(0.0), [1.0; 4]);
    assert!(close(admitted(0.125), [0.5, 1.0, 1.0, 1.0]), "{:?}", admitted(0.125));
    assert!(close(admitted(0.5), [FLOOR, FLOOR, 1.0, 1.0]), "{:?}", admitted(0.5));
    assert!(close(admitted(1.0 - FLOOR), [FLOOR, FLOOR, FLOOR, 0.125]), "{:?}", admitted(1.0 - FLOOR));
}

/// Other tasks keep the runtime busy, whatever the layer refuses.
#[test]
fn lag_that_refusals_do_not_lower_ends_the_refusals() {
    let mut shedder = LagShedder::default();
    let mut now = probe(&mut shedder, 0, &[0; 8]);
    let mut refusing_until = 0;
    for round in 0..1000 {
        now = probe(&mut shedder, now, &[90 + round * 37 % 60, 90, 110, 100]);
        if refuses(&shedder) {
            refusing_until = now;
        }
    }
    assert!((1000..40_000).contains(&refusing_until), "{refusing_until}: {shedder:?}");
    // And if the lag gets much worse without refusals, they begin again.
    probe(&mut shedder, now, &[400; 4]);
    assert!(refuses(&shedder));
}

#[test]
fn extreme_arguments_do_not_panic() {
    let lags = [Duration::ZERO, Duration::from_nanos(1), SECOND, Duration::from_secs(u64::MAX), Duration::MAX];
    for bound in [Duration::ZERO, Duration::from_nanos(1), MS, Duration::MAX] {
        let mut shedder = LagShedder::default();
        for start in [Instant::from_nanos(0), START, Instant::MAX] {
            for lag in lags {
                for _ in 0..5 {
                    shedder.polled(bound, start + lag, start);
                    shedder.polled(bound, start, start + lag);
                    shedder.overdue(bound, start + lag, start);
                    for chance in [0.0, 1.0, f64::NAN] {
                        let _ = shedder.admit(Priority::Critical, || chance);
                    }
                    assert!((0.0..=1.0 - FLOOR).contains(&shedder.share()), "{shedder:?}");
                }
            }
        }
    }
}
