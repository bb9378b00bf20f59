//! The settings of a throttle as its calls read them.

use std::time::Duration;

use crate::algorithm::throttle::ThrottlePolicy;

/// See [`ThrottleConfig`](super::ThrottleConfig).
#[derive(Clone, Copy, Debug)]
pub(super) struct ThrottleSettings {
    pub(super) enabled: bool,
    pub(super) policy: ThrottlePolicy,
    pub(super) max_hold: Duration,
}
