//! The state of a layer value: its endpoints, and who of them gets calls. All services of the layer value share it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::config::BalanceConfig;
use super::discovery::discovery_task::DiscoveryTask;
use super::endpoint::{self, Endpoint};
use super::endpoint_set::{EndpointSet, Member};
use super::endpoint_state::EndpointState;
use crate::algorithm::balance::{EjectionChange, EjectionRecord, Judged, SetLoad};
use crate::ground::chance;
use crate::ground::error::InvalidConfig;
use crate::ground::settings::{Cached, Settings};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, Swap, lock};
use crate::ground::time::{self, Instant};
use crate::layers::core::LayerParts;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::telemetry::Instruments;

/// See the module.
pub(crate) struct Balancer {
    pub(super) settings: Arc<Settings<BalanceConfig>>,
    /// What calls read. Only replaced with `records` locked.
    pub(super) set: Swap<EndpointSet>,
    load: SetLoad,
    /// The ejections of the members, in the order of the set. The lock is for changes of the set; calls do not take it, except for
    /// the one that compares the endpoints when an interval is over.
    records: Mutex<Vec<EjectionRecord>>,
    /// When the endpoints are compared next, in nanoseconds.
    next_sweep: AtomicU64,
    readiness_limit: ReadinessLimit,
    instruments: Instruments,
    /// The task that follows a stream of sets.
    discovery_task: Mutex<Option<DiscoveryTask>>,
}

impl Balancer {
    pub(super) fn new(parts: LayerParts<BalanceConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let set = EndpointSet::new(0, Vec::new(), &settings.read(BalanceConfig::choice));
        Self {
            settings,
            set: Swap::from_pointee(set),
            load: SetLoad::new(),
            records: Mutex::new(Vec::new()),
            next_sweep: AtomicU64::new(0),
            readiness_limit,
            instruments,
            discovery_task: Mutex::new(None),
        }
    }

    #[inline]
    pub(super) fn load(&self) -> &SetLoad {
        &self.load
    }

    #[inline]
    pub(super) fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// How long a call without a deadline may last, cached by a service that [refreshes](Self::max_hold) it at each call.
    pub(super) fn cached_max_hold(&self) -> Cached<Duration> {
        self.settings.cached(max_hold)
    }

    #[inline]
    pub(super) fn max_hold(&self, cached: &mut Cached<Duration>) -> Duration {
        *self.settings.refresh(cached, max_hold)
    }

    /// Replaces the set. Endpoints that stay keep their state; new ones start slowly, unless there was none before.
    pub(super) fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), InvalidConfig> {
        let config = self.settings.get();
        endpoint::check(&endpoints, config.max_endpoints)?;
        let (now, settings) = (time::now(), config.choice());
        let mut records = lock(&self.records);
        let before = self.set.load();
        if before.members.iter().map(|member| &member.endpoint).eq(&endpoints) {
            return Ok(());
        }
        let known: HashMap<&str, (&Member, EjectionRecord)> = before
            .members
            .iter()
            .zip(records.iter())
            .map(|(member, record)| (member.endpoint.key(), (member, *record)))
            .collect();
        let (mut members, mut judged) = (Vec::with_capacity(endpoints.len()), Vec::with_capacity(endpoints.len()));
        for endpoint in endpoints {
            let (state, record) = match known.get(endpoint.key()) {
                Some((member, record)) => (Arc::clone(&member.state), *record),
                None => {
                    let state = EndpointState::new(&config, &self.readiness_limit)?;
                    if !known.is_empty() {
                        state.warm_up(now);
                    }
                    (Arc::new(state), EjectionRecord::default())
                }
            };
            members.push(Member { endpoint, state });
            judged.push(Judged { record, ..Judged::default() });
        }
        // A smaller set allows fewer ejections.
        apply(&settings.outliers.bound(&mut judged), &members, now);
        *records = judged.into_iter().map(|judged| judged.record).collect();
        let replaced = self.set.swap(Arc::new(EndpointSet::new(before.generation + 1, members, &settings)));
        drop(known);
        drop(before);
        drop(records);
        // The states of endpoints that left are dropped without the lock.
        drop(replaced);
        // A reload meanwhile has not seen the new endpoints.
        if self.settings.get() != config {
            self.spread_settings();
        }
        Ok(())
    }

    /// Keeps the task that changes the set, instead of the former one.
    pub(super) fn keep(&self, discovery_task: DiscoveryTask) {
        let former = lock(&self.discovery_task).replace(discovery_task);
        // It ends now, without the lock.
        drop(former);
    }

    /// Compares the endpoints, if the interval is over: ejects outliers, and restores those whose ejection is over.
    #[inline]
    pub(super) fn sweep_if_due(&self, now: Instant) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        if now.as_nanos() >= due {
            self.sweep(due, now);
        }
    }

    #[cold]
    fn sweep(&self, due: u64, now: Instant) {
        let settings = self.settings.read(BalanceConfig::choice);
        let next = (now + settings.interval).as_nanos();
        if self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let mut records = lock(&self.records);
        let set = self.set.load();
        let mut judged: Vec<_> = set
            .members
            .iter()
            .zip(records.iter())
            .map(|(member, record)| Judged { record: *record, counts: member.state.counter.take() })
            .collect();
        let changes = settings.outliers.sweep(now, &mut judged, chance::sample);
        *records = judged.into_iter().map(|judged| judged.record).collect();
        apply(&changes, &set.members, now);
        let replaced = (!changes.is_empty()).then(|| self.set.swap(Arc::new(set.judged(&settings))));
        drop(set);
        drop(records);
        drop(replaced);
    }

    /// Applies the settings in force to all endpoints. They may wake tasks: call it without holding a lock.
    pub(super) fn spread_settings(&self) {
        loop {
            let config = self.settings.get();
            let settings = config.choice();
            for member in self.set.load().members.iter() {
                member.state.reload(&config);
            }
            let replaced = {
                let mut records = lock(&self.records);
                let set = self.set.load();
                let mut judged: Vec<_> =
                    records.iter().map(|record| Judged { record: *record, ..Judged::default() }).collect();
                apply(&settings.outliers.bound(&mut judged), &set.members, time::now());
                *records = judged.into_iter().map(|judged| judged.record).collect();
                self.set.swap(Arc::new(set.judged(&settings)))
            };
            drop(replaced);
            // Another thread may have stored other settings, and its pass may have been overtaken by this one.
            if self.settings.get() == config {
                return;
            }
        }
    }
}

/// The wait for a permit, and the time with it.
fn max_hold(config: &BalanceConfig) -> Duration {
    config.bulkhead.max_wait.saturating_add(config.bulkhead.max_hold)
}

/// Makes changes of the records visible to calls.
fn apply(changes: &[EjectionChange], members: &[Member], now: Instant) {
    for change in changes {
        match change {
            EjectionChange::Ejected(i, _) => members.get(*i).into_iter().for_each(|member| member.state.eject()),
            EjectionChange::Restored(i) => members.get(*i).into_iter().for_each(|member| member.state.restore(now)),
        }
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("endpoints", &self.set.load().members.len()).finish_non_exhaustive()
    }
}
