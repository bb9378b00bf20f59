//! The settings that fit a service and its load. The formulas are those of the operations guide.

use std::time::Duration;

use seawall::bulkhead::BulkheadConfig;
use seawall::load_shed::LoadShedConfig;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig};
use seawall::stack::{ClientConfig, ServerConfig};

use crate::fleet::{Fleet, Outlook};
use crate::queueing::little;
use crate::service_time::ServiceTime;

const ATTEMPTS: u32 = 2;

/// What is known. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) time: ServiceTime,
    /// Calls a second, of all clients together.
    pub(crate) rate: f64,
    pub(crate) instances: u32,
    pub(crate) slots: u32,
    pub(crate) clients: u32,
    pub(crate) deadline: f64,
}

/// What is recommended, and how it goes then.
#[derive(Debug)]
pub(crate) struct Sizing {
    pub(crate) fleet: Fleet,
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    pub(crate) planned: Outlook,
    pub(crate) one_lost: Outlook,
    /// How many calls of one client are in progress on average, while an instance is lost.
    pub(crate) in_progress: f64,
    pub(crate) warnings: Vec<String>,
}

impl Known {
    /// # Errors
    /// If the calls are too many, or take longer than their deadline.
    pub(crate) fn size(self) -> Result<Sizing, String> {
        let Self { time, rate, instances, slots, clients, deadline } = self;
        let fleet = Fleet { instances, slots, time };
        self.check(fleet)?;
        let mut warnings = Vec::new();

        // What the deadline leaves to wait, for a call that takes as long as one in a hundred.
        let slack = deadline - time.p99();
        let longest = (slack / time.mean).clamp(0.1, 1000.0);
        let worst = self.worst_served(fleet);
        let needed = worst.queue_ratio(rate, 0.001, longest);
        let default = LoadShedConfig::default().queue_ratio;
        let queue_ratio = tenths(needed.max(default).min(longest));
        let (planned, one_lost) = (fleet.outlook(rate, queue_ratio), fleet.with_one_lost().outlook(rate, queue_ratio));

        let held = time.mean + worst.outlook(rate, queue_ratio).mean_wait;
        let in_progress = little(rate / f64::from(clients), held);
        let share = f64::from(instances) * f64::from(slots) / f64::from(clients);
        let wanted = (in_progress + 3.0 * in_progress.sqrt()).ceil();
        if wanted > share.floor() {
            warnings.push(format!(
                "A client would like {wanted} permits. Its share of all slots is {share:.1}, so calls wait at the client first."
            ));
        }
        let max_concurrent = wanted.min(share.floor()).max(1.0);
        let bulkhead = BulkheadConfig {
            max_concurrent: max_concurrent as u32,
            max_waiting: (max_concurrent / time.mean * slack).clamp(1.0, 1e6) as u32,
            max_wait: shown(slack),
            ..Default::default()
        };

        if deadline < 1.5 * time.p999() {
            let (least, slow) = (shown(1.5 * time.p999()), shown(time.p999()));
            warnings.push(format!(
                "The deadline should be {least:?} at least: one call in a thousand takes more than {slow:?} without any wait."
            ));
        }
        let load = little(rate, time.mean) / (f64::from(worst.instances) * f64::from(slots));
        let client = ClientConfig {
            deadline: shown(deadline).into(),
            retry: self.retry(load, planned.p99_wait, &mut warnings),
            bulkhead,
            ..Default::default()
        };
        let server = ServerConfig {
            deadline: seawall::deadline::DeadlineConfig {
                timeout: shown(deadline),
                ..ServerConfig::default().deadline
            },
            load_shed: LoadShedConfig { max_in_flight: slots, queue_ratio, ..Default::default() },
            ..Default::default()
        };
        Ok(Sizing { fleet, server, client, planned, one_lost, in_progress, warnings })
    }

    fn check(self, fleet: Fleet) -> Result<(), String> {
        let Self { time, rate, instances, slots, deadline, .. } = self;
        if deadline <= time.p99() {
            return Err(format!(
                "--deadline {:?} is too short: one call in a hundred takes more than {:?} without any wait",
                shown(deadline),
                shown(time.p99())
            ));
        }
        if rate >= fleet.capacity() {
            let (busy, needed) = (little(rate, time.mean), fleet.needed(rate));
            return Err(format!(
                "{rate} calls a second of {:?} keep {busy:.1} slots busy, and there are {} ({} of {slots}): {needed} instances \
                 are needed, or {} so that one may be lost",
                shown(time.mean),
                u64::from(instances) * u64::from(slots),
                counted(instances.into(), "instance"),
                needed + 1,
            ));
        }
        Ok(())
    }

    /// With one instance lost, if the others can serve all calls. More than they can serve is no basis for settings.
    fn worst_served(self, fleet: Fleet) -> Fleet {
        let lost = fleet.with_one_lost();
        if self.rate < lost.capacity() { lost } else { fleet }
    }

    fn retry(self, load: f64, p99_wait: f64, warnings: &mut Vec<String>) -> RetryConfig {
        let Self { time, rate, clients, deadline, .. } = self;
        // Retries must not take more than what is free.
        let spare = 0.95 / load - 1.0;
        let defaults = BudgetConfig::default();
        let ratio = (spare.clamp(0.02, defaults.ratio) * 100.0).floor() / 100.0;
        // Many quiet clients together would have a large reserve.
        let reserve = defaults.reserve_per_second * f64::from(clients);
        let reserve_per_second = if reserve <= 0.01 * rate { defaults.reserve_per_second } else { 0.0 };
        let base = time.median().min(deadline / 8.0);
        let attempt = (deadline - base) / f64::from(ATTEMPTS);
        let slow_but_good = time.p999() + p99_wait;
        if attempt < slow_but_good {
            warnings.push(format!(
                "There is no attempt timeout: good answers take up to {:?}, and {ATTEMPTS} attempts of that do not fit into the \
                 deadline.",
                shown(slow_but_good)
            ));
        }
        RetryConfig {
            max_attempts: ATTEMPTS,
            attempt_timeout: (attempt >= slow_but_good).then(|| shown(attempt)),
            max_retry_after: shown(deadline / 2.0),
            backoff: Backoff { base: shown(base), cap: shown(deadline / 8.0), ..Backoff::default() },
            budget: BudgetConfig { ratio, reserve_per_second, ..defaults },
            ..Default::default()
        }
    }
}

fn tenths(ratio: f64) -> f64 {
    (ratio * 10.0).floor() / 10.0
}

/// As one writes it: in milliseconds, or in microseconds if it is short.
pub(crate) fn shown(seconds: f64) -> Duration {
    let micros = (seconds * 1e6).round().max(1.0) as u64;
    let unit = if micros < 10_000 { 1 } else { 1000 };
    Duration::from_micros((micros + unit / 2) / unit * unit)
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("{count} {what}") } else { format!("{count} {what}s") }
}
