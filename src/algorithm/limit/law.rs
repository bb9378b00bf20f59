//! How a limit is found, and a limit that follows one of the laws.

use std::time::Duration;

use super::aimd::Aimd;
use super::gradient::Gradient;
use super::ticket::{Outcome, Ticket};
use super::two_point::{Bounds, TwoPoint};
use super::vegas::Vegas;

/// The timeout of AIMD, above which a call counts as dropped: that of Netflix.
const AIMD_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the limits of Netflix start.
const PUBLISHED_START: usize = 20;

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
    /// A limit that is never above `max`. Ours starts there: nothing is refused before it is known to be too much. The others start as
    /// published.
    pub(crate) fn new_limit(self, max: usize) -> Limit {
        let start = if self.starts_at_max() { max } else { PUBLISHED_START };
        self.limit(start, max)
    }

    pub(crate) fn starts_at_max(self) -> bool {
        matches!(self, Self::TwoPoint { .. })
    }

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

    fn limit(self, start: usize, max: usize) -> Limit {
        let (max, start) = (max.max(1), start.clamp(1, max.max(1)));
        match self {
            Self::Fixed => Limit::Fixed(max),
            Self::Aimd => Limit::Aimd(Aimd::new(start, max, AIMD_TIMEOUT)),
            Self::Gradient => Limit::Gradient(Gradient::new(start, start.min(PUBLISHED_START), max)),
            Self::Vegas => Limit::Vegas(Vegas::new(start, max)),
            Self::TwoPoint { objective } => Limit::TwoPoint(TwoPoint::new(Bounds { start, max, objective })),
        }
    }
}

/// A limit that follows one of the laws.
#[allow(clippy::large_enum_variant, reason = "a gate has one, and a box would cost each call a cache line")]
#[derive(Clone, Debug)]
pub(crate) enum Limit {
    /// Does not learn.
    Fixed(usize),
    Aimd(Aimd),
    Gradient(Gradient),
    Vegas(Vegas),
    TwoPoint(TwoPoint),
}

impl Limit {
    /// The number of calls that may be in flight now.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        match self {
            Self::Fixed(limit) => *limit,
            Self::Aimd(law) => law.limit(),
            Self::Gradient(law) => law.limit(),
            Self::Vegas(law) => law.limit(),
            Self::TwoPoint(law) => law.limit(),
        }
    }

    /// A call is admitted, and `in_flight` calls are in flight with it.
    #[inline]
    pub(crate) fn begin(&mut self, in_flight: usize) -> Ticket {
        match self {
            Self::TwoPoint(law) => law.begin(in_flight),
            _ => Ticket::new(in_flight, 0, 0),
        }
    }

    /// Uses these bounds from now on, if the law has any. Returns whether the limit has changed.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) -> bool {
        match self {
            Self::TwoPoint(law) => law.set_bounds(bounds),
            _ => false,
        }
    }

    /// A call has ended, or was refused for want of a permit in time. `is_short`: it was refused, or had less time than it needed, or hardly more.
    #[inline]
    pub(crate) fn note_time(&mut self, is_short: bool) {
        if let Self::TwoPoint(law) = self {
            law.note_time(is_short);
        }
    }

    /// An admitted call has ended. `is_ample`: it could have taken twice as long without being short of time.
    #[inline]
    pub(crate) fn note_ample(&mut self, is_ample: bool) {
        if let Self::TwoPoint(law) = self {
            law.note_ample(is_ample);
        }
    }

    /// Whether a sample of the calls that end well and in time is enough to learn from: nothing is being measured, and calls have time enough.
    /// Then admissions need not be [reported](Self::begin).
    pub(crate) fn is_quiet(&self) -> bool {
        match self {
            Self::TwoPoint(law) => law.is_quiet(),
            _ => false,
        }
    }

    /// The call has ended after `took`. Returns whether the limit has changed.
    #[inline]
    pub(crate) fn end(&mut self, ticket: Ticket, took: Duration, outcome: Outcome) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Aimd(law) => law.end(ticket, took, outcome),
            Self::Gradient(law) => law.end(ticket, took, outcome),
            Self::Vegas(law) => law.end(ticket, took, outcome),
            Self::TwoPoint(law) => law.end(ticket, took, outcome),
        }
    }
}
