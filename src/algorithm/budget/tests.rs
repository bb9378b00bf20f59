use std::collections::VecDeque;

use proptest::prelude::*;

use super::deposits::BUCKETS;
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
    while let Some(claim) = ledger.withdraw(now) {
        ledger.spend(claim, now);
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
            if let Some(claim) = ledger.withdraw(START) {
                ledger.spend(claim, START);
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
    assert!(unrefilled.withdraw(START).is_none(), "a burst that nothing refills");
    let mut ledger = ledger(0.0, TTL, 0.0, 0);
    (0..100).for_each(|_| ledger.deposit(START));
    assert_eq!(ledger.balance(START), 0);
    assert!(ledger.withdraw(START).is_none());
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
    ledger.spend(held, later);
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
        ledger.spend(claim, START);
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

/// A naive budget: lists of deposits by epoch, and a reserve that grows by the nanosecond.
struct Model {
    per_call: u64,
    bucket: u64,
    deposits: VecDeque<(u64, u64)>,
    interval: u64,
    burst: u64,
    /// Nanoseconds' worth of tokens.
    reserve: u64,
    held: u64,
    at: u64,
}

impl Model {
    fn advance(&mut self, now: Instant) {
        self.reserve = (self.reserve + (now.as_nanos() - self.at)).min(self.burst * self.interval);
        self.at = now.as_nanos();
        let epoch = now.as_nanos() / self.bucket;
        self.deposits.retain(|(of, _)| of + BUCKETS as u64 > epoch);
    }

    fn put(&mut self, epoch: u64, units: u64, now: Instant) {
        if epoch + BUCKETS as u64 <= now.as_nanos() / self.bucket {
            return;
        }
        match self.deposits.iter_mut().find(|(of, _)| *of == epoch) {
            Some((_, there)) => *there += units,
            None => self.deposits.push_back((epoch, units)),
        }
        self.deposits.make_contiguous().sort_unstable();
    }

    fn withdraw(&mut self) -> Option<Claim> {
        if self.deposits.iter().map(|(_, units)| units).sum::<u64>() >= TOKEN {
            let mut missing = TOKEN;
            let oldest = self.deposits.iter().find(|(_, units)| *units > 0).map(|(epoch, _)| *epoch)?;
            for (_, units) in &mut self.deposits {
                let taken = missing.min(*units);
                *units -= taken;
                missing -= taken;
            }
            return Some(Claim::Deposited { epoch: oldest });
        }
        if (self.reserve / self.interval).saturating_sub(self.held) == 0 {
            return None;
        }
        self.held += 1;
        Some(Claim::Reserved)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call,
    Withdraw,
    Spend(usize),
    Refund(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Call),
        4 => Just(Step::Withdraw),
        3 => any::<usize>().prop_map(Step::Spend),
        2 => any::<usize>().prop_map(Step::Refund),
        2 => (0u64..3000).prop_map(Step::Wait),
        1 => (0u64..200_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..400)
}

#[derive(Clone, Debug)]
enum Change {
    Call,
    Withdraw,
    Refund,
    Wait(u64),
    Reload { units: u64, ttl: u64, tenths: u32, burst: u32 },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let reload = (0..=TOKEN, 1..60u64, 0..50u32, 1..20u32);
    let step = prop_oneof![
        6 => Just(Change::Call),
        4 => Just(Change::Withdraw),
        2 => Just(Change::Refund),
        3 => (0..3000u64).prop_map(Change::Wait),
        2 => reload.prop_map(|(units, ttl, tenths, burst)| Change::Reload { units, ttl, tenths, burst }),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn budget_matches_a_naive_model(
        steps in steps(), units in 0..=TOKEN, ttl in 1u64..20, rate in 1u32..50, burst in 1u32..20,
    ) {
        let (ratio, rate) = (units as f64 / TOKEN as f64, f64::from(rate) / 10.0);
        let ttl = Duration::from_secs(ttl);
        let mut ledger = ledger(ratio, ttl, rate, burst);
        let interval = (1e9 / rate).ceil() as u64;
        let mut model = Model {
            per_call: units, bucket: ttl.as_nanos() as u64 / BUCKETS as u64, deposits: VecDeque::new(),
            interval, burst: burst.into(), reserve: u64::from(burst) * interval, held: 0, at: START.as_nanos(),
        };
        let mut now = START;
        let (mut calls, mut withdrawn, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            model.advance(now);
            match step {
                Step::Call => {
                    ledger.deposit(now);
                    model.put(now.as_nanos() / model.bucket, model.per_call, now);
                    calls.push(now);
                }
                Step::Withdraw => {
                    let claim = ledger.withdraw(now);
                    prop_assert_eq!(format!("{:?}", claim), format!("{:?}", model.withdraw()));
                    if let Some(claim) = claim {
                        open.push((claim, withdrawn.len()));
                        withdrawn.push(Some(now));
                    }
                }
                Step::Spend(n) if !open.is_empty() => {
                    let (claim, _) = open.swap_remove(n % open.len());
                    if let Claim::Reserved = claim {
                        model.held -= 1;
                        model.reserve -= model.interval;
                    }
                    ledger.spend(claim, now);
                }
                Step::Refund(n) if !open.is_empty() => {
                    let (claim, index) = open.swap_remove(n % open.len());
                    match claim {
                        Claim::Deposited { epoch } => model.put(epoch, TOKEN, now),
                        Claim::Reserved => model.held -= 1,
                    }
                    ledger.refund(claim);
                    withdrawn[index] = None;
                }
                Step::Spend(_) | Step::Refund(_) => {}
                Step::Wait(millis) => now = now + Duration::from_millis(millis),
            }
        }
        let spent: Vec<Instant> = withdrawn.into_iter().flatten().collect();
        for (first, from) in spent.iter().enumerate() {
            for (last, to) in spent.iter().enumerate().skip(first) {
                let earning = calls.iter().filter(|call| **call >= from.minus(ttl) && *call <= to).count() as f64;
                let allowed = ratio * earning + rate * to.since(*from).as_secs_f64() + f64::from(burst);
                let count = (last - first + 1) as f64;
                prop_assert!(count <= allowed + 1e-6, "{} spent, {} allowed", count, allowed);
            }
        }
    }

    /// No change adds a token: in total, the tokens spent are at most the earnings of calls, the growth of the fastest reserve, and
    /// the first burst. No deposit is spent after the longest time to live.
    #[test]
    fn rule_changes_add_no_token(changes in changes()) {
        let mut ledger = ledger(0.5, TTL, 1.0, 10);
        let (mut now, mut units) = (START, TOKEN / 2);
        let (mut earned, mut spent, mut open, mut grown, mut per_second) = (0u64, 0u64, Vec::new(), 0.0, 1.0);
        for change in changes {
            match change {
                Change::Call => {
                    ledger.deposit(now);
                    earned += units;
                }
                Change::Withdraw => {
                    if let Some(claim) = ledger.withdraw(now) {
                        open.push(claim);
                        spent += 1;
                    }
                }
                Change::Refund => {
                    if let Some(claim) = open.pop() {
                        ledger.refund(claim);
                        spent -= 1;
                    }
                }
                Change::Wait(millis) => {
                    open.drain(..).for_each(|claim| ledger.spend(claim, now));
                    now = now + Duration::from_millis(millis);
                    grown += per_second * millis as f64 / 1000.0;
                }
                Change::Reload { units: next, ttl, tenths, burst } => {
                    let before = ledger.balance(now);
                    units = next;
                    per_second = f64::from(tenths) / 10.0;
                    let ratio = units as f64 / TOKEN as f64;
                    ledger.reload(ratio, Duration::from_secs(ttl), per_second, burst, now);
                    prop_assert!(ledger.balance(now) <= before);
                }
            }
            let allowed = earned as f64 / TOKEN as f64 + grown + 10.0;
            prop_assert!(spent as f64 <= allowed + 1e-6, "{} spent, {} allowed", spent, allowed);
        }
        let dead = now + Duration::from_secs(60);
        prop_assert_eq!(ledger.deposits.sum(dead), 0);
    }
}
