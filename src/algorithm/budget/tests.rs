mod model;
mod usefulness;

use super::*;

const START: Instant = Instant::from_nanos(1 << 63);
const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(10);

fn ledger(ratio: f64, ttl: Duration, per_second: f64, burst: u32) -> Ledger {
    Ledger::new(&Rules::new(ratio, ttl, per_second, burst))
}

impl Ledger {
    fn reload(&mut self, ratio: f64, ttl: Duration, per_second: f64, burst: u32, now: Instant) {
        self.set_rules(&Rules::new(ratio, ttl, per_second, burst), now);
    }
}

fn withdrawals(ledger: &mut Ledger, now: Instant) -> u32 {
    let mut n = 0;
    while let Ok(claim) = ledger.withdraw(now) {
        ledger.spend(claim, None, now);
        n += 1;
    }
    n
}

/// Finagle grants its reserve for the whole time to live at once; the burst is the equivalent here.
#[test]
fn finagle_simultaneous_calls_earn_the_ratio() {
    let ratios = [0.1, 0.5, 0.25, 0.75, 0.99, 0.999, 0.9999, 0.01, 0.001, 0.0001];
    let plain = ratios.map(|ratio| (1, 0, ratio));
    for (ttl, per_second, ratio) in plain.into_iter().chain([(1, 10, 0.1), (2, 5, 0.5), (1, 10, 0.0), (2, 5, 0.0)]) {
        let mut ledger = ledger(ratio, Duration::from_secs(ttl), f64::from(per_second), ttl as u32 * per_second);
        let mut retries = 0;
        for _ in 0..10_000 {
            ledger.deposit(START);
            if let Ok(claim) = ledger.withdraw(START) {
                ledger.spend(claim, None, START);
                retries += 1;
            }
        }
        let expected = (10_000.0 * ratio) as i64 + (ttl as u32 * per_second) as i64;
        assert!((i64::from(retries) - expected).abs() <= 1, "{ratio} {per_second}: {retries}, not {expected}");
    }
}

#[test]
fn finagle_hundred_and_ten_calls_make_a_balance_of_101() {
    let mut ledger = ledger(0.1, TTL, 10.0, 100);
    assert_eq!(ledger.balance(START), 100);
    (0..10).for_each(|_| ledger.deposit(START));
    assert_eq!(ledger.balance(START), 101);
}

#[test]
fn zero_ratio_without_reserve_is_an_empty_budget() {
    let mut unrefilled = ledger(0.0, TTL, 0.0, 10);
    assert!(unrefilled.withdraw(START).is_err(), "a burst that nothing refills");
    let mut ledger = ledger(0.0, TTL, 0.0, 0);
    (0..100).for_each(|_| ledger.deposit(START));
    assert_eq!(ledger.balance(START), 0);
    assert!(ledger.withdraw(START).is_err());
}

/// tower rounds the tokens of a deposit to whole ones: its 0.6 acts as 1.0.
#[test]
fn ratio_of_six_tenths_is_not_rounded() {
    let mut ledger = ledger(0.6, TTL, 0.0, 0);
    (0..1000).for_each(|_| ledger.deposit(START));
    assert_eq!(withdrawals(&mut ledger, START), 600);
}

/// tower's budget clears its ring bucket by bucket for all the time that has passed, under a lock: 132 ms after 30 idle
/// days. Here a deposit changes one bucket, and what is stale needs no clearing.
#[test]
fn deposit_after_thirty_idle_days_finds_an_empty_ring() {
    let mut ledger = ledger(1.0, TTL, 0.0, 0);
    let mut now = START;
    for day in [30, 155, 200, 310, 311, 4000] {
        (0..100).for_each(|_| ledger.deposit(now));
        assert_eq!(ledger.balance(now), 100, "before {day} idle days");
        now = now + Duration::from_secs(day * 24 * 3600);
        assert_eq!(ledger.balance(now), 0, "after {day} idle days");
    }
}

#[test]
fn deposits_expire() {
    let mut ledger = ledger(1.0, TTL, 0.0, 0);
    ledger.deposit(START);
    ledger.deposit(START + SECOND * 5);
    assert_eq!(ledger.balance(START + SECOND * 8), 2);
    assert_eq!(ledger.balance(START + TTL), 1);
    assert_eq!(withdrawals(&mut ledger, START + TTL), 1);
    assert_eq!(withdrawals(&mut ledger, START + TTL), 0);
}

/// A call reads its instant before it waits for the lock.
#[test]
fn late_deposit_counts_unless_it_has_expired() {
    let mut ledger = ledger(1.0, TTL, 0.0, 0);
    ledger.deposit(START + TTL);
    ledger.deposit(START + SECOND);
    assert_eq!(ledger.balance(START + TTL), 2);
    ledger.deposit(START);
    assert_eq!(ledger.balance(START + TTL), 2, "its bucket is in use again");
    assert_eq!(ledger.balance(START + TTL + SECOND), 1, "late deposits expire with others of their time");
}

#[test]
fn refund_returns_a_token_to_its_source() {
    let mut ledger = ledger(1.0, TTL, 0.0, 0);
    ledger.deposit(START);
    let claim = ledger.withdraw(START).unwrap();
    assert_eq!(ledger.balance(START), 0);
    ledger.refund(claim);
    assert_eq!(ledger.balance(START), 1);
    let claim = ledger.withdraw(START).unwrap();
    ledger.deposit(START + TTL);
    ledger.refund(claim);
    assert_eq!(ledger.balance(START + TTL), 1, "what has expired does not come back");
}

#[test]
fn reserve_grows_at_its_rate_up_to_its_burst() {
    let mut ledger = ledger(0.0, TTL, 2.0, 3);
    assert_eq!(withdrawals(&mut ledger, START), 3);
    let millis = |n| START + Duration::from_millis(n);
    assert_eq!(ledger.balance(millis(499)), 0);
    assert_eq!(withdrawals(&mut ledger, millis(500)), 1);
    assert_eq!(ledger.balance(millis(1400)), 1);
    assert_eq!(ledger.balance(millis(3_600_000)), 3);
}

#[test]
fn held_token_does_not_grow_back() {
    let mut ledger = ledger(0.0, TTL, 1.0, 2);
    let held = ledger.withdraw(START).unwrap();
    let later = START + SECOND * 60;
    assert_eq!(ledger.balance(later), 1);
    ledger.refund(held);
    assert_eq!(ledger.balance(later), 2, "as if it had never been withdrawn");
    let held = ledger.withdraw(later).unwrap();
    ledger.spend(held, None, later);
    assert_eq!(ledger.balance(later + SECOND), 2);
}

#[test]
fn deposits_survive_a_change_of_ratio_and_ttl() {
    let mut ledger = ledger(0.5, TTL, 0.0, 0);
    (0..20).for_each(|_| ledger.deposit(START));
    ledger.reload(1.0, TTL, 0.0, 0, START);
    assert_eq!(ledger.balance(START), 10);
    ledger.deposit(START);
    assert_eq!(ledger.balance(START), 11);
    ledger.reload(0.0, TTL * 6, 0.0, 0, START + TTL / 2);
    ledger.deposit(START + TTL / 2);
    assert_eq!(ledger.balance(START + TTL), 11, "half of the time is left to them, which is more now");
    assert_eq!(ledger.balance(START + TTL * 3), 0, "but not all of it again");
}

#[test]
fn reserve_change_keeps_its_tokens() {
    let mut ledger = ledger(0.0, TTL, 1.0, 10);
    for _ in 0..4 {
        let claim = ledger.withdraw(START).unwrap();
        ledger.spend(claim, None, START);
    }
    let reload = |ledger: &mut Ledger, per_second, burst| {
        ledger.reload(0.0, TTL, per_second, burst, START);
        ledger.balance(START)
    };
    assert_eq!(reload(&mut ledger, 1.0, 100), 6);
    assert_eq!(reload(&mut ledger, 100.0, 100), 6, "at another rate");
    assert_eq!(ledger.balance(START + Duration::from_millis(10)), 7, "at which it grows from now on");
    assert_eq!(reload(&mut ledger, 1.0, 3), 3);
    assert_eq!(reload(&mut ledger, 1.0, 10), 3);
    let held = ledger.withdraw(START).unwrap();
    assert_eq!(reload(&mut ledger, 5.0, 20), 2);
    ledger.refund(held);
    assert_eq!(ledger.balance(START), 3);
    assert_eq!((reload(&mut ledger, 0.0, 10), reload(&mut ledger, 1.0, 10)), (0, 0));
    assert_eq!(ledger.balance(START + SECOND * 10), 10);
}
