use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::active::ActiveFault;
use super::config::{ChaosConfig, ChaosRule, Matching};
use super::fault::ChaosFault;
use crate::admission::registry::{ChaosCondition, Condition, Observed};
use crate::algorithm::chaos::{self, ActiveFaults};
use crate::ground::chance;
use crate::ground::error::Injected;
use crate::ground::settings::Settings;
use crate::ground::time::{self, CalendarTime, Instant};
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerParts, LayerState, observed};
use crate::telemetry::{self, Instruments, Tally};

/// The state that the services of one layer value share: the faults in progress, and the settings as calls use them.
#[derive(Debug)]
pub(crate) struct ChaosState {
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
    pub(super) applied: Settings<AppliedFaults>,
    active: Arc<ActiveFaults>,
}

/// The settings as calls use them, derived from the config.
#[derive(Debug)]
pub(super) struct AppliedFaults {
    enabled: bool,
    rules: Vec<ChaosRule>,
    max_active: u32,
    max_hold: Duration,
    end: Option<Instant>,
    /// Compared with the calendar when a rule hits: `end` is too late by the time for which the machine was suspended.
    until: Option<CalendarTime>,
    /// The end was reached and logged. It stays reached if the calendar is set back.
    is_over: AtomicBool,
}

/// What a service keeps of the settings, so that a call without a fault does not load them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    pub(super) is_on: bool,
    pub(super) max_hold: Duration,
}

/// What happens to a call.
pub(super) enum DrawnFault {
    Fault(ChaosFault, ActiveFault),
    /// No fault.
    Spared,
    /// No fault, now and later: the time of the faults is over.
    Over,
}

impl AppliedFaults {
    fn new(config: &ChaosConfig, now: Instant) -> Self {
        let ChaosConfig { enabled, ref rules, max_active, lasts, until, max_hold } = *config;
        // If the calendar is set back later, the end does not move.
        let left = until.map(CalendarTime::time_left);
        let end = chaos::end(now, lasts, left);
        Self { enabled, rules: rules.clone(), max_active, max_hold, end, until, is_over: AtomicBool::new(false) }
    }

    pub(super) fn switch(&self) -> Switch {
        Switch { is_on: self.enabled && !self.rules.is_empty(), max_hold: self.max_hold }
    }

    fn is_on_at(&self, now: Instant) -> bool {
        self.switch().is_on && !self.is_over_at(now) && !self.is_over_by_the_calendar()
    }

    fn is_over_at(&self, now: Instant) -> bool {
        chaos::is_over(self.end, now) || self.is_over.load(Ordering::Relaxed)
    }

    fn is_over_by_the_calendar(&self) -> bool {
        self.until.is_some_and(|until| until.time_left().is_zero())
    }
}

impl ChaosState {
    pub(super) fn new(parts: LayerParts<ChaosConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let applied = Settings::new(settings.read(|config| AppliedFaults::new(config, time::now())));
        Self { readiness_limit, instruments, applied, active: Arc::default() }
    }

    /// Decides what happens to a call at `now`. `matches` and `supports` run without a lock.
    pub(super) fn draw(
        &self,
        now: Instant,
        matches: impl Fn(&Matching) -> bool,
        supports: impl Fn(&ChaosFault) -> bool,
    ) -> DrawnFault {
        self.applied.read(|applied| {
            let over = || {
                if !applied.is_over.swap(true, Ordering::Relaxed) {
                    telemetry::chaos_over(&self.instruments);
                }
                DrawnFault::Over
            };
            if applied.is_over_at(now) {
                return over();
            }
            let hit = applied.rules.iter().find(|rule| {
                supports(&rule.fault) && matches(&rule.matching) && chaos::is_hit(rule.share, chance::sample())
            });
            let Some(rule) = hit else { return DrawnFault::Spared };
            if applied.is_over_by_the_calendar() {
                return over();
            }
            match ActiveFault::begin(&self.active, applied.max_active) {
                Some(active) => {
                    telemetry::injected(&self.instruments, rule.fault.as_str(), rule.fault.index());
                    observed::request_publication();
                    DrawnFault::Fault(rule.fault, active)
                }
                None => {
                    self.instruments.tally().spared.add();
                    observed::request_publication();
                    DrawnFault::Spared
                }
            }
        })
    }

    pub(super) fn active(&self) -> u32 {
        self.active.count()
    }

    pub(super) fn is_on(&self) -> bool {
        let now = time::now();
        self.applied.read(|applied| applied.is_on_at(now))
    }
}

impl LayerState<ChaosConfig> for ChaosState {
    fn apply_reload(&self, config: &ChaosConfig, before: &ChaosConfig) -> AfterReload<'_> {
        // A loader reloads all layers when anything in the file has changed. The end of a drill must not move with that.
        if config != before {
            self.applied.store(AppliedFaults::new(config, time::now()));
        }
        Box::new(|| ())
    }
}

impl Observed for ChaosState {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn condition(&self, now: Instant) -> Condition {
        let tally = self.instruments.tally();
        let (is_on, max_active, end) =
            self.applied.read(|applied| (applied.is_on_at(now), applied.max_active, applied.end));
        Condition::Chaos(ChaosCondition {
            is_on,
            ends_in: chaos::time_left(end.filter(|_| is_on), now),
            active: self.active(),
            max_active,
            injected: Tally::occurred(&tally.injected, Injected::FAULTS).collect(),
            spared: tally.spared.get(),
        })
    }
}
