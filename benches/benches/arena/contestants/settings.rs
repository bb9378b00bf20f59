//! The settings of seawall's contestants: the defaults; one formula from what a user knows; and the defaults with one change each, which
//! show what a part is worth and run only when they are named.

use std::time::Duration;

use ::seawall::balance::BalanceConfig;
use ::seawall::hedge::HedgeConfig;
use ::seawall::load_shed::Limit;
use ::seawall::stack::{BalancedClientConfig, ClientConfig, ServerConfig};

use super::seawall::{Seawall, wanted};
use super::{Brief, Contestant};

/// The settings of both sides.
pub(super) struct Settings {
    pub(super) client: ClientConfig,
    pub(super) server: ServerConfig,
    /// Of several endpoints, in the place of the client's bulkhead and breaker.
    pub(super) balance: BalanceConfig,
    /// Of several endpoints.
    pub(super) hedge: HedgeConfig,
}

/// One line for each side. The client states the deadline and the attempts that the scenario wants, and nothing else.
pub(super) const DEFAULTS: Seawall = Seawall { name: "seawall_default", settings: defaults };

/// One formula for all scenarios, from a server's slots and its usual time:
/// - a server serves exactly as many calls at once as it has slots, and queues 4.5 times as many, the default;
/// - with one endpoint, the clients together have twice as many calls in flight as a server takes, and none waits longer than a full
///   queue takes;
/// - of several endpoints, each gets as many calls as it has slots, from several clients their shares and twice the square roots of these,
///   as calls come at random;
/// - each host has breakers and permits of its own;
/// - a client refuses calls itself while its dependency refuses most of them, as the calls of a scenario are alike;
/// - retries are a tenth of the calls of the last 600 usual times, without a reserve, and none waits longer than a full queue takes.
pub(super) const TUNED: Seawall = Seawall { name: "seawall_tuned", settings: tuned };

fn defaults(brief: &Brief) -> Settings {
    Settings {
        client: wanted(brief),
        server: ServerConfig::default(),
        balance: BalanceConfig::default(),
        hedge: BalancedClientConfig::default().hedge,
    }
}

fn tuned(brief: &Brief) -> Settings {
    let Settings { mut client, mut server, mut balance, hedge } = defaults(brief);
    let full_queue = Duration::from_millis(5 * brief.usual_time);
    client.retry.budget.ratio = 0.1;
    client.retry.budget.reserve_per_second = 0.0;
    client.retry.budget.ttl =
        Duration::from_millis(600 * brief.usual_time).clamp(Duration::from_secs(1), Duration::from_secs(60));
    client.retry.max_retry_after = full_queue;
    client.throttle.enabled = true;
    client.bulkhead.max_concurrent = (11 * brief.slots / brief.clients).max(1);
    client.bulkhead.limit = Limit::Fixed;
    client.bulkhead.max_wait = full_queue;
    client.circuit_breaker.slow_floor = Duration::from_millis(10 * brief.usual_time);
    client.per_authority = true;
    balance.circuit_breaker = client.circuit_breaker.clone();
    let share = f64::from(brief.slots) / f64::from(brief.clients);
    let spread = if brief.clients == 1 { 0.0 } else { 2.0 * share.sqrt() };
    balance.max_concurrent = (share + spread).ceil() as u32;
    balance.max_wait = full_queue;
    server.deadline.timeout = Duration::from_millis(brief.deadline);
    server.load_shed.max_in_flight = brief.slots;
    server.load_shed.limit = Limit::Fixed;
    Settings { client, server, balance, hedge }
}

/// The defaults, and the tuned settings, with one change each.
pub(super) fn variants() -> Vec<Box<dyn Contestant>> {
    type Variant = (&'static str, fn(&Brief) -> Settings);
    let variants: [Variant; 14] = [
        ("default_throttled", |brief| changed(brief, |settings| settings.client.throttle.enabled = true)),
        ("tuned_unthrottled", |brief| {
            let mut settings = tuned(brief);
            settings.client.throttle.enabled = false;
            settings
        }),
        ("default_no_breaker", |brief| {
            changed(brief, |settings| {
                settings.client.circuit_breaker.enabled = false;
                settings.balance.circuit_breaker.enabled = false;
            })
        }),
        ("default_no_ejection", |brief| changed(brief, |settings| settings.balance.ejection.enabled = false)),
        ("default_no_retry", |brief| changed(brief, |settings| settings.client.retry.enabled = false)),
        ("default_no_bulkhead", |brief| changed(brief, |settings| settings.client.bulkhead.enabled = false)),
        ("default_no_shed", |brief| changed(brief, |settings| settings.server.load_shed.enabled = false)),
        ("default_shed_at_slots", |brief| {
            changed(brief, |settings| settings.server.load_shed.max_in_flight = brief.slots)
        }),
        ("default_shed_fixed", |brief| changed(brief, |settings| settings.server.load_shed.limit = Limit::Fixed)),
        ("default_bulkhead_fixed", |brief| changed(brief, |settings| settings.client.bulkhead.limit = Limit::Fixed)),
        ("default_fixed", |brief| {
            changed(brief, |settings| {
                settings.server.load_shed.limit = Limit::Fixed;
                settings.client.bulkhead.limit = Limit::Fixed;
            })
        }),
        ("default_keyed", |brief| changed(brief, |settings| settings.client.per_authority = true)),
        ("default_unhedged", |brief| changed(brief, |settings| settings.hedge.enabled = false)),
        ("default_slow_backoff", |brief| {
            changed(brief, |settings| {
                settings.client.retry.backoff.base = Duration::from_millis(brief.usual_time);
                settings.client.retry.backoff.cap = Duration::from_millis(20 * brief.usual_time);
            })
        }),
    ];
    variants
        .into_iter()
        .map(|(name, settings)| -> Box<dyn Contestant> { Box::new(Seawall { name, settings }) })
        .collect()
}

fn changed(brief: &Brief, change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = defaults(brief);
    change(&mut settings);
    settings
}
