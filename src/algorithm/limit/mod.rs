//! Concurrency limits that learn how many calls a service can work on at once.
//!
//! | law | raises and lowers the limit by | |
//! |---|---|---|
//! | [`TwoPoint`] | the times at two levels of the limit | the law that seawall stands for |
//! | [`Aimd`] | calls without an answer, or beyond a timeout | needs a timeout that fits the service |
//! | [`Gradient`] | the times now against the times before | a lasting slowdown becomes the new normal; noise starves it |
//! | [`Vegas`] | the times against the lowest one | noise starves it |
//!
//! The last three are those of Netflix's `concurrency-limits`, for comparison and for whoever knows them. They change with each call;
//! the original averages the samples of a second or more first.
//!
//! The owner holds a [`Limit`] under its lock. It reports each admission ([`Limit::begin`]) and each end ([`Limit::end`]), with the
//! time that the call spent in the service, without its wait for a permit. Both are O(1) and allocate nothing.

mod aimd;
mod gradient;
mod law;
mod two_point;
mod vegas;

use std::time::Duration;

pub(crate) use self::aimd::Aimd;
pub(crate) use self::gradient::Gradient;
pub(crate) use self::law::Law;
pub(crate) use self::two_point::{Bounds, TwoPoint};
pub(crate) use self::vegas::Vegas;
use crate::ground::time::Instant;

#[cfg(all(test, not(seawall_loom)))]
pub(crate) mod plant;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

/// How a call ended, as far as a limit is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered; its time counts.
    Good,
    /// Answered with an error. It proves nothing about the load.
    Failed,
    /// Cut or abandoned without an answer: it would have taken at least this long.
    Late,
    /// The service refused the call itself, without a reason: its own pool may be full.
    NoRoom,
}

/// What a limit wants to know about an admission when the call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Ticket {
    /// Counts the changes of the limit; an older one is stale.
    epoch: u32,
    /// The number of admissions in this epoch before it.
    index: u32,
    /// The calls in flight, this one included.
    in_flight: u32,
    /// The limit at that time.
    limit: u32,
}

impl Ticket {
    fn new(in_flight: usize, limit: usize, epoch: u32, index: u32) -> Self {
        Self { epoch, index, in_flight: saturate(in_flight), limit: saturate(limit) }
    }
}

fn saturate(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
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
    pub(crate) fn begin(&mut self, in_flight: usize, _now: Instant) -> Ticket {
        match self {
            Self::TwoPoint(law) => law.begin(in_flight),
            _ => Ticket::new(in_flight, self.limit(), 0, 0),
        }
    }

    /// Uses these bounds from now on, if the law has any. Returns whether the limit has changed.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) -> bool {
        match self {
            Self::TwoPoint(law) => law.set_bounds(bounds),
            _ => false,
        }
    }

    /// The call has ended after `took`. Returns whether the limit has changed.
    #[inline]
    pub(crate) fn end(&mut self, ticket: Ticket, took: Duration, outcome: Outcome, _now: Instant) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Aimd(law) => law.end(ticket, took, outcome),
            Self::Gradient(law) => law.end(ticket, took, outcome),
            Self::Vegas(law) => law.end(ticket, took, outcome),
            Self::TwoPoint(law) => law.end(ticket, took, outcome),
        }
    }
}
