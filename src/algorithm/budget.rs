//! The retry budget, after Finagle's.
//!
//! Every call deposits a fraction of a token, every retry withdraws a whole one, and deposits expire. So retries are at most that
//! fraction of the calls of the last seconds, however many calls fail. A call deposits once, at its start, not for its success:
//! otherwise retries would earn retries. A small [`Reserve`] lets a client with few calls retry, which would never deposit a whole
//! token. See `RetryBudget` in Twitter's Finagle.
//!
//! Tokens say how many retries the calls can afford. Whether more of them are of any use is decided by [`usefulness`]: while hardly
//! any retry helps, only a share of the wanted ones is granted. Refused retries cost no token, so the tokens are there once retries
//! help again.
//!
//! The rules may change at run time. When the time to live changes, deposits keep their epoch: they expire after a tenth of the new
//! time for each tenth they had left, and a new tenth begins. So nothing lives longer than the longer of the two times, and no
//! change adds a token.
//!
//! In any stretch of time, the tokens spent are at most `ratio` for each call in it and in the time to live before it, plus the
//! growth of the reserve meanwhile, plus its burst. The property test compares this with a naive model.
//!
//! # What the lock costs
//! The owner keeps the [`Ledger`] under a mutex. A call takes it once, for the deposit at its start. A retry takes it twice more: to
//! withdraw its token, and to spend or refund it.
//!
//! Packed atomic words, which this module had before, saved 12 of the 967 instructions of a call through the retry layer alone, and
//! 1 ns of 111. With two callers on two cores that do nothing else, they saved 9 ns of 168. In a client stack, whose call takes about
//! 580 ns, the difference was below the noise (`cargo bench -p seawall-benches --bench cost -- --only client`).

mod deposits;
mod reserve;
mod usefulness;

use std::time::Duration;

use self::deposits::{Deposits, TOKEN};
use self::reserve::Reserve;
use self::usefulness::Usefulness;
use crate::algorithm::gcra::Rate;
use crate::ground::time::Instant;

/// The rules of a budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    per_call: u64,
    ttl: Duration,
    reserve: Rate,
}

impl Rules {
    /// Each call deposits `ratio` of a token for up to `ttl`; the reserve grows by `per_second` up to `burst`.
    pub(crate) fn new(ratio: f64, ttl: Duration, per_second: f64, burst: u32) -> Self {
        let per_call = (ratio * TOKEN as f64).round() as u64;
        Self { per_call, ttl, reserve: reserve::rate(per_second, burst) }
    }
}

/// A withdrawn token. It must be [spent](Ledger::spend) or [refunded](Ledger::refund).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum ClaimedToken {
    /// Gathered from deposits; the oldest is of this epoch.
    Deposited { epoch: u64 },
    /// Held in the reserve.
    Reserved,
}

/// Why a wanted retry is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotGranted {
    /// There is no token.
    Exhausted,
    /// There is one, but retries have not been helping.
    NotHelping,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    per_call: u64,
    deposits: Deposits,
    reserve: Reserve,
    usefulness: Usefulness,
}

impl Ledger {
    /// A budget whose reserve is full.
    pub(crate) fn new(rules: &Rules) -> Self {
        let (deposits, reserve) = (Deposits::new(rules.ttl), Reserve::new(rules.reserve));
        Self { per_call: rules.per_call, deposits, reserve, usefulness: Usefulness::NEW }
    }

    /// Uses these rules from now on. The number of tokens never rises.
    pub(crate) fn set_rules(&mut self, rules: &Rules, now: Instant) {
        self.per_call = rules.per_call;
        self.deposits.set_ttl(rules.ttl, now);
        self.reserve.set_rate(rules.reserve, now);
    }

    /// Deposits the fraction of a new call.
    #[inline]
    pub(crate) fn deposit(&mut self, now: Instant) {
        self.deposits.add(self.per_call, now);
        self.usefulness.deposited(self.per_call);
    }

    /// Withdraws a token for a wanted retry: from the deposits first, which expire.
    pub(crate) fn withdraw(&mut self, now: Instant) -> Result<ClaimedToken, NotGranted> {
        self.usefulness.want(now);
        if self.balance(now) == 0 {
            return Err(NotGranted::Exhausted);
        }
        if !self.usefulness.grant(now) {
            return Err(NotGranted::NotHelping);
        }
        match self.deposits.take(TOKEN, now) {
            Some(epoch) => Ok(ClaimedToken::Deposited { epoch }),
            None => self.reserve.hold(now).then_some(ClaimedToken::Reserved).ok_or(NotGranted::Exhausted),
        }
    }

    /// The retry was made. `has_helped` is whether it succeeded, if that is known.
    pub(crate) fn spend(&mut self, claim: ClaimedToken, has_helped: Option<bool>, now: Instant) {
        if let Some(has_helped) = has_helped {
            self.usefulness.ended(has_helped);
        }
        match claim {
            ClaimedToken::Deposited { .. } => {}
            ClaimedToken::Reserved => self.reserve.spend(now),
        }
    }

    /// The retry was not made: the token is returned, unless it has expired.
    pub(crate) fn refund(&mut self, claim: ClaimedToken) {
        self.usefulness.refund();
        match claim {
            // All of it expires with its oldest part, so that no deposit lives longer.
            ClaimedToken::Deposited { epoch } => self.deposits.put(TOKEN, epoch),
            ClaimedToken::Reserved => self.reserve.refund(),
        }
    }

    /// The whole tokens that could be withdrawn at once.
    pub(crate) fn balance(&self, now: Instant) -> u32 {
        let deposited = self.deposits.sum(now) / TOKEN;
        u32::try_from(deposited).unwrap_or(u32::MAX).saturating_add(self.reserve.free(now))
    }

    /// The share of the wanted retries that is granted, if there are tokens.
    pub(crate) fn granted_share(&self, now: Instant) -> f64 {
        self.usefulness.granted_share(now)
    }

    /// Whether the state equals that of a new budget: a full reserve, no deposits, and nothing known of retries.
    pub(crate) fn is_as_new(&self, now: Instant) -> bool {
        self.deposits.sum(now) == 0 && self.reserve.is_full(now) && self.usefulness.is_as_new(now)
    }

    pub(crate) fn reserve(&self) -> Reserve {
        self.reserve
    }

    /// Gives a new budget as many tokens as `other` has, up to its own burst. The deposits and the held tokens of the other budget
    /// stay there, and so does what it knows of the retries of other callers.
    pub(crate) fn inherit(&mut self, other: Reserve, now: Instant) {
        self.reserve = other.without_held_at(self.reserve.rate(), now);
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
