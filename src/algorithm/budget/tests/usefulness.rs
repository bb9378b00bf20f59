//! Which share of the wanted retries is granted, by how many of them have helped.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// A budget that can always pay.
fn rich() -> Ledger {
    let mut ledger = ledger(1.0, MINUTE, 0.0, 0);
    (0..100_000).for_each(|_| ledger.deposit(START));
    ledger
}

/// Wants `n` retries, one after the other, of which one in `helps` helps. Returns how many were granted.
fn want(ledger: &mut Ledger, n: u32, helps: Option<u32>, now: Instant) -> u32 {
    let mut granted = 0;
    for _ in 0..n {
        if let Ok(claim) = ledger.withdraw(now) {
            granted += 1;
            ledger.spend(claim, Some(helps.is_some_and(|every| granted % every == 0)), now);
        }
    }
    granted
}

#[test]
fn useless_retries_are_granted_one_in_twenty() {
    let mut ledger = rich();
    assert_eq!(want(&mut ledger, 45, None, START), 45, "a fresh budget believes in retries");
    want(&mut ledger, 1000, None, START);
    assert_eq!(want(&mut ledger, 2000, None, START), 100);
    let share = ledger.granted_share(START);
    assert!((share - 0.05).abs() < 1e-9, "{share}");
}

#[test]
fn retries_that_help_now_and_then_are_all_granted() {
    for every in [1, 2, 3, 5, 8] {
        let granted = want(&mut rich(), 10_000, Some(every), START);
        assert!(granted >= 9_900, "one in {every} helps: {granted}");
    }
}

/// Half of the wanted retries, if half as many help as are enough.
#[test]
fn share_falls_in_proportion() {
    let mut ledger = rich();
    want(&mut ledger, 1000, Some(20), START);
    let granted = want(&mut ledger, 10_000, Some(20), START);
    assert!((4_000..6_000).contains(&granted), "{granted}");
}

/// After an outage, one useless retry in twenty is made; the first two that help restore all others.
#[test]
fn two_successes_restore_the_full_share() {
    let mut ledger = rich();
    want(&mut ledger, 3000, None, START);
    let mut wanted = 0;
    while ledger.granted_share(START) < 0.97 {
        want(&mut ledger, 1, Some(1), START);
        wanted += 1;
    }
    assert!(wanted <= 20 + 2, "{wanted}");
}

#[test]
fn silence_ends_the_doubt() {
    let mut ledger = rich();
    want(&mut ledger, 3000, None, START);
    let just_before = START + Duration::from_millis(9999);
    assert!(ledger.granted_share(just_before) < 0.06 && !ledger.is_as_new(just_before));
    let later = START + SECOND * 10;
    assert!(ledger.granted_share(later) > 0.99);
    assert_eq!(want(&mut ledger, 45, None, later), 45, "as with a new budget");
}

/// One route in a hundred always fails. The retries of the others all help, and are all granted.
#[test]
fn few_useless_retries_take_nothing_from_others() {
    let mut ledger = ledger(0.1, TTL, 0.1, 10);
    for call in 0..100_000_u32 {
        let now = START + Duration::from_millis(call.into());
        ledger.deposit(now);
        if call % 50 == 0 {
            let useless = call % 1000 != 0;
            assert_eq!(want(&mut ledger, 1, (!useless).then_some(1), now), 1, "{call}");
        }
    }
}

/// A long outage with few calls: its retries are not all granted again because of the time between them.
#[test]
fn rare_useless_retries_are_not_believed_in_again() {
    let mut ledger = ledger(0.1, TTL, 0.1, 10);
    let mut granted = 0;
    for second in 0..7200 {
        let now = START + SECOND * second;
        ledger.deposit(now);
        let n = want(&mut ledger, 1, None, now);
        granted += if second >= 3600 { n } else { 0 };
    }
    assert!((175..=185).contains(&granted), "{granted} of 3600");
}

/// After an outage, one call in a hundred fails. It does not take twenty such failures to find out that retries help again.
#[test]
fn few_wanted_retries_are_granted_soon() {
    let mut ledger = ledger(0.1, TTL, 0.0, 0);
    (0..10_000).for_each(|_| ledger.deposit(START));
    want(&mut ledger, 3000, None, START);
    let mut granted = 0;
    for _ in 0..5 {
        (0..100).for_each(|_| ledger.deposit(START));
        granted += want(&mut ledger, 1, Some(1), START);
    }
    assert!(granted >= 3, "{granted} of 5");
    assert!(ledger.granted_share(START) > 0.9);
}

#[test]
fn refused_retries_cost_no_token() {
    let mut ledger = ledger(0.1, TTL, 10.0, 1000);
    want(&mut ledger, 1000, None, START);
    let left = ledger.balance(START);
    let granted = want(&mut ledger, 100, None, START);
    assert_eq!((granted, left - ledger.balance(START)), (5, 5));
}

/// The retry that finds out whether retries help again was refused further in.
#[test]
fn refunded_retry_is_granted_again_at_once() {
    let mut ledger = rich();
    want(&mut ledger, 3000, None, START);
    let claim = loop {
        if let Ok(claim) = ledger.withdraw(START) {
            break claim;
        }
    };
    ledger.refund(claim);
    let claim = ledger.withdraw(START).unwrap();
    ledger.spend(claim, None, START);
    assert_eq!(ledger.withdraw(START).unwrap_err(), NotGranted::NotHelping, "but once");
}

#[test]
fn retries_that_were_given_up_say_nothing() {
    let mut ledger = rich();
    for _ in 0..1000 {
        let claim = ledger.withdraw(START).unwrap();
        ledger.spend(claim, None, START);
    }
    assert!((ledger.granted_share(START) - 1.0).abs() < 1e-9);
}

#[test]
fn reload_keeps_what_is_known_of_retries() {
    let mut ledger = rich();
    want(&mut ledger, 3000, None, START);
    ledger.reload(0.5, TTL, 1.0, 10, START);
    assert!(ledger.granted_share(START) < 0.06);
}
