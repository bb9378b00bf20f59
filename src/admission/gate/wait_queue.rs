//! The queue of waiting calls: a plain ordered structure, which its owner keeps under a lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, btree_map};
use std::task::Waker;

use super::out_of_turn::OutOfTurn;
use super::permit_request::PermitRequest;
use super::turns::{Order, Turns};
use crate::algorithm::estimate::ServiceTime;
use crate::algorithm::fair_share::FairShare;
use crate::algorithm::queue::{self, Refusal, Standing};
use crate::ground::context::Priority;
use crate::ground::error::Reason;
use crate::ground::scope::Tenant;
use crate::ground::time::Instant;

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

/// The calls of one rank are served round by round; see [`FairShare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Turn {
    rank: Rank,
    round: u64,
}

/// A position in the queue; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GateQueuePosition {
    turn: Turn,
    /// Rises with time in a FIFO queue, and falls in a LIFO queue.
    sequence: i64,
}

impl GateQueuePosition {
    /// Whether the call held a permit before.
    pub(super) fn is_returning(self) -> bool {
        !self.turn.rank.newcomer
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
    tenant: Option<Tenant>,
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
    turns: Turns,
    sequence: i64,
    queued: BTreeMap<GateQueuePosition, QueuedCall>,
    /// Bounded by the number of waiters: each one removes its outcome, at the latest when it is dropped.
    outcomes: HashMap<GateQueuePosition, Outcome<G>>,
    by_turn: BTreeMap<Turn, Ahead>,
    all: Ahead,
    shares: HashMap<Priority, FairShare<Tenant>>,
    out_of_turn: OutOfTurn,
    pub(crate) standing: Standing,
}

impl<G> GateQueue<G> {
    pub(crate) fn new(turns: Turns) -> Self {
        Self {
            turns,
            sequence: 0,
            queued: BTreeMap::new(),
            outcomes: HashMap::new(),
            by_turn: BTreeMap::new(),
            all: Ahead::default(),
            shares: HashMap::new(),
            out_of_turn: OutOfTurn::default(),
            standing: Standing::default(),
        }
    }

    /// Sequence numbers rise and fall from one origin, so a new call comes before or after all that are queued, in whatever order
    /// those were added.
    pub(crate) fn set_turns(&mut self, turns: Turns) {
        self.turns = turns;
    }

    pub(crate) fn len(&self) -> usize {
        self.queued.len()
    }

    pub(crate) fn ahead(&self, wanted: &PermitRequest) -> Ahead {
        let turn = self.turn(wanted);
        let is_ahead = |theirs: &Turn| *theirs < turn || *theirs == turn && self.turns.order == Order::Fifo;
        if self.by_turn.last_key_value().is_none_or(|(last, _)| is_ahead(last)) {
            return self.all;
        }
        self.by_turn.iter().take_while(|(theirs, _)| is_ahead(theirs)).fold(Ahead::default(), |ahead, (_, sum)| Ahead {
            waiting: ahead.waiting + sum.waiting,
            weight: ahead.weight + sum.weight,
        })
    }

    fn turn(&self, wanted: &PermitRequest) -> Turn {
        let rank = Rank::of(wanted);
        let round = |rank: Rank| self.shares.get(&rank.priority.0).map_or(0, |share| share.next(wanted.tenant));
        match self.highest().filter(|highest| rank.newcomer && *highest < rank && self.out_of_turn.is_due()) {
            Some(highest) => Turn { rank: highest, round: round(highest) },
            None if rank.newcomer => Turn { rank, round: round(rank) },
            None => Turn { rank, round: 0 },
        }
    }

    /// The highest rank of the new calls that wait.
    fn highest(&self) -> Option<Rank> {
        self.by_turn.keys().map(|turn| turn.rank).find(|rank| rank.newcomer)
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
        let sequence = match self.turns.order {
            Order::Fifo => self.sequence,
            Order::Lifo => -self.sequence,
        };
        let position = GateQueuePosition { turn: self.turn(&wanted), sequence };
        let mut last = None;
        if self.len() >= max as usize {
            match self.queued.last_key_value() {
                Some((&theirs, _)) if position < theirs => {
                    last = Some(self.settle(theirs, Outcome::Refused(Reason::Displaced)))
                }
                _ => {
                    if self.queued.is_empty() {
                        self.standing.end();
                    }
                    return Err(Refusal::new(Reason::QueueFull));
                }
            }
        }
        if position.turn.rank < Rank::of(&wanted) {
            self.out_of_turn.take();
        }
        let PermitRequest { weight, deadline, returning, tenant, .. } = wanted;
        if !returning {
            self.shares.entry(position.turn.rank.priority.0).or_default().enter(tenant, position.turn.round);
        }
        for sum in [self.by_turn.entry(position.turn).or_default(), &mut self.all] {
            sum.waiting += 1;
            sum.weight += u64::from(takes);
        }
        self.queued.insert(position, QueuedCall { weight, deadline, returning, tenant, takes, waker: None });
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
        let GateQueuePosition { turn: Turn { rank, round }, .. } = position;
        if rank.newcomer {
            self.shares.entry(rank.priority.0).or_default().serve(round);
        }
        self.out_of_turn.granted(self.turns.low_priority_share);
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
        if let btree_map::Entry::Occupied(mut sum) = self.by_turn.entry(position.turn) {
            for sum in [sum.get_mut(), &mut self.all] {
                sum.waiting -= 1;
                sum.weight -= u64::from(left.takes);
            }
            if sum.get().waiting == 0 {
                sum.remove();
            }
        }
        if let Some(share) = self.shares.get_mut(&position.turn.rank.priority.0).filter(|_| !left.returning) {
            share.leave(left.tenant, position.turn.round);
        }
        if self.queued.is_empty() {
            self.standing.end();
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
