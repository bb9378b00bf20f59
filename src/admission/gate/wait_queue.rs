//! The queue of waiting calls: a plain ordered structure, which its owner keeps under a lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

use super::permit_request::PermitRequest;
use crate::algorithm::estimate::ServiceTime;
use crate::algorithm::queue::{self, Refusal};
use crate::ground::context::Priority;
use crate::ground::error::Reason;
use crate::ground::time::Instant;

/// The order of waiting calls of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Order {
    /// First in, first out: fair, and all calls wait about as long.
    #[default]
    Fifo,
    /// Last in, first out: under lasting overload most calls hardly wait, and those at the end of the queue time out.
    Lifo,
}

/// The rank of a call in the queue; the smallest is served first. A call that has begun comes before all new calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rank {
    newcomer: bool,
    priority: Reverse<Priority>,
}

impl Rank {
    fn of(wanted: &PermitRequest) -> Self {
        Self { newcomer: !wanted.returning, priority: Reverse(wanted.priority) }
    }
}

/// A position in the queue; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GateQueuePosition {
    rank: Rank,
    /// Rises with time in a FIFO queue, and falls in a LIFO queue.
    sequence: i64,
}

impl GateQueuePosition {
    /// Whether the call held a permit before.
    pub(super) fn is_returning(self) -> bool {
        !self.rank.newcomer
    }
}

/// The calls ahead of a new call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) waiting: u32,
    /// The total number of permits they take.
    pub(crate) weight: u64,
}

#[derive(Debug)]
pub(crate) struct QueuedCall {
    pub(super) weight: u32,
    pub(crate) deadline: Option<Instant>,
    returning: bool,
    /// How many permits it takes, under the limit at the time when it was queued. The limit may change.
    takes: u32,
    waker: Option<Waker>,
}

impl QueuedCall {
    /// For a call that has begun the remaining work is unknown, so only its deadline counts.
    fn fits(&self, now: Instant, service: ServiceTime, contended: bool) -> bool {
        match self.deadline {
            Some(deadline) if self.returning => deadline > now,
            deadline => queue::fits_deadline(now, deadline, service, contended),
        }
    }
}

/// The outcome of a waiter that has not been polled since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<G> {
    /// The call gets what it waited for: from a gate, permits of this weight.
    Granted(G),
    Refused(Reason),
}

#[derive(Debug)]
pub(crate) struct GateQueue<G = u32> {
    order: Order,
    sequence: i64,
    queued: BTreeMap<GateQueuePosition, QueuedCall>,
    /// Bounded by the number of waiters: each one removes its outcome, at the latest when it is dropped.
    outcomes: HashMap<GateQueuePosition, Outcome<G>>,
    by_rank: BTreeMap<Rank, Ahead>,
}

impl<G> GateQueue<G> {
    pub(crate) fn new(order: Order) -> Self {
        Self { order, sequence: 0, queued: BTreeMap::new(), outcomes: HashMap::new(), by_rank: BTreeMap::new() }
    }

    /// Sequence numbers rise and fall from one origin, so a new call comes before or after all that are queued, in whatever order
    /// those were added.
    pub(crate) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    pub(crate) fn len(&self) -> usize {
        self.queued.len()
    }

    pub(crate) fn ahead(&self, wanted: &PermitRequest) -> Ahead {
        let (mut ahead, rank) = (Ahead::default(), Rank::of(wanted));
        for (&theirs, sum) in &self.by_rank {
            if theirs < rank || theirs == rank && self.order == Order::Fifo {
                ahead.waiting += sum.waiting;
                ahead.weight += sum.weight;
            }
        }
        ahead
    }

    /// Adds a call. If the queue was full, its last call is displaced: it is refused, and its waker returned. A call that has begun
    /// is never displaced: it ranks before all others.
    #[allow(
        clippy::type_complexity,
        reason = "the outer option says whether someone had to go, the inner has its waker"
    )]
    pub(crate) fn enter(
        &mut self,
        wanted: PermitRequest,
        takes: u32,
        max: u32,
    ) -> Result<(GateQueuePosition, Option<Option<Waker>>), Refusal> {
        self.sequence += 1;
        let sequence = match self.order {
            Order::Fifo => self.sequence,
            Order::Lifo => -self.sequence,
        };
        let position = GateQueuePosition { rank: Rank::of(&wanted), sequence };
        let mut last = None;
        if self.len() >= max as usize {
            match self.queued.last_key_value() {
                Some((&theirs, _)) if position < theirs => {
                    last = Some(self.settle(theirs, Outcome::Refused(Reason::Displaced)))
                }
                _ => return Err(Refusal::new(Reason::QueueFull)),
            }
        }
        let sum = self.by_rank.entry(position.rank).or_default();
        sum.waiting += 1;
        sum.weight += u64::from(takes);
        let PermitRequest { weight, deadline, returning, .. } = wanted;
        self.queued.insert(position, QueuedCall { weight, deadline, returning, takes, waker: None });
        Ok((position, last))
    }

    /// Whether the call at the head is likely enough to end in time for a permit that is free.
    pub(crate) fn head_fits(&self, now: Instant, service: ServiceTime) -> bool {
        self.head().is_some_and(|head| head.fits(now, service, self.is_contended(now, service)))
    }

    /// Whether a call behind the head could use a free permit. The last call decides, which usually has the most time left. If not
    /// even that one is likely to end in time, there is nothing to save the permit for: it would stay free while all waiting calls
    /// are refused, one by one, and no result could show that the estimate is wrong.
    pub(super) fn is_contended(&self, now: Instant, service: ServiceTime) -> bool {
        self.len() > 1 && self.queued.last_key_value().is_some_and(|(_, last)| last.fits(now, service, true))
    }

    pub(crate) fn head(&self) -> Option<&QueuedCall> {
        self.queued.first_key_value().map(|(_, head)| head)
    }

    #[must_use]
    pub(crate) fn grant_head(&mut self, grant: G) -> Option<Waker> {
        let (&position, _) = self.queued.first_key_value()?;
        self.settle(position, Outcome::Granted(grant))
    }

    #[must_use]
    pub(crate) fn refuse_head(&mut self, reason: Reason) -> Option<Waker> {
        let (&position, _) = self.queued.first_key_value()?;
        self.settle(position, Outcome::Refused(reason))
    }

    fn settle(&mut self, position: GateQueuePosition, outcome: Outcome<G>) -> Option<Waker> {
        let left = self.leave(position)?;
        self.outcomes.insert(position, outcome);
        left.waker
    }

    /// Removes a call, if it is still queued.
    pub(crate) fn leave(&mut self, position: GateQueuePosition) -> Option<QueuedCall> {
        let left = self.queued.remove(&position)?;
        if let Some(sum) = self.by_rank.get_mut(&position.rank) {
            sum.waiting -= 1;
            sum.weight -= u64::from(left.takes);
        }
        Some(left)
    }

    /// Takes the outcome of a waiter, once.
    pub(crate) fn take_outcome(&mut self, position: GateQueuePosition) -> Option<Outcome<G>> {
        self.outcomes.remove(&position)
    }

    /// Registers `waker`, which is woken when there is an outcome. Returns the waker that is no longer needed, to be dropped
    /// unlocked.
    #[must_use]
    pub(crate) fn register(&mut self, position: GateQueuePosition, waker: Waker) -> Option<Waker> {
        match self.queued.get_mut(&position) {
            Some(queued) => queued.waker.replace(waker),
            None => Some(waker),
        }
    }

    /// The wakers of all calls, which register again when they are polled. They are to be woken unlocked.
    #[must_use]
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        self.queued.values_mut().filter_map(|queued| queued.waker.take()).collect()
    }
}
