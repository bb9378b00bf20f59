use std::time::Duration;

use super::Order;
use crate::ground::config::Validation;
use crate::middleware::bound::DEFAULT_MAX_HOLD;
use crate::middleware::gates::{Room, Terms};

/// How many calls may run and wait, and for how long.
///
/// ```
/// use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
///
/// let config = BulkheadConfig { max_concurrent: 8, ..Default::default() };
/// assert!(BulkheadLayer::new(config).is_ok());
///
/// let nobody = BulkheadConfig { max_concurrent: 0, ..Default::default() };
/// assert_eq!(BulkheadLayer::new(nobody).unwrap_err().faults()[0].path(), "max_concurrent");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BulkheadConfig {
    /// How many calls run at once; with weights, how much they weigh together. Default: 64.
    pub max_concurrent: u32,
    /// How many calls may wait for a permit; with 0 none does. Default: 1024. The queue is bounded by time in the first place:
    /// a call does not wait if its turn will not come within `max_wait`, or too late for its deadline.
    pub max_waiting: u32,
    /// The longest a call waits. Default: 10 s, for calls without a deadline; a deadline is mostly earlier.
    pub max_wait: Duration,
    /// Which of the waiting calls of one priority comes first. Default: [`Order::Fifo`].
    pub order: Order,
    /// How long a call without a deadline may hold its permit. Default: one minute.
    pub max_hold: Duration,
    /// With [`keyed_by`](super::BulkheadLayer::keyed_by): how many keys have permits of their own. Default: 1024. Beyond
    /// that the key that has been idle the longest is forgotten; while none is, new ones share permits.
    pub max_keys: usize,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self {
            max_concurrent: 64,
            max_waiting: 1024,
            max_wait: Duration::from_secs(10),
            order: Order::Fifo,
            max_hold: DEFAULT_MAX_HOLD,
            max_keys: 1024,
        }
    }
}

impl BulkheadConfig {
    pub(crate) fn validate(&self, validation: &mut Validation) {
        validation.at_least_one("max_concurrent", self.max_concurrent.into());
        validation.positive("max_wait", self.max_wait);
        validation.positive("max_hold", self.max_hold);
        validation.at_least_one("max_keys", self.max_keys as u64);
    }

    pub(super) fn terms(&self) -> Terms {
        Terms { room: Room::AtMost(self.max_waiting), max_wait: self.max_wait, max_hold: self.max_hold }
    }
}
