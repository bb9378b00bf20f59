use std::time::Duration;

use super::{Aimd, Bounds, Gradient, Limit, TwoPoint, Vegas};

/// The timeout of AIMD, above which a call counts as dropped: that of Netflix.
const AIMD_TIMEOUT: Duration = Duration::from_secs(5);

/// How a limit is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    Fixed,
    Aimd,
    Gradient,
    Vegas,
    TwoPoint { objective: Option<Duration> },
}

impl Law {
    /// Where a limit starts of which nothing is known: a small server cannot be flooded with so few calls.
    pub(crate) const START: usize = 16;

    /// A limit with another maximum, which keeps what it has learned.
    pub(crate) fn adapt(self, limit: Limit, max: usize) -> Limit {
        let start = limit.limit();
        match (self, limit) {
            (Self::TwoPoint { objective }, mut limit @ Limit::TwoPoint(_)) => {
                let _ = limit.set_bounds(Bounds { start, max, objective });
                limit
            }
            _ => self.limit(start, max),
        }
    }

    /// A limit that starts here and is never above `max`.
    pub(crate) fn limit(self, start: usize, max: usize) -> Limit {
        let (max, start) = (max.max(1), start.clamp(1, max.max(1)));
        match self {
            Self::Fixed => Limit::Fixed(max),
            Self::Aimd => Limit::Aimd(Aimd::new(start, max, AIMD_TIMEOUT)),
            Self::Gradient => Limit::Gradient(Gradient::new(start, start.min(Self::START), max)),
            Self::Vegas => Limit::Vegas(Vegas::new(start, max)),
            Self::TwoPoint { objective } => Limit::TwoPoint(TwoPoint::new(Bounds { start, max, objective })),
        }
    }
}
