//! The breakers of one layer value: one for each key, shared by all its services and handles.

use std::cmp::Ordering;
use std::sync::Arc as Shared;
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;

use super::KIND;
use super::config::CircuitBreakerConfig;
use super::settings::BreakerSettings;
use super::state::Breaker;
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying, Survey};
use crate::admission::registry::{BreakerCondition, Command, Condition, LastTransition, Observed, Unsupported};
use crate::algorithm::breaker::{Mode, State, Transition};
use crate::ground::error::Numbers;
use crate::ground::settings::{Cached, Settings};
use crate::ground::sync::atomic::{self, AtomicBool};
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::{self, Instant};
use crate::layers::call::breaker_ahead::{BreakerAhead, BreakersAhead};
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerParts, LayerState};
use crate::telemetry::{Instruments, Unreported};

#[derive(Debug)]
pub(crate) struct Breakers<K: Keying> {
    config: Shared<Settings<CircuitBreakerConfig>>,
    /// The settings derived from the config, for all breakers and calls.
    settings: Arc<Settings<BreakerSettings>>,
    /// The mode in which breakers of new keys start.
    mode: Mutex<Mode>,
    keyed: Keyed<K, Breaker>,
    summary: Survey<BreakersSummary>,
    readiness_limit: ReadinessLimit,
    unready_while_open: AtomicBool,
    instruments: Instruments,
}

/// A summary of all breakers.
#[derive(Clone, Debug, Default)]
struct BreakersSummary {
    in_flight: u64,
    open_keys: usize,
    worst: Option<State>,
    since: Option<Instant>,
    /// The outage of the breaker in the worst state; of several, of the earliest.
    outage: Numbers,
    last: Option<(Transition, Instant)>,
}

impl BreakersSummary {
    fn add(&mut self, breaker: &Breaker, now: Instant) -> State {
        let (snapshot, transition) = (breaker.snapshot(now), breaker.last_transition());
        let at = transition.map(|(_, at)| at);
        self.in_flight += snapshot.in_flight;
        let worst = self.worst.map(severity);
        self.since = match Some(severity(snapshot.state)).cmp(&worst) {
            Ordering::Less => self.since,
            // All are closed since the last one closed. One is open since the first one opened.
            Ordering::Equal if worst == Some(0) => self.since.max(at),
            Ordering::Equal => {
                let outage = breaker.numbers(now);
                if outage.open_for() > self.outage.open_for() {
                    self.outage = outage;
                }
                self.since.into_iter().chain(at).min()
            }
            Ordering::Greater => {
                self.worst = Some(snapshot.state);
                self.outage = breaker.numbers(now);
                at
            }
        };
        if at > self.last.map(|(_, at)| at) {
            self.last = transition;
        }
        snapshot.state
    }
}

impl Forgettable for Breaker {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.is_as_new(now)
    }

    fn inherit(&self, shared: &Self, now: Instant) {
        Breaker::inherit(self, shared, now);
    }
}

impl<K: Keying> Breakers<K> {
    pub(super) fn new(parts: LayerParts<CircuitBreakerConfig>, keying: K) -> Self {
        let LayerParts { settings: config, readiness_limit, instruments } = parts;
        let present = config.get();
        let mode = present.mode();
        let settings = Arc::new(Settings::new(BreakerSettings::of(&present)));
        let common = Breaker::new(Arc::clone(&settings), present.span(), mode, None, instruments.clone());
        Self {
            keyed: Keyed::new(keying, present.max_keys, common),
            summary: Survey::default(),
            mode: Mutex::new(mode),
            readiness_limit,
            unready_while_open: AtomicBool::new(present.unready_while_open),
            instruments,
            config,
            settings,
        }
    }

    /// How long a call may last, cached by a service that [refreshes](Self::max_hold) it at each call.
    pub(super) fn cached_max_hold(&self) -> Cached<Duration> {
        self.settings.cached(|settings| settings.max_hold)
    }

    /// How long a call may last.
    #[inline]
    pub(super) fn max_hold(&self, cached: &mut Cached<Duration>) -> Duration {
        *self.settings.refresh(cached, |settings| settings.max_hold)
    }

    pub(super) fn breaker<Req>(&self, request: &Req) -> Arc<Breaker>
    where
        K: KeyBy<Req>,
    {
        self.keyed.get(request, || self.make())
    }

    fn make(&self) -> Breaker {
        let (span, outage) = (self.config.read(CircuitBreakerConfig::span), self.common().outage());
        Breaker::new(Arc::clone(&self.settings), span, self.mode(), outage, self.instruments.clone())
    }

    pub(super) fn readiness_limit(&self) -> &ReadinessLimit {
        &self.readiness_limit
    }

    #[inline]
    pub(super) fn is_unready_while_open(&self) -> bool {
        self.unready_while_open.load(atomic::Ordering::Acquire)
    }

    pub(super) fn common(&self) -> &Arc<Breaker> {
        self.keyed.common()
    }

    pub(super) fn for_each(&self, visit: impl FnMut(&Breaker)) {
        self.keyed.for_each(visit);
    }

    pub(super) fn reset(&self, now: Instant) {
        self.keyed.for_each(|breaker| breaker.reset(now));
    }

    fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    pub(super) fn set_mode(&self, mode: Mode, now: Instant) {
        // In this order: the breaker of a key that is new at this moment is either visited below, or starts in the new mode.
        *lock(&self.mode) = mode;
        self.spread_mode(now);
    }

    fn spread_mode(&self, now: Instant) {
        let mut set = None;
        // Another thread may have stored another mode meanwhile, and its pass over the breakers may be overtaken by this one. So
        // repeat until all breakers have the mode that was stored last.
        while set != Some(self.mode()) {
            let mode = self.mode();
            self.keyed.for_each(|breaker| breaker.set_mode(mode, now));
            set = Some(mode);
        }
    }

    /// Breakers with another keying. Their state starts anew.
    pub(super) fn with_keying<L: Keying>(&self, parts: LayerParts<CircuitBreakerConfig>, keying: L) -> Breakers<L> {
        Breakers::new(parts, keying)
    }
}

impl<K: Keying> LayerState<CircuitBreakerConfig> for Breakers<K> {
    fn apply_reload(&self, config: &CircuitBreakerConfig, before: &CircuitBreakerConfig) -> AfterReload<'_> {
        let now = time::now();
        self.settings.store(BreakerSettings::of(config));
        self.unready_while_open.store(config.unready_while_open, atomic::Ordering::Release);
        let span = (config.window != before.window).then(|| config.span());
        self.keyed.for_each(|breaker| breaker.reloaded(span, now));
        let mut mode = lock(&self.mode);
        let is_forced = *mode != before.mode() && matches!(*mode, Mode::ForcedOpen | Mode::Disabled);
        let changes_mode = config.mode() != before.mode() && !is_forced;
        if changes_mode {
            *mode = config.mode();
        }
        drop(mode);
        self.keyed.set_max_keys(config.max_keys);
        Box::new(move || {
            self.keyed.shrink();
            // A service that waits to be ready may be ready now.
            self.common().state_changes().notify();
            if changes_mode {
                self.spread_mode(now);
            }
        })
    }
}

impl<K: Keying> BreakersAhead<K::Key> for Breakers<K> {
    fn breaker(&self, key: Option<K::Key>) -> Box<dyn BreakerAhead> {
        Box::new(self.keyed.of_key(key, || self.make()))
    }
}

impl BreakerAhead for Arc<Breaker> {
    fn refusal(&self, deadline: Option<Instant>, now: Instant) -> Option<Unreported> {
        let left = deadline.map_or_else(|| self.max_hold(), |deadline| deadline.since(now));
        let refused = self.would_refuse(left, now)?;
        Some(Breaker::refusal(self, refused, now))
    }

    fn changed(&self) -> OwnedNotified {
        self.state_changes().changed()
    }
}

impl<K: Keying> Observed for Breakers<K> {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn keys(&self) -> usize {
        self.keyed.len()
    }

    fn condition(&self, now: Instant) -> Condition {
        let common = self.common().snapshot(now);
        let summary = self.summary.read(&self.keyed, |summary, breaker| {
            let is_open = summary.add(breaker, now) != State::Closed;
            summary.open_keys += usize::from(is_open && !std::ptr::eq(breaker, &**self.common()));
        });
        let BreakersSummary { in_flight, open_keys, worst, since, outage, last } = summary;
        let tally = self.instruments.tally();
        let named = self.instruments.named().map_or(now, |named| named.since);
        Condition::CircuitBreaker(BreakerCondition {
            state: worst.unwrap_or(common.state),
            since: now.since(since.unwrap_or(named)),
            outage,
            observe_only: self.common().mode() == Mode::Observing,
            calls: common.calls,
            failures: common.failures,
            slow: common.slow,
            in_flight,
            overdue: common.overdue,
            open_keys,
            transitions: tally.transitions.iter().flatten().map(|count| count.get()).sum(),
            last_transition: last.map(|(Transition { from, to }, at)| LastTransition { from, to, ago: now.since(at) }),
        })
    }

    fn apply(&self, command: Command, now: Instant) -> Result<(), Unsupported> {
        match command {
            Command::ForceOpen => self.set_mode(Mode::ForcedOpen, now),
            Command::Disable => self.set_mode(Mode::Disabled, now),
            Command::Observe => self.set_mode(Mode::Observing, now),
            Command::Enforce => self.set_mode(Mode::Enforcing, now),
            Command::Reset => self.reset(now),
            other => return Err(Unsupported::new(KIND, other)),
        }
        Ok(())
    }
}

/// Orders the states by how few calls they admit.
fn severity(state: State) -> u8 {
    match state {
        State::Disabled | State::Closed => 0,
        State::HalfOpen => 1,
        State::Open => 2,
        State::ForcedOpen => 3,
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::admission::keyed::OneKey;
    use crate::algorithm::breaker::State;
    use crate::layers::core::LayerCore;

    /// A breaker is forced open while a reload ends its observe-only mode. Whichever comes first, it stays forced open.
    #[test]
    fn loom_reload_keeps_forced_open() {
        loom::model(|| {
            let observing = CircuitBreakerConfig { observe_only: true, ..CircuitBreakerConfig::default() };
            let core = LayerCore::new(KIND, observing, |parts| Breakers::new(parts, OneKey)).expect("a valid config");
            let (breakers, theirs) = (core.state(), Shared::clone(core.state()));
            let now = Instant::from_nanos(1 << 63);
            let thread = loom::thread::spawn(move || theirs.set_mode(Mode::ForcedOpen, now));
            core.apply(&CircuitBreakerConfig::default())();
            thread.join().expect("no panic");
            assert_eq!(breakers.common().snapshot(now).state, State::ForcedOpen);
            assert_eq!(breakers.mode(), Mode::ForcedOpen);
        });
    }
}
