//! Injected faults: each over real HTTP/1.1, HTTP/2 and gRPC, on the client's and on the server's side; the cap, the end, reloads,
//! and what is left when a call with a fault is dropped.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod bounds;
mod cancellation;
#[cfg(feature = "config")]
mod config;
mod drills;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

use std::time::Duration;

use seawall::chaos::{ChaosConfig, ChaosFault, ChaosRule, Delay};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// These faults, for all calls.
pub(crate) fn always(fault: ChaosFault) -> ChaosConfig {
    ChaosConfig { enabled: true, rules: vec![ChaosRule::new(fault)], ..ChaosConfig::default() }
}

pub(crate) fn delay(delay: Duration) -> ChaosFault {
    ChaosFault::Latency(Delay::Fixed(delay))
}

/// One of each fault.
pub(crate) fn all() -> [ChaosFault; 11] {
    [
        delay(500 * MS),
        ChaosFault::Refuse { retry_after: Some(3000 * MS) },
        ChaosFault::Status { status: 503, retry_after: Some(7000 * MS) },
        ChaosFault::Code { code: 14, pushback: Some(250 * MS) },
        ChaosFault::Hang,
        ChaosFault::Drop,
        ChaosFault::Stall { after: 5 },
        ChaosFault::Drip { bytes: 3, every: 100 * MS },
        ChaosFault::Truncate { after: 5 },
        ChaosFault::Reset { after: 5 },
        ChaosFault::NoTrailers,
    ]
}
