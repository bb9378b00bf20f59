//! The state of a balancer, as plain data.

use std::time::Duration;

use super::endpoint_mode::EndpointMode;
#[cfg(feature = "config")]
use super::seconds::{seconds, some_seconds};
use crate::algorithm::breaker::State;

/// The endpoints of a balancer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BalanceCondition {
    /// The number of endpoints.
    pub endpoints: usize,
    /// The endpoints that are ejected.
    pub ejected: usize,
    /// The endpoints whose circuit breaker lets no call pass.
    pub open: usize,
    /// The endpoints that are not in the mode [`Serving`](EndpointMode::Serving).
    pub by_hand: usize,
    /// The calls in flight, over all endpoints.
    pub in_flight: u64,
    /// The calls that wait for a permit.
    pub waiting: u64,
    /// How many calls run at once at each endpoint.
    pub limit: u32,
    /// How long a call is at its endpoint on average, its body included; zero if unknown, as after a second without calls.
    #[cfg_attr(feature = "config", serde(rename = "service_time_s", serialize_with = "seconds"))]
    pub service_time: Duration,
    /// The first hundred endpoints.
    pub listed: Vec<EndpointCondition>,
}

/// One endpoint of a balancer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndpointCondition {
    /// The key.
    pub key: String,
    /// The address.
    pub address: String,
    /// The tier.
    pub tier: u8,
    /// The weight.
    pub weight: f64,
    /// The calls in flight.
    pub in_flight: u64,
    /// How many may be in flight: `max_concurrent`, or fewer if the endpoint refuses what exceeds them.
    pub limit: u32,
    /// The average cost of a call here, as far as it is known: its latency, where a failure counts as ten successes. An endpoint that
    /// costs far more than the others gets few calls. `None` without a call in the last seconds.
    #[cfg_attr(feature = "config", serde(rename = "cost_s", serialize_with = "some_seconds"))]
    pub cost: Option<Duration>,
    /// Whether it is ejected.
    pub ejected: bool,
    /// How it is used, as set by hand.
    pub mode: EndpointMode,
    /// The state of its circuit breaker.
    pub breaker: State,
}
