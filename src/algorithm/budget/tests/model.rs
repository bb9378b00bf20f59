//! Random calls, retries and changes of the rules, beside a naive budget.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::deposits::BUCKETS;
use super::*;

/// A naive budget: lists of deposits by epoch, a reserve that grows by the nanosecond, and the results of all retries.
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
    /// Which retries have helped since the last long silence.
    results: Vec<bool>,
    /// The wanted retries less half of the deposits, in tokens.
    excess: f64,
    wanted_at: Option<Instant>,
    /// The sum of the shares of the wanted retries since the last refund, and how many of them were granted.
    shares: f64,
    granted: f64,
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

    /// A retry is wanted. Returns the share that is granted.
    fn want(&mut self, now: Instant) -> f64 {
        if self.wanted_at.is_none_or(|at| now.since(at) >= Duration::from_secs(10)) {
            self.results.clear();
            (self.shares, self.granted, self.excess) = (0.0, 0.0, 0.0);
        }
        self.wanted_at = Some(now);
        self.excess = (self.excess + 1.0).min(20.0);
        let success = average(1.0, self.results.iter().map(|helped| f64::from(u8::from(*helped))));
        if self.excess < 10.0 { 1.0 } else { (success / 0.1).clamp(0.05, 1.0) }
    }

    fn has_token(&self) -> bool {
        let deposited = self.deposits.iter().map(|(_, units)| units).sum::<u64>();
        deposited >= TOKEN || self.reserve / self.interval > self.held
    }

    fn withdraw(&mut self) -> Option<ClaimedToken> {
        if self.deposits.iter().map(|(_, units)| units).sum::<u64>() >= TOKEN {
            let mut missing = TOKEN;
            let oldest = self.deposits.iter().find(|(_, units)| *units > 0).map(|(epoch, _)| *epoch)?;
            for (_, units) in &mut self.deposits {
                let taken = missing.min(*units);
                *units -= taken;
                missing -= taken;
            }
            return Some(ClaimedToken::Deposited { epoch: oldest });
        }
        if (self.reserve / self.interval).saturating_sub(self.held) == 0 {
            return None;
        }
        self.held += 1;
        Some(ClaimedToken::Reserved)
    }
}

/// A sample weighs a twentieth less for each later one. What is missing to a whole is the first belief.
fn average(belief: f64, samples: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator) -> f64 {
    let belief = belief * 0.95f64.powi(samples.len() as i32);
    belief + samples.rev().enumerate().map(|(age, sample)| sample * 0.05 * 0.95f64.powi(age as i32)).sum::<f64>()
}

#[derive(Clone, Debug)]
enum Step {
    Call,
    Withdraw,
    Spend(usize, Option<bool>),
    Refund(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Call),
        4 => Just(Step::Withdraw),
        3 => (any::<usize>(), proptest::option::of(prop::bool::weighted(0.1))).prop_map(|(n, helped)| Step::Spend(n, helped)),
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
        steps in steps(), units in 0..=TOKEN, ttl in 1u64..20, rate in 1u32..50, burst in 1u32..20, useless in 0usize..120,
    ) {
        let (ratio, rate) = (units as f64 / TOKEN as f64, f64::from(rate) / 10.0);
        let ttl = Duration::from_secs(ttl);
        let mut ledger = ledger(ratio, ttl, rate, burst);
        let interval = (1e9 / rate).ceil() as u64;
        let mut model = Model {
            per_call: units, bucket: ttl.as_nanos() as u64 / BUCKETS as u64, deposits: VecDeque::new(),
            interval, burst: burst.into(), reserve: u64::from(burst) * interval, held: 0, at: START.as_nanos(),
            results: vec![false; useless], excess: 1.0, wanted_at: Some(START), shares: 0.0, granted: 0.0,
        };
        // An outage before.
        ledger.usefulness.want(START);
        (0..useless).for_each(|_| ledger.usefulness.ended(false));
        let mut now = START;
        let (mut calls, mut withdrawn, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            model.advance(now);
            match step {
                Step::Call => {
                    ledger.deposit(now);
                    model.put(now.as_nanos() / model.bucket, model.per_call, now);
                    model.excess = (model.excess - (units / 2) as f64 / TOKEN as f64).max(0.0);
                    calls.push(now);
                }
                Step::Withdraw => {
                    let (share, has_token) = (model.want(now), model.has_token());
                    let claim = ledger.withdraw(now);
                    prop_assert!((ledger.granted_share(now) - share).abs() < 1e-9);
                    prop_assert_eq!(has_token, claim != Err(NotGranted::Exhausted));
                    if has_token {
                        model.shares += share;
                        model.granted += f64::from(u8::from(claim.is_ok()));
                        // A share is rounded to a ten-thousandth.
                        let (least, most) = (model.shares - 1.04, model.shares + 1.04);
                        prop_assert!((least..=most).contains(&model.granted), "{} of {}", model.granted, model.shares);
                    }
                    if let Ok(claim) = claim {
                        prop_assert_eq!(Some(format!("{claim:?}")), model.withdraw().map(|claim| format!("{claim:?}")));
                        open.push((claim, withdrawn.len()));
                        withdrawn.push(Some(now));
                    }
                }
                Step::Spend(n, has_helped) if !open.is_empty() => {
                    let (claim, _) = open.swap_remove(n % open.len());
                    if let ClaimedToken::Reserved = claim {
                        model.held -= 1;
                        model.reserve -= model.interval;
                    }
                    model.results.extend(has_helped);
                    ledger.spend(claim, has_helped, now);
                }
                Step::Refund(n) if !open.is_empty() => {
                    let (claim, index) = open.swap_remove(n % open.len());
                    match claim {
                        ClaimedToken::Deposited { epoch } => model.put(epoch, TOKEN, now),
                        ClaimedToken::Reserved => model.held -= 1,
                    }
                    ledger.refund(claim);
                    (model.shares, model.granted) = (1.0, 0.0);
                    model.excess = (model.excess - 1.0).max(0.0);
                    withdrawn[index] = None;
                }
                Step::Spend(..) | Step::Refund(_) => {}
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
                    if let Ok(claim) = ledger.withdraw(now) {
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
                    open.drain(..).for_each(|claim| ledger.spend(claim, None, now));
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
