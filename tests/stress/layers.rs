//! The stacks under test, and what an operator does with them.

use std::time::Duration;

use seawall::balance::BalanceConfig;
use seawall::bulkhead::BulkheadConfig;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::hedge::{HedgeConfig, HedgeDelay};
use seawall::load_shed::LoadShedConfig;
use seawall::stack::{BalancedClientConfig, ClientConfig, ClientLayer, ServerConfig, ServerLayer};

/// A stack of either side and protocol.
pub(crate) trait Layers: Send + Sync {
    /// Applies the settings of this round.
    fn reload(&self, round: u64);

    /// How many permits, places in queues and breaker tickets are in use.
    fn held(&self) -> usize;
}

impl<C: Send + Sync, R: Send + Sync, P: Send + Sync, L: Send + Sync> Layers for ClientLayer<C, R, P, L> {
    fn reload(&self, round: u64) {
        Self::reload(self, &client(round)).unwrap();
    }

    fn held(&self) -> usize {
        let (bulkhead, breaker) = (self.bulkhead(), self.circuit_breaker().snapshot());
        bulkhead.in_flight() + bulkhead.waiting() + usize::try_from(breaker.in_flight).unwrap()
    }
}

impl<C: Send + Sync, P: Send + Sync, A: Send + Sync> Layers for ServerLayer<C, P, A> {
    fn reload(&self, round: u64) {
        Self::reload(self, &server(round)).unwrap();
    }

    fn held(&self) -> usize {
        self.load_shed().in_flight() + self.load_shed().waiting()
    }
}

/// Settings that differ from round to round: with permits for all callers, and for half of them. The deadline is far
/// away, so that it does not end a call that is never woken, and the watchdog sees that call.
pub(crate) fn client(round: u64) -> ClientConfig {
    let odd = round % 2 == 1;
    ClientConfig {
        deadline: Duration::from_secs(if odd { 20 } else { 30 }).into(),
        bulkhead: BulkheadConfig { max_concurrent: if odd { 6 } else { 16 }, ..BulkheadConfig::default() },
        circuit_breaker: CircuitBreakerConfig {
            // Resets are frequent and callers slow each other down, both on purpose.
            failure_rate: if odd { 0.8 } else { 0.9 },
            slow_rate: None,
            break_duration: Duration::from_millis(50),
            max_break: Duration::from_millis(200),
            ..CircuitBreakerConfig::default()
        },
        ..ClientConfig::default()
    }
}

/// The same for several endpoints.
pub(crate) fn balanced(round: u64) -> BalancedClientConfig {
    let ClientConfig { deadline, bulkhead, circuit_breaker, .. } = client(round);
    BalancedClientConfig {
        deadline,
        // In every other round nearly every call that may be executed twice is hedged.
        hedge: HedgeConfig {
            delay: if round % 2 == 1 { HedgeDelay::Fixed(Duration::from_millis(1)) } else { HedgeDelay::default() },
            ..HedgeConfig::default() // enabled, unlike in the default of the stack
        },
        balance: BalanceConfig {
            max_concurrent: bulkhead.max_concurrent.div_ceil(3),
            circuit_breaker,
            ..BalanceConfig::default()
        },
        ..BalancedClientConfig::default()
    }
}

pub(crate) fn server(round: u64) -> ServerConfig {
    let odd = round % 2 == 1;
    let mut config = ServerConfig {
        load_shed: LoadShedConfig { max_in_flight: if odd { 8 } else { 64 }, ..LoadShedConfig::default() },
        ..ServerConfig::default()
    };
    config.deadline.timeout = Duration::from_secs(if odd { 20 } else { 30 });
    config
}
