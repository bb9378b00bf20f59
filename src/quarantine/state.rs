use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc as Shared;
use std::task::Waker;
use std::time::Duration;

use super::config::QuarantineConfig;
use super::waiting::{TurnQueue, WaitingPosition};
use crate::admission::registry::{Condition, Observed, QuarantineCondition};
use crate::algorithm::quarantine::{At, Cleared, Limits, Loss, QuarantineAdmission, Suspects, Turn, bit};
use crate::ground::error::Reason;
use crate::ground::settings::Settings;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, MutexGuard, foreign, lock};
use crate::ground::time::{self, Instant};
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerParts, LayerState, observed};
use crate::telemetry::{self, Instruments, Unreported};

/// The state that the services of one layer value share: the suspects, and the calls that wait for their turn.
pub(crate) struct QuarantineState {
    pub(super) settings: Shared<Settings<QuarantineConfig>>,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
    /// [`Suspects::bits`], so that a call takes no lock while its fingerprint is not suspected. A call that reads it a moment too early
    /// is one that was sent before the loss.
    bits: AtomicU64,
    /// [`Suspects::answers_until`] in nanoseconds, so that an answer takes no lock unless a loss was counted just before. Zero: never.
    answers_until: AtomicU64,
    tracked: Mutex<TrackedSuspects>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct TrackedSuspects {
    suspects: Suspects,
    waiting: TurnQueue,
}

impl TrackedSuspects {
    /// Withdraws losses that are explained by now. Returns the wakers of the calls that this concerns, to be woken unlocked.
    #[must_use]
    fn settle(&mut self, limits: &Limits, now: Instant) -> Vec<Waker> {
        let withdrawn = self.suspects.settle(limits, now);
        self.waiting.all_of_each(withdrawn)
    }
}

/// Why a call that waits is not sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum NotSent {
    /// Another call has the turn, or has waited longer. This one asks again at this instant at the latest.
    Until(Instant),
    /// Its fingerprint was quarantined, for so long.
    Refused(Duration),
}

impl Limits {
    pub(super) fn of(config: &QuarantineConfig) -> Self {
        let QuarantineConfig { endpoints, window, duration, max_turn, max_fingerprints, .. } = *config;
        Self { endpoints, window, duration, turn: max_turn, max_fingerprints }
    }
}

impl QuarantineState {
    pub(super) fn new(parts: LayerParts<QuarantineConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let (bits, answers_until) = (AtomicU64::new(0), AtomicU64::new(0));
        let (tracked, hasher) = (Mutex::new(TrackedSuspects::default()), RandomState::new());
        Self { settings, readiness_limit, instruments, bits, answers_until, tracked, hasher }
    }

    /// The hash of a fingerprint, if it may be suspected. Runs the user's code.
    #[inline]
    pub(super) fn tracked(&self, key: &impl Hash) -> Option<u64> {
        let bits = self.bits.load(Ordering::Relaxed);
        if bits == 0 {
            return None;
        }
        let fingerprint = self.hash(key);
        (bits & bit(fingerprint) != 0).then_some(fingerprint)
    }

    pub(super) fn hash(&self, key: &impl Hash) -> u64 {
        foreign(|| self.hasher.hash_one(key))
    }

    fn limits(&self) -> Limits {
        self.settings.read(Limits::of)
    }

    pub(super) fn max_turn(&self) -> Duration {
        self.settings.read(|config| config.max_turn)
    }

    fn publish(&self, tracked: &MutexGuard<'_, TrackedSuspects>) {
        self.bits.store(tracked.suspects.bits(), Ordering::Relaxed);
        let answers_until = tracked.suspects.answers_until().map_or(0, Instant::as_nanos);
        self.answers_until.store(answers_until, Ordering::Relaxed);
    }

    /// Decides about a new call. It does not overtake the calls that wait.
    pub(super) fn admit(&self, fingerprint: u64, now: Instant) -> QuarantineAdmission {
        let limits = self.limits();
        let (admission, woken) = {
            let mut tracked = lock(&self.tracked);
            let woken = tracked.settle(&limits, now);
            let is_next = !tracked.waiting.is_any(fingerprint);
            let admission = tracked.suspects.admit(fingerprint, is_next, &limits, now);
            self.publish(&tracked);
            (admission, woken)
        };
        wake(woken);
        admission
    }

    /// The refusal of a call that is quarantined for so much longer.
    pub(super) fn refuse(&self, left: Duration) -> Unreported {
        self.instruments.refuse(Reason::Quarantined).with_retry_after(Some(left))
    }

    /// Lets a call wait, if there is room.
    pub(super) fn enter(&self, fingerprint: u64) -> Option<WaitingPosition> {
        let max = self.settings.read(|config| config.max_waiting);
        lock(&self.tracked).waiting.enter(fingerprint, max)
    }

    /// Decides about a call that waits: it is sent, with the turn if its fingerprint is still a suspect. If it goes on waiting, `waker`
    /// is woken when that changes.
    pub(super) fn ask(
        &self,
        fingerprint: u64,
        position: WaitingPosition,
        waker: Waker,
        now: Instant,
    ) -> Result<Option<Turn>, NotSent> {
        let (limits, mut waker) = (self.limits(), Some(waker));
        let (answer, woken) = {
            let mut tracked = lock(&self.tracked);
            let woken = tracked.settle(&limits, now);
            let is_next = tracked.waiting.is_next(position);
            let admission = tracked.suspects.admit(fingerprint, is_next, &limits, now);
            self.publish(&tracked);
            let answer = match admission {
                QuarantineAdmission::Free => Ok(None),
                QuarantineAdmission::Turn(turn) => Ok(Some(turn)),
                QuarantineAdmission::Wait(until) => {
                    tracked.waiting.register(position, &mut waker);
                    Err(NotSent::Until(until))
                }
                QuarantineAdmission::Refused(left) => Err(NotSent::Refused(left)),
            };
            (answer, woken)
        };
        wake(woken);
        foreign(|| drop(waker));
        answer
    }

    /// A call waits no longer. If the turn was meant for it, another call gets it.
    pub(super) fn leave(&self, fingerprint: u64, position: WaitingPosition) {
        let (own, next) = {
            let mut tracked = lock(&self.tracked);
            (tracked.waiting.leave(position), tracked.waiting.first(fingerprint))
        };
        foreign(|| drop(own));
        wake(next);
    }

    /// A call was lost, soon after the head of its response has cleared what `cleared` says. `describe` names its fingerprint, and runs
    /// the user's code.
    pub(super) fn lost(&self, loss: Loss, cleared: Option<Cleared>, describe: impl FnOnce() -> String) {
        let (is_enabled, limits) = self.settings.read(|config| (config.enabled, Limits::of(config)));
        if !is_enabled {
            return;
        }
        let (quarantined, woken) = {
            let mut tracked = lock(&self.tracked);
            let changes = tracked.suspects.lost(loss, cleared, &limits);
            self.publish(&tracked);
            let of_quarantined = changes.quarantined.map(|_| loss.fingerprint);
            let changed = changes.withdrawn.into_iter().chain(of_quarantined);
            (changes.quarantined, tracked.waiting.all_of_each(changed))
        };
        wake(woken);
        if let Some(duration) = quarantined {
            telemetry::quarantined(&self.instruments, &foreign(describe), duration);
            observed::request_publication();
        }
    }

    /// An endpoint has answered a call that was sent then.
    #[inline]
    pub(super) fn answered(&self, endpoint: At, sent: Instant) {
        if self.answers_until.load(Ordering::Relaxed) != 0 {
            self.answered_after_a_loss(endpoint, sent);
        }
    }

    #[cold]
    fn answered_after_a_loss(&self, endpoint: At, sent: Instant) {
        let (now, until) = (time::now(), self.answers_until.load(Ordering::Relaxed));
        if now.as_nanos() > until {
            // A loss meanwhile has set a later time.
            let _ = self.answers_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
            return;
        }
        let limits = self.limits();
        let woken = {
            let mut tracked = lock(&self.tracked);
            let withdrawn = tracked.suspects.answered(endpoint, sent, &limits, now);
            self.publish(&tracked);
            tracked.waiting.all_of_each(withdrawn)
        };
        wake(woken);
    }

    /// A call that was sent then has succeeded: its fingerprint is suspected no more. Returns what that has cleared.
    pub(super) fn cleared(&self, fingerprint: u64, sent: Instant) -> Option<Cleared> {
        let (cleared, woken) = {
            let mut tracked = lock(&self.tracked);
            let cleared = tracked.suspects.cleared(fingerprint, sent);
            self.publish(&tracked);
            let woken = if cleared.is_some() { tracked.waiting.all_of(fingerprint) } else { Vec::new() };
            (cleared, woken)
        };
        wake(woken);
        cleared
    }

    /// The call that had the turn is over, or its response has begun.
    pub(super) fn pass_on(&self, fingerprint: u64, turn: Turn) {
        let now = time::now();
        let next = {
            let mut tracked = lock(&self.tracked);
            tracked.suspects.pass_on(fingerprint, turn, now);
            tracked.waiting.first(fingerprint)
        };
        wake(next);
    }
}

impl QuarantineState {
    /// How many fingerprints are suspects, and how many are quarantined.
    pub(super) fn counts(&self) -> (usize, usize) {
        let limits = self.limits();
        lock(&self.tracked).suspects.counts(&limits, time::now())
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.tracked).waiting.len()
    }

    /// Forgets all suspects. What is returned wakes the calls that wait.
    pub(super) fn reset(&self) -> impl FnOnce() + use<> {
        let woken = {
            let mut tracked = lock(&self.tracked);
            tracked.suspects.clear();
            self.publish(&tracked);
            tracked.waiting.all()
        };
        || wake(woken)
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(|waker| foreign(|| waker.wake()));
}

impl LayerState<QuarantineConfig> for QuarantineState {
    fn apply_reload(&self, config: &QuarantineConfig, _before: &QuarantineConfig) -> AfterReload<'_> {
        if !config.enabled {
            return Box::new(self.reset());
        }
        // The ends of turns and of suspicions may have changed: each call that waits asks again.
        let woken = {
            let mut tracked = lock(&self.tracked);
            tracked.suspects.reload(&Limits::of(config));
            tracked.waiting.all()
        };
        Box::new(|| wake(woken))
    }
}

impl Observed for QuarantineState {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, _now: Instant) -> Condition {
        let (suspects, quarantined) = self.counts();
        Condition::Quarantine(QuarantineCondition {
            enabled: self.settings.read(|config| config.enabled),
            suspects,
            quarantined,
            waiting: self.waiting(),
            quarantines: self.instruments.tally().quarantines.get(),
        })
    }
}

impl fmt::Debug for QuarantineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suspects, quarantined) = self.counts();
        f.debug_struct("QuarantineState")
            .field("suspects", &suspects)
            .field("quarantined", &quarantined)
            .finish_non_exhaustive()
    }
}
