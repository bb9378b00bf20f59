//! The gates of a layer that grants permits, one for each key, and the settings with which calls pass them.

use std::time::Duration;

use crate::admission::gate::{Gate, Turns};
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying, Survey};
use crate::admission::lag_probe::{LagCondition, LagProbes};
use crate::admission::registry::{Command, Condition, GateCondition, Observed, Unsupported};
use crate::algorithm::limit::Law;
use crate::algorithm::runtime_lag::LagRefusal;
use crate::ground::error::{Numbers, Reason};
use crate::ground::layer_id::LayerKind;
use crate::ground::scope::Context;
use crate::ground::settings::{Cached, Settings};
use crate::ground::sync::Arc;
use crate::ground::sync::atomic::{AtomicU32, Ordering};
use crate::ground::time::Instant;
use crate::ground::validation::Validation;
use crate::layers::call::breaker_ahead::{Connection, Lookahead};
use crate::layers::core::AfterReload;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::telemetry::{Instruments, Unreported};

/// How many calls may wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum QueueLimit {
    AtMost(u32),
    /// So many for each permit.
    PerPermit(f64),
    /// The layer is disabled: every call passes, and none is counted.
    Off,
}

/// The settings with which calls pass a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GateSettings {
    /// How the limit of each gate is found.
    pub(crate) law: Law,
    /// In which order waiting calls get permits.
    pub(crate) turns: Turns,
    pub(crate) queue_limit: QueueLimit,
    pub(crate) max_wait: Duration,
    pub(crate) max_hold: Duration,
}

impl GateSettings {
    #[inline]
    pub(crate) fn max_waiting(&self, limit: u32) -> u32 {
        match self.queue_limit {
            QueueLimit::AtMost(waiting) => waiting,
            // At least one: with a queue of length zero, one of two simultaneous calls would be refused.
            QueueLimit::PerPermit(ratio) => ((f64::from(limit) * ratio) as u32).max(1),
            QueueLimit::Off => 0,
        }
    }

    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.queue_limit == QueueLimit::Off
    }
}

/// A layer's config, as its gates use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatesConfig {
    /// How many permits each gate has at most.
    pub(crate) limit: u32,
    pub(crate) max_keys: usize,
    /// How late the runtime may poll tasks. `None`: it is not measured.
    pub(crate) max_lag: Option<Duration>,
    pub(crate) settings: GateSettings,
}

impl GatesConfig {
    /// Records the faults of what all layers that grant permits have. Its fields have the same names in each of them.
    pub(crate) fn check(&self, validation: &mut Validation) {
        validation.positive("max_wait", self.settings.max_wait);
        validation.positive("max_hold", self.settings.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
        self.settings.turns.check(validation);
    }
}

/// The gates of a layer value, one for each key.
#[derive(Debug)]
pub(crate) struct Gates<K: Keying> {
    gates: Keyed<K, Gate>,
    settings: Settings<GateSettings>,
    /// The limit of new gates.
    limit: AtomicU32,
    instruments: Instruments,
    summary: Survey<GatesSummary>,
    /// Permits do not bound the number of calls that wait for readiness: a limit may be large, and a call of weight zero needs no
    /// permit.
    readiness_limit: ReadinessLimit,
    ahead: Connection<K>,
    lag: LagProbes,
}

/// A summary of all gates.
#[derive(Clone, Copy, Debug, Default)]
struct GatesSummary {
    in_flight: u64,
    waiting: u64,
    service_time: Duration,
}

impl Forgettable for Gate {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.is_as_new(now)
    }

    /// Permits stay with the calls that hold them. While such calls are running, a key may exceed its limit by their number.
    fn inherit(&self, _shared: &Self, _now: Instant) {}
}

impl<K: Keying> Gates<K> {
    pub(crate) fn new(
        config: GatesConfig,
        keying: K,
        readiness_limit: ReadinessLimit,
        instruments: Instruments,
    ) -> Self {
        let GatesConfig { limit, max_keys, max_lag, settings } = config;
        Self {
            gates: Keyed::new(
                keying,
                max_keys,
                Gate::observed(settings.law, limit, settings.turns, instruments.clone()),
            ),
            settings: Settings::new(settings),
            limit: AtomicU32::new(limit),
            instruments,
            summary: Survey::default(),
            readiness_limit,
            ahead: Connection::default(),
            lag: LagProbes::new(max_lag),
        }
    }

    /// The breakers ahead, whose refusals calls need not wait for.
    pub(crate) fn ahead(&self) -> &Connection<K> {
        &self.ahead
    }

    /// A watch on the breaker that the request would reach, if one is connected.
    pub(crate) fn look_ahead<Req>(&self, request: &Req) -> Option<Lookahead>
    where
        K: KeyBy<Req>,
    {
        self.ahead.look_ahead(|| self.gates.key(request))
    }

    pub(crate) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// The refusal of a call because the runtime polls tasks too late. A call whose deadline has passed is refused for that.
    #[inline]
    pub(crate) fn refuse_for_lag(&self, now: Instant, context: &Context) -> Option<Unreported> {
        let LagRefusal { lag, share } = self.lag.admit(now, context.priority()).err()?;
        if context.deadline.is_some_and(|deadline| deadline <= now) {
            return None;
        }
        let numbers = Numbers::of_lag(lag, self.lag.max_lag(), share);
        Some(self.instruments.refuse(Reason::RuntimeLag).with_numbers(numbers))
    }

    /// The settings, cached by a service that [refreshes](Self::settings) them at each call.
    pub(crate) fn cached_settings(&self) -> Cached<GateSettings> {
        self.settings.cached(|settings| *settings)
    }

    /// The settings in force.
    #[inline]
    pub(crate) fn settings(&self, cached: &mut Cached<GateSettings>) -> GateSettings {
        *self.settings.refresh(cached, |settings| *settings)
    }

    #[inline]
    pub(crate) fn readiness_limit(&self) -> &ReadinessLimit {
        &self.readiness_limit
    }

    #[inline]
    pub(crate) fn gate<Req>(&self, request: &Req) -> Arc<Gate>
    where
        K: KeyBy<Req>,
    {
        self.gates.get(request, || {
            let (law, turns) = self.settings.read(|settings| (settings.law, settings.turns));
            Gate::observed(law, self.max_limit(), turns, self.instruments.clone())
        })
    }

    /// Replaces the settings for new calls, and the limit if `changes_limit`. Callers must serialise calls of this.
    pub(crate) fn replace(&self, config: GatesConfig, changes_limit: bool) -> AfterReload<'_> {
        let GatesConfig { limit, max_keys, max_lag, settings } = config;
        self.settings.replace(settings, |_| ());
        self.gates.for_each(|gate| gate.set_turns(settings.turns));
        if changes_limit {
            self.limit.store(limit, Ordering::Release);
        }
        self.gates.set_max_keys(max_keys);
        self.lag.set_max_lag(max_lag);
        Box::new(move || {
            self.gates.shrink();
            self.spread_limit();
        })
    }

    /// The limit of each gate, unless it is learned.
    pub(crate) fn max_limit(&self) -> u32 {
        self.limit.load(Ordering::Acquire)
    }

    /// The limit in force: with keys, the highest one.
    pub(crate) fn limit(&self) -> u32 {
        let (max, mut limit) = (self.max_limit(), 0);
        self.gates.for_each(|gate| limit = limit.max(gate.limit()));
        if limit == 0 { max } else { limit.min(max) }
    }

    pub(crate) fn set_limit(&self, limit: u32) {
        // A gate that is made meanwhile either has the new limit or is visited below.
        self.limit.store(limit, Ordering::Release);
        self.spread_limit();
    }

    /// What the gates enforce: no limit while the layer is off, so that all waiting calls pass.
    fn enforced(&self) -> (Law, u32) {
        let (law, is_off) = self.settings.read(|settings| (settings.law, settings.is_off()));
        (law, if is_off { u32::MAX } else { self.max_limit() })
    }

    fn spread_limit(&self) {
        let mut set = None;
        // Another thread may have stored another limit or other settings meanwhile, and its pass over the gates may be overtaken by
        // this one. So repeat until all gates have the limit that is in force.
        while set != Some(self.enforced()) {
            let (law, max) = self.enforced();
            self.gates.for_each(|gate| gate.configure(law, max));
            set = Some((law, max));
        }
    }

    /// The permits in use, over all keys.
    pub(crate) fn in_use(&self) -> usize {
        self.sum(Gate::in_use)
    }

    /// The calls that wait, over all keys.
    pub(crate) fn waiting(&self) -> usize {
        self.sum(Gate::waiting)
    }

    fn sum(&self, of: impl Fn(&Gate) -> u32) -> usize {
        let mut sum = 0;
        self.gates.for_each(|gate| sum += of(gate) as usize);
        sum
    }
}

impl<K: Keying> Observed for Gates<K> {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn keys(&self) -> usize {
        self.gates.len()
    }

    fn condition(&self, now: Instant) -> Condition {
        let GatesSummary { in_flight, waiting, service_time } = self.summary.read(&self.gates, |summary, gate| {
            summary.in_flight += u64::from(gate.in_use());
            summary.waiting += u64::from(gate.waiting());
            summary.service_time = summary.service_time.max(gate.service_time(now));
        });
        let LagCondition { lag, refused_share } = self.lag.condition();
        let condition =
            GateCondition { in_flight, waiting, limit: self.limit(), service_time, runtime_lag: lag, refused_share };
        match self.instruments.kind() {
            LayerKind::LoadShed => Condition::LoadShed(condition),
            _ => Condition::Bulkhead(condition),
        }
    }

    fn apply(&self, command: Command, _now: Instant) -> Result<(), Unsupported> {
        match command {
            Command::SetLimit(limit) => {
                self.set_limit(limit.get());
                Ok(())
            }
            other => Err(Unsupported::new(self.instruments.kind(), other)),
        }
    }
}

#[cfg(test)]
const fn config(limit: u32, queue_limit: QueueLimit) -> GatesConfig {
    let settings = GateSettings {
        law: Law::Fixed,
        turns: Turns { order: crate::admission::gate::Order::Fifo, low_priority_share: 0.0 },
        queue_limit,
        max_wait: Duration::ZERO,
        max_hold: Duration::ZERO,
    };
    GatesConfig { limit, max_keys: 8, max_lag: None, settings }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;
    use crate::admission::keyed::OneKey;

    const ON: GatesConfig = config(4, QueueLimit::AtMost(1));
    const OFF: GatesConfig = config(4, QueueLimit::Off);

    fn gates(config: GatesConfig) -> Gates<OneKey> {
        Gates::new(config, OneKey, ReadinessLimit::default(), Instruments::new(LayerKind::Bulkhead))
    }

    /// The second part of a reload runs unlocked, and may be overtaken by that of a later one.
    #[test]
    fn overtaken_reload_leaves_the_limit_in_force() {
        for (first, second, limit) in [(OFF, ON, 4), (ON, OFF, u32::MAX)] {
            let gates = gates(ON);
            let overtaken = gates.replace(first, false);
            gates.replace(second, false)();
            overtaken();
            assert_eq!(gates.gate(&()).limit(), limit);
        }
    }

    #[test]
    fn limit_set_by_hand_applies_once_the_layer_is_on() {
        let gates = gates(ON);
        gates.replace(OFF, false)();
        gates.set_limit(2);
        assert_eq!(gates.gate(&()).limit(), u32::MAX, "off");
        gates.replace(ON, false)();
        assert_eq!(gates.gate(&()).limit(), 2);
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::admission::gate::Order;
    use crate::admission::keyed::{ByKey, OneKey};

    /// A key's gate is made while the settings are replaced: it is made with the new ones, or visited.
    #[test]
    fn loom_gate_made_during_reload_has_the_new_limit() {
        loom::model(|| {
            let before = config(1, QueueLimit::AtMost(1));
            let instruments = Instruments::new(LayerKind::Bulkhead);
            let gates =
                Arc::new(Gates::new(before, ByKey::new(|key: &u8| *key), ReadinessLimit::default(), instruments));
            let theirs = Arc::clone(&gates);
            let thread = loom::thread::spawn(move || theirs.gate(&7));
            let turns = Turns { order: Order::Lifo, ..before.settings.turns };
            let settings = GateSettings { turns, ..before.settings };
            gates.replace(GatesConfig { limit: 3, settings, ..before }, true)();
            let gate = thread.join().expect("no panic");
            assert_eq!((gate.limit(), gates.gate(&7).limit()), (3, 3));
        });
    }

    /// Two threads set the limit at once: whichever wins, the gates have the limit that is shown.
    #[test]
    fn loom_shown_limit_is_that_of_the_gates() {
        loom::model(|| {
            let instruments = Instruments::new(LayerKind::Bulkhead);
            let gates =
                Arc::new(Gates::new(config(1, QueueLimit::AtMost(1)), OneKey, ReadinessLimit::default(), instruments));
            let theirs = Arc::clone(&gates);
            let thread = loom::thread::spawn(move || theirs.set_limit(2));
            gates.set_limit(3);
            thread.join().expect("no panic");
            assert_eq!(gates.gate(&()).limit(), gates.limit());
        });
    }
}
