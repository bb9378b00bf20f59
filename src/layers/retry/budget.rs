//! The handle of a retry budget, and a withdrawal from it.

#[cfg(all(test, seawall_loom))]
mod loom_tests;

use std::time::Duration;

use crate::algorithm::budget::{ClaimedToken, Ledger, NotGranted, Rules};
use crate::ground::error::InvalidConfig;
use crate::ground::settings::{Cached, Settings};
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::{self, Instant};
use crate::ground::validation::{Validate, Validation};
use crate::ground::verdict::Verdict;
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// The settings of a retry [`Budget`].
///
/// By default, retries add at most a tenth to the calls of the last ten seconds. A client that makes too few calls to earn a retry
/// has a reserve of ten tokens, which refills by one in ten seconds. Fewer of them are made
/// [while they do not help](Budget#when-retries-do-not-help).
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct BudgetConfig {
    /// The share of a token that each call deposits, within `0..=1`, in steps of 0.0001. Retries are at most this share of the
    /// calls. Default: 0.1.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 1.0)))]
    pub ratio: f64,
    /// How long a deposit stays valid, from one second to one minute. It expires in ten steps. Default: 10 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub ttl: Duration,
    /// The refill rate of the reserve in tokens per second, up to 1000 and, if not zero, at least 0.001. Zero disables the reserve.
    /// Default: 0.1.
    #[cfg_attr(all(test, feature = "config"), schemars(range(min = 0.0, max = 1000.0)))]
    pub reserve_per_second: f64,
    /// The maximum number of tokens in the reserve, within `1..=1000`. Default: 10.
    pub reserve_burst: u32,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { ratio: 0.1, ttl: Duration::from_secs(10), reserve_per_second: 0.1, reserve_burst: 10 }
    }
}

impl Validate for BudgetConfig {
    fn check(&self, validation: &mut Validation) {
        validation.ratio("ratio", self.ratio);
        validation.check(
            !(self.ratio > 0.0 && self.ratio < 0.0001),
            "ratio",
            format_args!("invalid value: {}, must be 0 or at least 0.0001", self.ratio),
        );
        validation.check(
            (Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.ttl),
            "ttl",
            format_args!("invalid value: {:?}, must be in [1s, 60s]", self.ttl),
        );
        validation.check(
            self.reserve_per_second == 0.0 || (0.001..=1000.0).contains(&self.reserve_per_second),
            "reserve_per_second",
            format_args!("invalid value: {}, must be 0 or in [0.001, 1000]", self.reserve_per_second),
        );
        validation.check_against(
            self.reserve_per_second == 0.0 || (1..=1000).contains(&self.reserve_burst),
            "reserve_burst",
            &["reserve_per_second"],
            format_args!("invalid value: {}, must be in [1, 1000]", self.reserve_burst),
        );
    }
}

/// A retry budget. Clones are handles of one budget: layers that are [given](super::RetryLayer::with_budget) the same one share it.
///
/// Each call deposits, and each retry withdraws a token before its backoff. The token is held until the retry has ended. A retry
/// that was never sent is refunded: its call was dropped during the backoff, the inner service did not become ready, an inner layer
/// refused it, or the connection could not be made ([`Verdict::Unsent`](crate::verdict::Verdict::Unsent)).
///
/// # When retries do not help
/// If one shard of ten is down, every retry to it fails, and the tokens of the other nine would pay for them. So the budget keeps the
/// share of the last twenty retries or so that succeeded. Below a tenth, it grants a smaller share of the wanted retries: half of them
/// if one retry in twenty succeeds, and one in twenty if none does. This happens after about a hundred useless retries, 46 of which are
/// granted in full, and only while retries are wanted for more than half of `ratio`: fewer useless ones take nothing from others. The
/// retries that are still made find out when they help again: two successes restore the full share, and so do ten seconds in which no
/// retry is wanted. What refused retries would have cost stays in the budget.
///
/// A retry or hedge has helped if its answer is a success or blames the request (`404`). One that was cancelled, or not sent, counts for
/// nothing. [`granted_share`](Self::granted_share) has the present share, and [`Stop::NotHelping`](super::Stop::NotHelping) is the
/// reason in reports and metrics.
///
/// A call takes a short lock for its deposit, however long the budget was idle; a retry takes it twice more.
///
/// ```
/// use seawall::retry::{Budget, BudgetConfig, RetryConfig, RetryLayer};
///
/// let budget = Budget::new(BudgetConfig::default())?;
/// let reads = RetryLayer::new(RetryConfig::default())?.with_budget(budget.clone());
/// let once_more = RetryConfig { max_attempts: 2, ..RetryConfig::default() };
/// let writes = RetryLayer::new(once_more)?.with_budget(budget.clone());
/// # let _ = (reads, writes);
/// assert_eq!(budget.balance(), 10);
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<SharedBudget>,
}

/// The state that the handles of a budget share.
#[derive(Debug)]
struct SharedBudget {
    /// Shared by all budgets of a layer value.
    rules: Arc<Settings<Rules>>,
    locked: Mutex<LockedLedger>,
}

#[derive(Debug)]
struct LockedLedger {
    ledger: Ledger,
    /// The version of the rules that the ledger has.
    version: Cached<()>,
}

impl SharedBudget {
    /// Runs a step by the latest rules.
    #[inline]
    fn with<T>(&self, now: Instant, step: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut locked = lock(&self.locked);
        let LockedLedger { ledger, version } = &mut *locked;
        self.rules.refresh(version, |rules| ledger.set_rules(rules, now));
        step(ledger)
    }
}

/// The rules of a budget with these settings.
pub(crate) fn rules(config: &BudgetConfig) -> Rules {
    Rules::new(config.ratio, config.ttl, config.reserve_per_second, config.reserve_burst)
}

impl Budget {
    /// A budget whose reserve is full.
    ///
    /// # Errors
    /// If a field is out of its range; all faults are listed.
    pub fn new(config: BudgetConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        Ok(Self::valid(&config))
    }

    pub(crate) fn valid(config: &BudgetConfig) -> Self {
        Self::by(Arc::new(Settings::new(rules(config))))
    }

    /// A budget that shares its rules with others.
    pub(crate) fn by(rules: Arc<Settings<Rules>>) -> Self {
        // The version first: a reload in between is then applied by the first step.
        let version = rules.cached(|_| ());
        let locked = LockedLedger { ledger: rules.read(Ledger::new), version };
        Self { shared: Arc::new(SharedBudget { rules, locked: Mutex::new(locked) }) }
    }

    pub(crate) fn rules(&self) -> &Arc<Settings<Rules>> {
        &self.shared.rules
    }

    /// Applies changed rules now instead of at the next step: until then the reserve grows at the former rate.
    pub(crate) fn apply_rules(&self, now: Instant) {
        self.shared.with(now, |_| ());
    }

    /// Replaces the settings, for all layers that pay from this budget. Deposits are kept and expire after the new time to live. The
    /// reserve keeps its tokens, up to the new burst, and is not refilled: a reload never adds a retry.
    ///
    /// A layer's own budget is changed by [reloading the layer](super::RetryLayer::reload). A budget that was
    /// [given](super::RetryLayer::with_budget) to layers is changed only here.
    ///
    /// # Errors
    /// As [`new`](Self::new); nothing changes.
    pub fn reload(&self, config: &BudgetConfig) -> Result<(), InvalidConfig> {
        config.validate()?;
        self.rules().replace(rules(config), |_| self.apply_rules(time::now()));
        Ok(())
    }

    /// How many retries the budget could pay for now.
    pub fn balance(&self) -> u32 {
        let now = time::now();
        self.shared.with(now, |ledger| ledger.balance(now))
    }

    /// The share of the wanted retries that the budget grants while it can pay for them: 1, unless fewer than a tenth of the recent
    /// retries have helped. Then it falls in proportion, to 0.05 at the lowest.
    pub fn granted_share(&self) -> f64 {
        let now = time::now();
        self.shared.with(now, |ledger| ledger.granted_share(now))
    }

    pub(crate) fn is_as_new(&self, now: Instant) -> bool {
        self.shared.with(now, |ledger| ledger.is_as_new(now))
    }

    pub(crate) fn inherit(&self, other: &Self, now: Instant) {
        // One lock after the other.
        let reserve = other.shared.with(now, |ledger| ledger.reserve());
        self.shared.with(now, |ledger| ledger.inherit(reserve, now));
    }

    #[inline]
    pub(crate) fn deposit(&self, now: Instant) {
        self.shared.with(now, |ledger| ledger.deposit(now));
    }

    /// Pays for a retry that is wanted, if it can.
    pub(crate) fn withdraw(&self, now: Instant) -> Result<Withdrawal, NotGranted> {
        let claim = self.shared.with(now, |ledger| ledger.withdraw(now))?;
        Ok(self.withdrawal(claim))
    }

    /// As [`withdraw`](Self::withdraw), but not with the last token.
    pub(crate) fn withdraw_spare(&self, now: Instant) -> Result<Withdrawal, NotGranted> {
        let withdraw = |ledger: &mut Ledger| match ledger.balance(now) {
            0 | 1 => Err(NotGranted::Exhausted),
            _ => ledger.withdraw(now),
        };
        let claim = self.shared.with(now, withdraw)?;
        Ok(self.withdrawal(claim))
    }

    fn withdrawal(&self, claim: ClaimedToken) -> Withdrawal {
        Withdrawal { shared: Arc::clone(&self.shared), claim: Some(claim), sent: false, has_helped: None }
    }
}

/// The token of one retry, held until it is known whether the retry was sent. On drop the token is spent if the retry was sent, and
/// refunded otherwise.
#[derive(Debug)]
pub(crate) struct Withdrawal {
    shared: Arc<SharedBudget>,
    claim: Option<ClaimedToken>,
    sent: bool,
    /// `None` if the retry was given up: that says nothing.
    has_helped: Option<bool>,
}

impl Withdrawal {
    /// Records whether the retry was sent, as far as is known.
    pub(crate) fn mark(&mut self, sent: bool) {
        self.sent = sent;
    }

    /// The retry has ended. It has helped if its caller got an answer: also one that blames the request.
    pub(crate) fn ended(mut self, verdict: Verdict) {
        self.has_helped = match verdict {
            Verdict::Success | Verdict::CallerFault => Some(true),
            Verdict::Abandoned | Verdict::Ignored | Verdict::Unsent => None,
            _ => Some(false),
        };
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        match self.claim.take() {
            Some(claim) if self.sent => {
                let now = time::now();
                self.shared.with(now, |ledger| ledger.spend(claim, self.has_helped, now));
            }
            Some(claim) => lock(&self.shared.locked).ledger.refund(claim),
            None => {}
        }
    }
}
