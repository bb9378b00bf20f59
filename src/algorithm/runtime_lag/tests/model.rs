//! The law against a plain reading of its text.

use proptest::prelude::*;

use super::*;

/// The admitted share after each window of four samples in a row, none of which is overdue: lags and due times in milliseconds.
fn naive(samples: &[(u64, u64)]) -> f64 {
    let (mut admitted, mut former, mut most) = (1.0_f64, None, 1.25_f64);
    for window in samples.chunks_exact(4) {
        let (due, lag) = *window.iter().min_by_key(|(_, lag)| *lag).expect("four samples");
        let (due, x, b) = (due as f64 / 1000.0, lag as f64 / 1000.0, 0.05);
        let g = former.map_or(0.0, |(former_due, former_x)| (x - former_x) / (due - former_due));
        former = Some((due, x));
        if x > b {
            let r = (x - b) / (0.5 + 2.0 * x);
            if g + r > 0.0 {
                admitted /= (1.0 + g + r).min(most);
                most = (2.0 * most).min(4.0);
            }
        } else {
            most = 1.25;
            if x <= b / 2.0 {
                admitted *= 1.1;
            }
        }
        admitted = admitted.clamp(1.0 / 32.0, 1.0);
    }
    admitted
}

fn lags() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![0..30_u64, 0..200_u64, 50..5000_u64], 0..32)
}

#[derive(Clone, Debug)]
enum Step {
    Polled { lag: u64 },
    Overdue { by: u64, calls: u64, every: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let polled = prop_oneof![0..30_u64, 0..200_u64, 0..100_000_u64].prop_map(|lag| Step::Polled { lag });
    let overdue =
        (0..1000_u64, 0..20_u64, 0..100_u64).prop_map(|(by, calls, every)| Step::Overdue { by, calls, every });
    prop::collection::vec(prop_oneof![polled, overdue], 0..200)
}

/// Whether one sample may have changed the admitted share to what it is: all calls are admitted again if refusals are useless.
fn is_step(before: f64, shedder: &LagShedder) -> bool {
    let admitted = 1.0 - shedder.share();
    (FLOOR - 1e-9..=1.0).contains(&admitted) && (admitted <= before * RAISE + 1e-9 || admitted == 1.0)
}

proptest! {
    #[test]
    fn share_follows_the_text(lags in lags()) {
        let (mut shedder, mut now, mut samples) = (LagShedder::default(), 0, Vec::new());
        for lag in lags {
            samples.push((now + 50, lag));
            now = probe(&mut shedder, now, &[lag]);
            prop_assert!((1.0 - shedder.share() - naive(&samples)).abs() < 1e-6, "{samples:?}: {shedder:?}");
        }
    }

    /// Fewer late samples in a row than a window has are hiccups, however long.
    #[test]
    fn windows_with_a_sample_in_time_refuse_nothing(lags in prop::collection::vec((0..3_usize, 51..1_000_000_u64), 0..50)) {
        let (mut shedder, mut now) = (LagShedder::default(), 0);
        for (late, lag) in lags {
            now = probe(&mut shedder, now, &vec![lag; late]);
            now = probe(&mut shedder, now, &[0, 0]);
            prop_assert!(!refuses(&shedder), "{shedder:?}");
        }
    }

    /// Whatever is sampled, the share stays within its bounds, moves by bounded steps, and falls to zero once the lag is gone.
    #[test]
    fn share_is_bounded_and_ends_with_the_lag(steps in steps()) {
        let (mut shedder, mut now) = (LagShedder::default(), 0);
        for step in steps {
            match step {
                Step::Polled { lag } => {
                    let before = 1.0 - shedder.share();
                    now = probe(&mut shedder, now, &[lag]);
                    prop_assert!(is_step(before, &shedder), "{before}: {shedder:?}");
                }
                Step::Overdue { by, calls, every } => {
                    let due = now + 50;
                    for call in 0..calls {
                        let before = 1.0 - shedder.share();
                        shedder.overdue(BOUND, at(due + by + call * every), at(due));
                        prop_assert!(is_step(before, &shedder), "{before}: {shedder:?}");
                    }
                    now = due + by + calls * every;
                    let before = 1.0 - shedder.share();
                    shedder.polled(BOUND, at(now), at(due));
                    prop_assert!(is_step(before, &shedder), "{before}: {shedder:?}");
                }
            }
        }
        // From the floor to all: as many tenths as 32 has, and one window that has begun.
        let windows = (32.0_f64.ln() / RAISE.ln()).ceil() as usize + 2;
        now = probe(&mut shedder, now, &vec![0; 4 * windows]);
        prop_assert!(!refuses(&shedder), "{now}: {shedder:?}");
    }
}
