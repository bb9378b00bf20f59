//! A budget with its own rules, for tests.

use super::*;
use crate::ground::settings::Settings;

pub(super) struct Funded {
    ledger: Ledger,
    rules: Settings<Rules>,
}

impl Funded {
    pub(super) fn new(ratio: f64, ttl: Duration, per_second: f64, burst: u32) -> Self {
        let rules = Rules::new(ratio, ttl, per_second, burst);
        Self { ledger: Ledger::new(&rules), rules: Settings::new(rules) }
    }

    pub(super) fn rules(&self) -> Rules {
        self.rules.get()
    }

    pub(super) fn reload(&self, ratio: f64, ttl: Duration, per_second: f64, burst: u32, now: Instant) {
        let next = |rules: &Rules| {
            self.ledger.take_over(rules, now);
            rules.then(&Rules::new(ratio, ttl, per_second, burst), now)
        };
        self.rules.update(next, |_| self.ledger.take_over(&self.rules(), now));
    }

    pub(super) fn deposit(&self, now: Instant) {
        self.ledger.deposit(&self.rules().earnings, now);
    }

    pub(super) fn withdraw(&self, now: Instant) -> Option<Claim> {
        self.ledger.withdraw(|| self.rules(), now)
    }

    pub(super) fn spend(&self, claim: Claim, now: Instant) {
        self.ledger.spend(claim, || self.rules(), now);
    }

    pub(super) fn refund(&self, claim: Claim) {
        self.ledger.refund(claim);
    }

    pub(super) fn balance(&self, now: Instant) -> u32 {
        self.ledger.balance(|| self.rules(), now)
    }

    /// The remaining deposits.
    pub(super) fn deposited(&self, now: Instant) -> u64 {
        self.ledger.deposited(self.rules().earnings.epoch(now))
    }
}
