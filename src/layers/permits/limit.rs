use std::time::Duration;

use crate::algorithm::limit::Law;

/// How the number of calls that are served at once is found.
///
/// A limit that learns never exceeds the configured maximum. It changes only while it is in use: a service with room to spare keeps its
/// limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Limit {
    /// The configured maximum.
    Fixed,
    /// Seawall's own law. It compares how long calls take at the limit and at a lower one. If they take longer at the limit, they queue
    /// inside the service, and the ratio says how many it works on at once; the limit is that number and some slack. It knows no
    /// smallest and no usual latency, so a dependency that becomes slower as a whole does not lower the limit.
    ///
    /// It starts at the maximum, so that no call is refused before it is known to be one too many, and needs some hundred calls above the
    /// capacity to come down. A service of ten slots that is at nine tenths of its capacity serves 2 % fewer calls in time while the limit
    /// is at its number of slots, since each measurement gives it fewer. While most calls fail, nothing is learned: a limit that has come
    /// down before stays low until they succeed. By hand its maximum is set.
    #[default]
    Learned,
    /// Additive increase, multiplicative decrease, from 20: one more after a success while half of the limit is in use, and a tenth less after a
    /// call that was cut, took 5 s or failed with a plain 500 or 503. As in Netflix' concurrency-limits. A service that is slow and answers keeps its limit.
    Aimd,
    /// Gradient2 of Netflix' concurrency-limits: follows the ratio of the long-term mean latency to the present one. A lasting slowdown
    /// becomes the new mean, and the limit climbs back to its maximum.
    Gradient,
    /// Vegas, as in Netflix' concurrency-limits: estimates the queue from the smallest latency that was seen. With latencies that vary
    /// by themselves it starves the service.
    Vegas,
}

impl Limit {
    pub(super) fn law(self, objective: Option<Duration>) -> Law {
        match self {
            Self::Fixed => Law::Fixed,
            Self::Learned => Law::TwoPoint { objective },
            Self::Aimd => Law::Aimd,
            Self::Gradient => Law::Gradient,
            Self::Vegas => Law::Vegas,
        }
    }
}
