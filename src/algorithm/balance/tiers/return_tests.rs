//! Calls return to better tiers slowly.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SLOW_START: SlowStart = SlowStart { window: Duration::from_secs(10), aggression: 1.0, min_weight: 0.1 };

fn at(millis: u64) -> Instant {
    Instant::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn target(percent_healthy: &[u32]) -> TierShares {
    let tiers: Vec<_> = percent_healthy.iter().map(|&healthy| TierHealth { healthy, total: 100 }).collect();
    Overprovisioning::default().shares(&tiers)
}

/// The shares after a sequence of changes at times in milliseconds.
fn after(changes: &[(u64, &[u32])]) -> TierShares {
    changes.iter().fold(TierShares::default(), |before, (millis, healthy)| {
        target(healthy).after(&before, Some, &SLOW_START, at(*millis))
    })
}

fn first(shares: &TierShares, millis: u64) -> f64 {
    (shares.up_to_at(0, at(millis)) * 10.0).round() / 10.0
}

#[test]
fn calls_return_over_the_window() {
    let back = after(&[(0, &[0, 100]), (1000, &[100, 100])]);
    assert_eq!([1000, 2500, 6000, 11_000].map(|millis| first(&back, millis)), [10.0, 15.0, 50.0, 100.0]);
    assert_eq!((back.only(at(10_999)), back.only(at(11_000)).map(|only| only.tier)), (None, Some(0)));
    let part = after(&[(0, &[50, 100]), (1000, &[100, 100])]);
    assert_eq!([1000, 6000, 11_000].map(|millis| first(&part, millis)), [73.0, 85.0, 100.0]);
}

#[test]
fn calls_leave_at_once() {
    assert_eq!(first(&after(&[(0, &[100, 100]), (1000, &[50, 100])]), 1000), 70.0);
    let again = after(&[(0, &[0, 100]), (1000, &[100, 100]), (6000, &[25, 100]), (7000, &[25, 99])]);
    assert_eq!([7000, 11_000].map(|millis| first(&again, millis)), [35.0, 35.0]);
    let less = after(&[(0, &[0, 100]), (1000, &[100, 100]), (3000, &[50, 100])]);
    assert_eq!([3000, 7000, 11_000].map(|millis| first(&less, millis)), [20.0, 45.0, 70.0], "over the same window");
}

#[test]
fn start_is_no_return() {
    assert_eq!(first(&after(&[(0, &[100, 100])]), 0), 100.0);
    assert_eq!(first(&after(&[(0, &[]), (1000, &[100, 100])]), 1000), 100.0);
    let nowhere =
        Overprovisioning { panic_below: 0, ..Overprovisioning::default() }.shares(&[TierHealth::default(); 2]);
    assert_eq!(first(&target(&[100, 100]).after(&nowhere, Some, &SLOW_START, at(1000)), 1000), 100.0);
}

#[test]
fn unhealthy_standbys_give_back_at_once_what_they_cannot_carry() {
    let died = after(&[(0, &[0, 100]), (1000, &[100, 100]), (2000, &[100, 0])]);
    assert_eq!(first(&died, 2000), 100.0);
    let half = after(&[(0, &[0, 100]), (1000, &[100, 100]), (1000, &[100, 50])]);
    assert_eq!([1000, 11_000].map(|millis| first(&half, millis)), [30.0, 100.0]);
}

#[test]
fn second_step_goes_on_from_where_the_first_one_is() {
    let steps = after(&[(0, &[0, 100]), (1000, &[50, 100]), (6000, &[100, 100])]);
    // Half of 70, and a tenth of the rest.
    assert_eq!([6000, 16_000].map(|millis| first(&steps, millis)), [35.0 + 6.5, 100.0]);
}

#[test]
fn window_of_zero_returns_all_at_once() {
    let down = target(&[0, 100]);
    let none = SlowStart { window: Duration::ZERO, ..SLOW_START };
    assert_eq!(target(&[100, 100]).after(&down, Some, &none, at(0)).only(at(0)).map(|only| only.tier), Some(0));
}

/// A tier that discovery adds before the others, and one that it takes away.
#[test]
fn tiers_are_matched_by_rank() {
    let remote = target(&[100]);
    let both = target(&[100, 100]);
    let added = both.clone().after(&remote, |tier| tier.checked_sub(1), &SLOW_START, at(0));
    assert_eq!(first(&added, 5000), 50.0);
    let gone = target(&[100]).after(&target(&[0, 100]), |_| Some(0), &SLOW_START, at(0));
    assert_eq!(first(&gone, 0), 100.0);
}

proptest! {
    /// At each moment all calls have a tier, none carries more than it may, and none but better ones get more than their share.
    #[test]
    fn calls_are_complete_and_bounded(
        changes in prop::collection::vec((0..20_000u64, prop::collection::vec(0..=100u32, 3)), 1..8),
        later in 0..20_000u64,
    ) {
        let (mut shares, mut millis) = (TierShares::default(), 0);
        for (pause, healthy) in &changes {
            millis += pause;
            shares = target(healthy).after(&shares, Some, &SLOW_START, at(millis));
            for now in [at(millis), at(millis + later)] {
                let mut sum = 0.0;
                for tier in 0..3 {
                    let up_to = shares.up_to_at(tier, now);
                    prop_assert!(up_to <= f64::from(shares.up_to(tier)) + 1e-9);
                    let share = up_to - sum;
                    prop_assert!((-1e-9..=f64::from(shares.carries(tier)) + 1e-9).contains(&share), "{share} of {shares:?}");
                    sum = up_to;
                }
                prop_assert!((sum - 100.0).abs() < 1e-9);
            }
            prop_assert_eq!(shares.up_to_at(0, at(millis + 10_000)), f64::from(shares.up_to(0)));
        }
    }
}
