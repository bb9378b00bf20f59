//! The formulas against published tables, and where they could fail.

use std::fs;
use std::path::Path;

use crate::queueing::erlang::{bounded, erlang_b, erlang_c};
use crate::queueing::little;
use crate::queueing::waits::Waits;

#[track_caller]
fn assert_near(value: f64, expected: f64, within: f64) {
    assert!((value - expected).abs() <= within, "{value} instead of {expected}");
}

/// The table of Erlang B in the ITU's Teletraffic Engineering Handbook, and everywhere: the load at which this share is refused.
#[test]
fn erlang_b_is_that_of_the_tables() {
    let table = [
        (1, [0.0101, 0.0526, 0.111]),
        (2, [0.153, 0.381, 0.595]),
        (5, [1.36, 2.22, 2.88]),
        (10, [4.46, 6.22, 7.51]),
        (20, [12.0, 15.2, 17.6]),
        (100, [84.1, 95.2, 104.1]),
    ];
    for (servers, loads) in table {
        for (load, share) in loads.into_iter().zip([0.01, 0.05, 0.1]) {
            // The loads have three digits, and a share changes by at most 15 % for a hundredth of the load.
            assert_near(erlang_b(servers, load), share, 0.07 * share);
        }
    }
}

/// Gross and Harris, Fundamentals of Queueing Theory, the eye clinic: six patients an hour, three doctors, 20 minutes each. And Hillier
/// and Lieberman, Introduction to Operations Research, the county hospital: two patients an hour, one or two doctors, 20 minutes each.
#[test]
fn waits_are_those_of_the_textbooks() {
    let eye_clinic = Waits::of(3, 6.0, 1.0 / 3.0, 1.0);
    assert_near(erlang_c(3, little(6.0, 1.0 / 3.0)), 4.0 / 9.0, 1e-12);
    assert_near(little(6.0, eye_clinic.mean()), 8.0 / 9.0, 1e-12);
    assert_near(eye_clinic.mean(), 0.148, 0.0005);

    let one_doctor = Waits::of(1, 2.0, 1.0 / 3.0, 1.0);
    assert_near(little(2.0, one_doctor.mean()), 4.0 / 3.0, 1e-12);
    assert_near(one_doctor.mean(), 2.0 / 3.0, 1e-12);
    assert_near(one_doctor.quantile(1.0 - 0.404), 0.5, 0.001);
    assert_near(one_doctor.quantile(1.0 - 0.245), 1.0, 0.002);

    let two_doctors = Waits::of(2, 2.0, 1.0 / 3.0, 1.0);
    assert_near(erlang_c(2, little(2.0, 1.0 / 3.0)), 1.0 / 6.0, 1e-12);
    assert_near(little(2.0, two_doctors.mean()), 1.0 / 12.0, 1e-12);
    assert_near(two_doctors.mean(), 1.0 / 24.0, 1e-12);
}

/// Both are sums of the shares of states, which are products of loads. As written, and without powers that overflow.
#[test]
fn recurrences_equal_the_sums_that_define_them() {
    for servers in 1..=30 {
        for percent in [1, 20, 50, 90, 99, 100, 130, 1000] {
            let load = f64::from(servers * percent) / 100.0;
            let state = |n: u32| (1..=n).map(|i| load / f64::from(i.min(servers))).product::<f64>();
            let sum = |upto: u32| (0..=upto).map(state).sum::<f64>();
            assert_near(erlang_b(servers, load), state(servers) / sum(servers), 1e-12);
            for waiting in [0, 1, 5, 50] {
                let expected = state(servers + waiting) / sum(servers + waiting);
                let found = bounded(servers, load, waiting);
                assert_near(found.refused, expected, 1e-12);
                let waits = (1..=waiting).map(|n| f64::from(n) * state(servers + n)).sum::<f64>();
                let expected = waits / sum(servers + waiting);
                assert_near(found.waiting, expected, 1e-12 * expected.max(1.0));
            }
            if percent < 100 {
                let busy = state(servers) / (1.0 - f64::from(percent) / 100.0);
                assert_near(erlang_c(servers, load), busy / (sum(servers - 1) + busy), 1e-12);
            }
        }
    }
}

/// The table of `src/operations.md`, in the section on capacity.
#[test]
fn waits_are_those_of_the_operations_guide() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operations.md")).unwrap();
    let (_, section) = guide.split_once("\n## Capacity\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let mut found = 0;
    for row in rows.skip(2) {
        let cells: Vec<f64> = row.split('|').map(|cell| cell.trim().parse().unwrap()).collect();
        for (load, expected) in [0.5, 0.7, 0.8, 0.9, 0.95].into_iter().zip(&cells[1..]) {
            assert_near(Waits::of(cells[0] as u32, load * cells[0], 1.0, 1.0).quantile(0.99), *expected, 0.051);
            found += 1;
        }
    }
    assert_eq!(found, 20);
}

/// Pollaczek and Khinchine: rate * E\[S²\] / 2 (1 - utilisation). Equal times wait half as long as exponential ones.
#[test]
fn one_server_waits_by_the_second_moment() {
    for (rate, mean, variation) in [(0.5, 1.0, 1.0), (90.0, 0.01, 0.0), (7.0, 0.1, 6.25)] {
        let second_moment = (1.0 + variation) * mean * mean;
        let expected = rate * second_moment / (2.0 * (1.0 - rate * mean));
        assert_near(Waits::of(1, rate, mean, variation).mean(), expected, 1e-12);
    }
}

#[test]
fn nothing_waits_without_load() {
    for servers in [1, 2, 10_000] {
        assert_eq!((erlang_b(servers, 0.0), erlang_c(servers, 0.0), bounded(servers, 0.0, 3).refused), (0.0, 0.0, 0.0));
        for waits in [Waits::of(servers, 0.0, 1.0, 1.0), Waits::of(servers, 1.0, 0.0, 1.0)] {
            assert_eq!((waits.mean(), waits.quantile(0.0), waits.quantile(0.999)), (0.0, 0.0, 0.0));
        }
    }
}

#[test]
fn waits_have_no_end_at_capacity_and_beyond() {
    for servers in [1, 4, 10_000] {
        for rate in [1.0, 1.5, 1e9] {
            let waits = Waits::of(servers, rate * f64::from(servers), 1.0, 1.0);
            assert_eq!((waits.mean(), waits.quantile(0.5)), (f64::INFINITY, f64::INFINITY));
            assert_eq!(erlang_c(servers, rate * f64::from(servers)), 1.0);
        }
    }
    // What exceeds the capacity is refused.
    assert_near(bounded(10, 20.0, 1000).refused, 0.5, 1e-9);
}

#[test]
fn ten_thousand_servers_do_not_overflow() {
    let mut last = 0.0;
    for percent in [1, 50, 90, 99, 100, 200, 100_000] {
        let load = f64::from(percent) * 100.0;
        let all = [erlang_b(10_000, load), erlang_c(10_000, load), bounded(10_000, load, 10_000).refused];
        assert!(all.iter().all(|share| (0.0..=1.0).contains(share)), "{percent} %: {all:?}");
        assert!(all[0] >= last, "{percent} %: {all:?}");
        last = all[0];
    }
    // At its capacity a large group refuses sqrt(2 / (pi * servers)).
    assert_near(erlang_b(10_000, 10_000.0), 0.00798, 0.0001);
    assert!(Waits::of(10_000, 9_900.0, 1.0, 1.0).mean() < 0.01);
}

#[test]
fn quantiles_grow_with_the_share_and_agree_with_the_mean() {
    let waits = Waits::of(4, 3.6, 1.0, 1.0);
    let steps = 1_000_000;
    let quantiles: Vec<f64> = (0..steps).map(|i| waits.quantile((f64::from(i) + 0.5) / f64::from(steps))).collect();
    assert!(quantiles.is_sorted());
    assert_near(quantiles.iter().sum::<f64>() / f64::from(steps), waits.mean(), 1e-4 * waits.mean());
}
