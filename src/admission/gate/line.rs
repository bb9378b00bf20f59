//! The line of waiters: a plain ordered structure, which its gate keeps under a lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

use super::claim::Claim;
use crate::algorithm::estimate::ServiceTime;
use crate::algorithm::queue::{self, Refusal};
use crate::ground::context::Priority;
use crate::ground::error::Reason;
use crate::ground::time::Instant;

/// Which of the waiters of one priority comes first. Without a wait there is no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Order {
    /// Who came first: fair, and all wait about the same.
    #[default]
    Fifo,
    /// Who came last: under lasting overload most calls hardly wait, and those at the end of the line give up.
    Lifo,
}

/// What is served first; the least comes first. A call that has begun comes before every call that has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rank {
    newcomer: bool,
    priority: Reverse<Priority>,
}

impl Rank {
    fn of(claim: &Claim) -> Self {
        Self { newcomer: !claim.returning, priority: Reverse(claim.priority) }
    }
}

/// A place in the line; the least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    rank: Rank,
    /// Rises with time in a line that is first come, first served, and else falls.
    turn: i64,
}

/// Who stands in front of a newcomer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) waiting: u32,
    /// How many permits they take together.
    pub(crate) weight: u64,
}

#[derive(Debug)]
pub(super) struct Standing {
    pub(super) weight: u32,
    pub(super) deadline: Option<Instant>,
    returning: bool,
    /// How many permits it takes, as far as could be said when it came: the limit may change.
    takes: u32,
    waker: Option<Waker>,
}

impl Standing {
    /// Whether the waiter, whose turn has come, is still worth the permit; `contended`: others wait behind it. Of a call that
    /// has begun nobody knows how much is left of it.
    pub(super) fn is_worth_it(&self, now: Instant, service: ServiceTime, contended: bool) -> bool {
        match self.deadline {
            Some(deadline) if self.returning => deadline > now,
            deadline => queue::is_worth_it(now, deadline, service, contended),
        }
    }
}

/// What has become of a waiter that has not been told yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Granted { weight: u32 },
    Refused(Reason),
}

#[derive(Debug)]
pub(super) struct Line {
    order: Order,
    turn: i64,
    standing: BTreeMap<Place, Standing>,
    /// Bounded by the number of waiters that exist: each takes its own out, at the latest when it is dropped.
    outcomes: HashMap<Place, Outcome>,
    by_rank: BTreeMap<Rank, Ahead>,
}

impl Line {
    pub(super) fn new(order: Order) -> Self {
        Self { order, turn: 0, standing: BTreeMap::new(), outcomes: HashMap::new(), by_rank: BTreeMap::new() }
    }

    /// Turns rise and fall from one middle, so that a newcomer comes before or behind all that stand there, whatever order
    /// those came in.
    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    pub(super) fn len(&self) -> usize {
        self.standing.len()
    }

    pub(super) fn ahead(&self, claim: &Claim) -> Ahead {
        let (mut ahead, rank) = (Ahead::default(), Rank::of(claim));
        for (&theirs, sum) in &self.by_rank {
            if theirs < rank || theirs == rank && self.order == Order::Fifo {
                ahead.waiting += sum.waiting;
                ahead.weight += sum.weight;
            }
        }
        ahead
    }

    /// Puts a waiter in. If the line was full, its last has to go: that is refused, and its waker returned. A call that has begun
    /// is never displaced: it ranks before all others.
    #[allow(
        clippy::type_complexity,
        reason = "the outer option says whether someone had to go, the inner has its waker"
    )]
    pub(super) fn enter(
        &mut self,
        claim: Claim,
        takes: u32,
        max: u32,
    ) -> Result<(Place, Option<Option<Waker>>), Refusal> {
        self.turn += 1;
        let turn = match self.order {
            Order::Fifo => self.turn,
            Order::Lifo => -self.turn,
        };
        let place = Place { rank: Rank::of(&claim), turn };
        let mut last = None;
        if self.len() >= max as usize {
            match self.standing.last_key_value() {
                Some((&theirs, _)) if place < theirs => {
                    last = Some(self.settle(theirs, Outcome::Refused(Reason::Displaced)))
                }
                _ => return Err(Refusal::new(Reason::QueueFull)),
            }
        }
        let sum = self.by_rank.entry(place.rank).or_default();
        sum.waiting += 1;
        sum.weight += u64::from(takes);
        let Claim { weight, deadline, returning, .. } = claim;
        self.standing.insert(place, Standing { weight, deadline, returning, takes, waker: None });
        Ok((place, last))
    }

    pub(super) fn head(&self) -> Option<&Standing> {
        self.standing.first_key_value().map(|(_, head)| head)
    }

    #[must_use]
    pub(super) fn grant_head(&mut self, weight: u32) -> Option<Waker> {
        let (&place, _) = self.standing.first_key_value()?;
        self.settle(place, Outcome::Granted { weight })
    }

    #[must_use]
    pub(super) fn refuse_head(&mut self, reason: Reason) -> Option<Waker> {
        let (&place, _) = self.standing.first_key_value()?;
        self.settle(place, Outcome::Refused(reason))
    }

    fn settle(&mut self, place: Place, outcome: Outcome) -> Option<Waker> {
        let left = self.leave(place)?;
        self.outcomes.insert(place, outcome);
        left.waker
    }

    /// Takes a waiter out, if it still stands in the line.
    pub(super) fn leave(&mut self, place: Place) -> Option<Standing> {
        let left = self.standing.remove(&place)?;
        if let Some(sum) = self.by_rank.get_mut(&place.rank) {
            sum.waiting -= 1;
            sum.weight -= u64::from(left.takes);
        }
        Some(left)
    }

    /// What a waiter has to be told, once.
    pub(super) fn take_outcome(&mut self, place: Place) -> Option<Outcome> {
        self.outcomes.remove(&place)
    }

    /// Has `waker` woken when there is an outcome. Returns the waker that is no longer needed, to be dropped unlocked.
    #[must_use]
    pub(super) fn register(&mut self, place: Place, waker: Waker) -> Option<Waker> {
        match self.standing.get_mut(&place) {
            Some(standing) => standing.waker.replace(waker),
            None => Some(waker),
        }
    }
}
