//! The request of a call to a gate.

use std::time::Duration;

use crate::algorithm::fair_share::KeyTime;
use crate::ground::context::Priority;
use crate::ground::scope::{self, ShareKey};
use crate::ground::time::{Instant, nanos};

/// The time of a call while nothing is known of any. Rather too long: what is queued at such a cost must not go before the calls that come
/// as soon as the time is known.
const UNKNOWN: Duration = Duration::from_millis(100);

/// The request of a call to a gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermitRequest {
    pub(crate) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    /// Whether the call held a permit before. It then waits ahead of all new calls.
    pub(crate) returning: bool,
    /// Its turn among the calls of its priority.
    pub(crate) share_key: Option<ShareKey>,
    /// The times of the calls of the key, if they are known.
    pub(crate) key_time: Option<KeyTime>,
}

impl PermitRequest {
    /// The request of a new call in this context.
    pub(crate) fn new(weight: u32, context: &scope::Context) -> Self {
        let (priority, deadline, share_key) = (context.priority(), context.deadline, context.share_key());
        Self { weight, priority, deadline, returning: false, share_key, key_time: None }
    }

    /// How long all permits together have to work for the call, in nanoseconds, if it holds so many of them. `mean` is the time of all
    /// calls; zero if it is unknown. At least one: a call without cost would take no turn from others.
    pub(crate) fn cost(&self, takes: u32, limit: u32, mean: Duration) -> u64 {
        let usual = if mean.is_zero() { UNKNOWN } else { mean };
        let held = self.key_time.map_or(usual, |time| time.held);
        let share = f64::from(takes) / f64::from(limit.max(1));
        ((nanos(held) as f64 * share) as u64).max(1)
    }
}
