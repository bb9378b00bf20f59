//! Decides which calls a client refuses itself, because its dependency refuses most of them for overload.
//!
//! The law is that of client-side throttling in *Site Reliability Engineering*, chapter "Handling Overload". Of the last `window`,
//! `requests` are the calls that were to be sent, and `accepts` those that were sent and not refused. The share of the calls that is
//! refused locally is
//!
//! ```text
//! (requests - multiplier * accepts) / (requests + 1)      within 0 ..= max_share
//! ```
//!
//! `requests` has the calls that are refused locally, too. So the client sends about `multiplier` times as many calls as are accepted:
//! with `s` sent and `a` accepted of `n`, `1 - s / n = 1 - multiplier * a / n`. The law of the book has some additions:
//!
//! - **A call is accepted from when it is sent**, until its answer is a refusal. Otherwise the calls in flight of a slow dependency
//!   would look refused. A call that is cancelled stays accepted: nothing has refused it.
//! - **The lowest priorities go first.** Calls of a priority are refused only if those of higher priorities and its own are together more
//!   than `multiplier * accepts`. The probes of lower priorities do not count: else a few important calls would be refused for many
//!   unimportant ones.
//! - **Few calls prove nothing**: with fewer than ten in the window, all are sent.
//! - **A call is sent after `probe_interval` without one**, whatever its chance is: a client with few calls notices the end of the
//!   overload.
//! - **The counts are dropped when the dependency has stopped refusing.** With the law alone, the client would need more than a window
//!   to send all calls again after an overload, as the share falls no faster than accepts come in. See [`AdaptiveThrottle::recover`].

mod window;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use self::window::CallWindow;
use crate::ground::scope::Priority;
use crate::ground::time::Instant;

/// The settings of the law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ThrottlePolicy {
    /// For how long a call counts.
    pub(crate) window: Duration,
    /// How many calls are sent for each that is accepted; more than one.
    pub(crate) multiplier: f64,
    /// The most that is refused of the calls of one priority, within 0 and 1.
    pub(crate) max_share: f64,
    /// After this time without a call that was sent, the next one is.
    pub(crate) probe_interval: Duration,
}

/// The counts of the dependency's answers, and the decision by them.
#[derive(Clone, Debug)]
pub(crate) struct AdaptiveThrottle {
    window: CallWindow,
    /// Changes when the counts are dropped. An answer to a call of before changes nothing.
    generation: u32,
    last_sent: Option<Instant>,
    last_refusal: Option<LastRefused>,
}

/// The last refusal by the dependency.
#[derive(Clone, Copy, Debug)]
struct LastRefused {
    at: Instant,
    /// The wait that it asked for.
    retry_after: Option<Duration>,
    /// The calls that the dependency has answered since, and not refused.
    answered_since: u32,
}

/// A call that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentCall {
    generation: u32,
    epoch: u64,
    priority: Priority,
}

/// Why a call is refused locally.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LocalRefusal {
    pub(crate) counts: ThrottleCounts,
    /// The wait that the dependency asked for in its last refusal.
    pub(crate) retry_after: Option<Duration>,
}

/// The calls of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ThrottleCounts {
    /// All, those that were refused locally included.
    pub(crate) requests: u64,
    /// Those that were sent and not refused.
    pub(crate) accepts: u64,
    /// The share of all calls that is refused locally.
    pub(crate) share: f64,
}

/// With fewer calls in the window all are sent: one that happens to be refused, after a pause, is no overload.
const LEAST_REQUESTS: u64 = 10;

/// How unlikely so many answers in a row have to be by chance, if they are to end the throttling: one in a million.
const CHANCE_OF_ANSWERS: f64 = 1e-6;

impl AdaptiveThrottle {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window: CallWindow::new(window), generation: 0, last_sent: None, last_refusal: None }
    }

    /// Sends or refuses a call. `chance` is a sample from `0.0..1.0`, drawn only if it decides.
    pub(crate) fn admit(
        &mut self,
        policy: &ThrottlePolicy,
        priority: Priority,
        now: Instant,
        chance: impl FnOnce() -> f64,
    ) -> Result<SentCall, LocalRefusal> {
        if !self.window.is_of(policy.window) {
            self.drop_counts(policy.window, now);
        }
        self.window.advance(now);
        self.recover(policy, now);
        let share = self.share_of(policy, priority);
        if share > 0.0 && !self.is_probe_due(policy, now) && chance() < share {
            let retry_after = self.last_refusal.and_then(|last| last.retry_after);
            let counts = self.present_counts(policy);
            self.window.count_refused_here(priority);
            return Err(LocalRefusal { counts, retry_after });
        }
        let epoch = self.window.count_sent(priority);
        self.last_sent = Some(now);
        Ok(SentCall { generation: self.generation, epoch, priority })
    }

    /// The dependency has refused a call for overload, and asked for a wait.
    pub(crate) fn refused(&mut self, sent: SentCall, retry_after: Option<Duration>, now: Instant) {
        if sent.generation == self.generation {
            self.window.advance(now);
            self.window.count_refused_there(sent.epoch);
            self.last_refusal = Some(LastRefused { at: now, retry_after, answered_since: 0 });
        }
    }

    /// The dependency has answered a call, and not refused it.
    pub(crate) fn answered(&mut self, sent: SentCall) {
        if let Some(last) = self.last_refusal.as_mut().filter(|_| sent.generation == self.generation) {
            last.answered_since = last.answered_since.saturating_add(1);
        }
    }

    /// The call was not sent after all: an inner layer refused it, or there was no connection. If it was a probe, another one is due.
    pub(crate) fn withdraw(&mut self, sent: SentCall) {
        if sent.generation == self.generation {
            self.window.withdraw(sent.epoch, sent.priority);
            self.last_sent = None;
        }
    }

    /// The calls of the window at `now`.
    pub(crate) fn counts(&mut self, policy: &ThrottlePolicy, now: Instant) -> ThrottleCounts {
        self.window.advance(now);
        self.recover(policy, now);
        self.present_counts(policy)
    }

    /// Whether a new throttle would refuse no fewer calls: the dependency has refused none within the window.
    pub(crate) fn is_as_new(&mut self, now: Instant) -> bool {
        self.window.advance(now);
        self.window.requests() == self.window.accepts()
    }

    /// Drops the counts by which calls are refused, once the dependency refuses nothing any more. It has answered calls since its last
    /// refusal, and either
    /// - this took a slice of the window, and so many answers in a row are no accident while the law is in balance, where one in
    ///   `multiplier` calls is accepted; or
    /// - it took half of the window.
    ///
    /// A call without an answer shows nothing: a dependency that stalls refuses no calls either.
    fn recover(&mut self, policy: &ThrottlePolicy, now: Instant) {
        let Some(last) = self.last_refusal.filter(|last| last.answered_since > 0) else { return };
        if self.excess(policy) <= 0.0 {
            return;
        }
        let quiet = now.since(last.at);
        let is_no_accident = || f64::from(last.answered_since) >= CHANCE_OF_ANSWERS.ln() / -policy.multiplier.ln();
        if quiet >= policy.window / 2 || quiet >= self.window.slice() && is_no_accident() {
            self.drop_counts(policy.window, now);
        }
    }

    fn drop_counts(&mut self, window: Duration, now: Instant) {
        self.window = CallWindow::new(window);
        self.window.advance(now);
        self.generation = self.generation.wrapping_add(1);
        self.last_refusal = None;
    }

    fn is_probe_due(&self, policy: &ThrottlePolicy, now: Instant) -> bool {
        self.last_sent.is_none_or(|last_sent| now.since(last_sent) >= policy.probe_interval)
    }

    /// How many calls of the window are more than the dependency gets; none, or fewer, if there are few calls.
    fn excess(&self, policy: &ThrottlePolicy) -> f64 {
        if self.window.requests() < LEAST_REQUESTS {
            return 0.0;
        }
        self.window.requests() as f64 - policy.multiplier * self.window.accepts() as f64
    }

    /// The share of the calls of this priority that is refused: what is left of the excess without the lower priorities.
    fn share_of(&self, policy: &ThrottlePolicy, priority: Priority) -> f64 {
        let (lower, own) = self.window.requests_below_and_at(priority);
        bounded((self.excess(policy) - lower as f64) / (own as f64 + 1.0), policy)
    }

    fn present_counts(&self, policy: &ThrottlePolicy) -> ThrottleCounts {
        let (requests, accepts) = (self.window.requests(), self.window.accepts());
        let share = bounded(self.excess(policy) / (requests as f64 + 1.0), policy);
        ThrottleCounts { requests, accepts, share }
    }
}

fn bounded(share: f64, policy: &ThrottlePolicy) -> f64 {
    share.max(0.0).min(policy.max_share)
}
