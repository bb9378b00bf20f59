use std::time::Duration;

use crate::algorithm::limit::Law;

/// How the number of calls that are served at once is found.
///
/// A limit that learns never exceeds the configured maximum.
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
    /// It starts at the maximum, and is not questioned before most calls are short of time: they are refused for want of a permit, get
    /// no answer before their deadline, or take more than half of the time until then. So a service that answers in time is never held back to
    /// measure it, however busy it is. Under overload the limit comes down within some hundred calls, if calls take twice as long among many
    /// others as among few. When 64 times as many calls as the limit have had time enough, in a row, it is the maximum again.
    ///
    /// While most calls take less than a quarter of the time that they have, the limit stays two thirds above that number instead. A service
    /// of several stages is used fully then, and calls wait inside it, for up to two thirds of their time, instead of in the queue.
    ///
    /// Not every saturated service queues: if calls take as long at a lower limit, the limit goes back up. The first comparison gives the
    /// service half for some of the calls, later ones two thirds, and the next one follows after up to 24 times as many calls. A response whose body
    /// holds its permit for more than twice as long as its head took says nothing. While most calls fail, nothing is learned: a limit that has
    /// come down before stays low until they succeed. By hand its maximum is set.
    ///
    /// A service that becomes so slow for its own reasons, without a queue, that most calls take more than half of the time that they have, loses
    /// calls to the first comparison: in the simulation of the tests up to a fifth of those of a spell of 20 s.
    ///
    /// Several clients of one service measure each other's comparisons, too. There the service's own load shedder knows better, and
    /// a client with few calls in flight never reaches its limit.
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
