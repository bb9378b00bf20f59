//! The queue of waiting calls: a plain ordered structure, which its owner keeps under a lock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Add;
use std::task::Waker;
use std::time::Duration;

use super::out_of_turn::OutOfTurn;
use super::permit_request::PermitRequest;
use super::turns::{Order, Turns};
use crate::algorithm::estimate::ServiceTime;
use crate::algorithm::fair_share::{FairTurns, KeyTime};
use crate::algorithm::queue::{self, Refusal, Standing};
use crate::ground::context::Priority;
use crate::ground::error::Reason;
use crate::ground::scope::ShareKey;
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

/// A position in the queue; the smallest is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GateQueuePosition {
    rank: Rank,
    /// `false` for a call of lower priority that comes before the others of the rank.
    in_turn: bool,
    /// Where the call starts on the virtual clock of its rank; zero without keys.
    start: u64,
    /// Rises with time in a FIFO queue, and falls in a LIFO queue.
    sequence: i64,
}

impl GateQueuePosition {
    /// No position of the rank is before this.
    fn first_of(rank: Rank) -> Self {
        Self { rank, in_turn: false, start: 0, sequence: i64::MIN }
    }

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
    /// How long the turns of other keys and earlier ones of the same key take besides.
    pub(crate) turns: Duration,
}

impl Ahead {
    /// The time until they, and a call that weighs so much, have got their permits. Zero while the mean time of calls is unknown.
    pub(crate) fn wait(self, weight: u32, limit: u32, mean: Duration) -> Duration {
        // What a turn costs is no more than a guess then.
        let turns = if mean.is_zero() { Duration::ZERO } else { self.turns };
        queue::predict(self.weight, weight.min(limit), limit, mean).saturating_add(turns)
    }
}

impl Add for Ahead {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            weight: self.weight + other.weight,
            turns: self.turns.saturating_add(other.turns),
        }
    }
}

/// The waiting calls of one rank.
#[derive(Debug, Default)]
struct RankState {
    sum: Ahead,
    turns: FairTurns,
}

impl RankState {
    /// The calls ahead of one with this key: one of each key, those that came before all keys, and what is paid until its turn.
    fn ahead_of(&self, key: Option<ShareKey>) -> Ahead {
        let Ahead { waiting, weight, .. } = self.sum;
        let first = (waiting - self.turns.waiting()).saturating_add(self.turns.waiting_keys());
        let weight = weight / u64::from(waiting.max(1)) * u64::from(first);
        Ahead { waiting: first, weight, turns: Duration::from_nanos(self.turns.paid_before(key)) }
    }
}

#[derive(Debug)]
pub(crate) struct QueuedCall {
    pub(super) weight: u32,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Instant>,
    returning: bool,
    /// How many permits it takes, under the limit at the time when it was queued. The limit may change.
    takes: u32,
    share_key: Option<ShareKey>,
    /// Whether it is in the order of the keys.
    has_turn: bool,
    key_time: Option<KeyTime>,
    /// Of its turn.
    cost: u64,
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

    /// The same, by the time that calls of its key need.
    fn fits_by_key(&self, now: Instant, service: ServiceTime, contended: bool) -> bool {
        let service = self.key_time.map_or(service, |time| service.of_kind(time.median));
        self.fits(now, service, contended)
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
    by_rank: BTreeMap<Rank, RankState>,
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
            by_rank: BTreeMap::new(),
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
        let (rank, in_turn) = self.place(wanted);
        self.by_rank.range(..=rank).fold(Ahead::default(), |ahead, (theirs, of_rank)| {
            if *theirs < rank {
                ahead + of_rank.sum
            } else if !in_turn {
                ahead
            } else if of_rank.turns.has_keys() {
                ahead + of_rank.ahead_of(wanted.share_key)
            } else if self.turns.order == Order::Fifo {
                ahead + of_rank.sum
            } else {
                ahead
            }
        })
    }

    /// The rank of a new call, and whether it is served in turn: if not, before those of the highest rank.
    fn place(&self, wanted: &PermitRequest) -> (Rank, bool) {
        let rank = Rank::of(wanted);
        let is_due = rank.newcomer && self.out_of_turn.is_due();
        let highest = self.newcomers().next().filter(|highest| is_due && *highest < rank);
        highest.map_or((rank, true), |highest| (highest, false))
    }

    /// The ranks of the new calls that wait, the highest first.
    fn newcomers(&self) -> impl Iterator<Item = Rank> {
        self.by_rank.iter().filter(|(rank, of_rank)| rank.newcomer && of_rank.sum.waiting > 0).map(|(rank, _)| *rank)
    }

    /// The position that is served next: the first, or that of a lower priority whose turn it is.
    fn next(&self) -> Option<GateQueuePosition> {
        let (first, _) = self.queued.first_key_value()?;
        let lower =
            self.newcomers().find(|rank| *rank > first.rank && first.rank.newcomer && self.out_of_turn.is_due());
        let of_lower = |rank| self.queued.range(GateQueuePosition::first_of(rank)..).next();
        Some(lower.and_then(of_lower).map_or(*first, |(position, _)| *position))
    }

    /// Adds a call, whose turn costs so much. If the queue was full, its last call is displaced: it is refused, and its waker returned. A
    /// call that has begun is never displaced: it ranks before all others.
    #[allow(
        clippy::type_complexity,
        reason = "the outer option says whether someone had to go, the inner has its waker"
    )]
    pub(crate) fn enter(
        &mut self,
        wanted: PermitRequest,
        takes: u32,
        cost: u64,
        max: u32,
    ) -> Result<(GateQueuePosition, Option<Option<Waker>>), Refusal> {
        self.sequence += 1;
        let sequence = match self.turns.order {
            Order::Fifo => self.sequence,
            Order::Lifo => -self.sequence,
        };
        let (rank, in_turn) = self.place(&wanted);
        let share_key = wanted.share_key;
        // A call that is served out of turn is not in the order of its rank.
        let start = match self.by_rank.get(&rank) {
            Some(of_rank) if in_turn => of_rank.turns.start_of(share_key),
            _ => 0,
        };
        let position = GateQueuePosition { rank, in_turn, start, sequence };
        let displaced = if self.len() >= max as usize {
            match self.queued.last_key_value() {
                Some((&theirs, _)) if position < theirs => Some(theirs),
                _ => {
                    if self.queued.is_empty() {
                        self.standing.end();
                    }
                    return Err(Refusal::new(Reason::QueueFull));
                }
            }
        } else {
            None
        };
        if !in_turn {
            self.out_of_turn.take();
        }
        let PermitRequest { weight, priority, deadline, returning, share_key, key_time } = wanted;
        let of_rank = self.by_rank.entry(rank).or_default();
        of_rank.sum.waiting += 1;
        of_rank.sum.weight += u64::from(takes);
        let has_turn = in_turn && of_rank.turns.enter(share_key, start, cost);
        let call = QueuedCall {
            weight,
            priority,
            deadline,
            returning,
            takes,
            share_key,
            has_turn,
            key_time,
            cost,
            waker: None,
        };
        self.queued.insert(position, call);
        Ok((position, displaced.map(|theirs| self.refuse(theirs, Reason::Displaced))))
    }

    /// Whether the call at the head is likely enough to end in time for a permit that is free.
    pub(crate) fn head_fits(&self, now: Instant, service: ServiceTime) -> bool {
        self.head().is_some_and(|head| head.fits_by_key(now, service, self.is_contended(now, service)))
    }

    /// Whether a call behind the head could use a free permit. The last call decides, which usually has the most time left. If not
    /// even that one is likely to end in time, there is nothing to save the permit for: it would stay free while all waiting calls
    /// are refused, one by one, and no result could show that the estimate is wrong.
    pub(super) fn is_contended(&self, now: Instant, service: ServiceTime) -> bool {
        self.len() > 1 && self.queued.last_key_value().is_some_and(|(_, last)| last.fits(now, service, true))
    }

    pub(crate) fn head(&self) -> Option<&QueuedCall> {
        self.queued.get(&self.next()?)
    }

    #[must_use]
    pub(crate) fn grant_head(&mut self, grant: G) -> Option<Waker> {
        let position = self.next()?;
        let is_out_of_turn = self.queued.first_key_value().is_some_and(|(first, _)| *first < position);
        if is_out_of_turn {
            self.out_of_turn.take();
        } else {
            self.out_of_turn.granted(self.turns.low_priority_share);
        }
        let granted = self.remove(position, |turns, call| turns.serve(call.share_key, position.start, call.cost))?;
        self.outcomes.insert(position, Outcome::Granted(grant));
        granted.waker
    }

    #[must_use]
    pub(crate) fn refuse_head(&mut self, reason: Reason) -> Option<Waker> {
        let position = self.next()?;
        self.refuse(position, reason)
    }

    fn refuse(&mut self, position: GateQueuePosition, reason: Reason) -> Option<Waker> {
        let refused = self.leave(position)?;
        self.outcomes.insert(position, Outcome::Refused(reason));
        refused.waker
    }

    /// Removes a call, if it is still queued.
    pub(crate) fn leave(&mut self, position: GateQueuePosition) -> Option<QueuedCall> {
        self.remove(position, |turns, call| turns.leave(call.share_key, call.cost))
    }

    fn remove(
        &mut self,
        position: GateQueuePosition,
        turn: impl FnOnce(&mut FairTurns, &QueuedCall),
    ) -> Option<QueuedCall> {
        let left = self.queued.remove(&position)?;
        if let Some(of_rank) = self.by_rank.get_mut(&position.rank) {
            of_rank.sum.waiting -= 1;
            of_rank.sum.weight -= u64::from(left.takes);
            if left.has_turn {
                turn(&mut of_rank.turns, &left);
            }
            if of_rank.sum.waiting == 0 {
                of_rank.turns.end();
            }
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
