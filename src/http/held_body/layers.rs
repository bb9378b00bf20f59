//! The layers that hold one body, from the inside to the outside: when each of them must release it, and which comes
//! first.

use std::fmt;
use std::time::Duration;

use super::call::{End, HeldCall, OuterCall};
use super::judge::Judge;
use crate::admission::reaper;
use crate::ground::error::Rejected;
use crate::ground::sync::foreign;
use crate::ground::time::Instant;
use crate::ground::verdict::{Expiry, Guard, Pace};
use crate::telemetry;

/// How many layers may join the layer that held the body first. The next one makes a slot of its own around this one.
const MOST: usize = 3;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Layers {
    /// The expiry of the innermost layer, whose call is kept with the body.
    innermost: Expiry,
    outer: [Option<Outer>; MOST],
}

/// An outer layer.
pub(super) struct Outer {
    expiry: Expiry,
    /// `None` if the layer only bounds the body and has nothing to settle.
    call: Option<Box<dyn OuterCall>>,
}

impl Outer {
    pub(super) fn new<G: Guard, J: Judge>(call: HeldCall<G, J>) -> Self {
        Self { expiry: call.expiry, call: if G::IS_BOUND_ONLY { None } else { Some(Box::new(call)) } }
    }

    pub(super) fn end(self, reading: Option<Instant>, end: End<'_>) {
        if let Some(call) = self.call {
            call.end_at(reading, end);
        }
    }
}

impl fmt::Debug for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outer").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

/// A bound that has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// The layer that set the bound, counted from the innermost.
    pub(super) layer: usize,
    expiry: Expiry,
    /// The start of the idle time, if the bound is an idle timeout.
    idle_since: Option<Instant>,
}

impl Reached {
    /// The refusal of a body that is cut at `now`. It takes the lock that guards the layer's name, so no other lock may
    /// be held.
    pub(super) fn rejected(&self, now: Instant) -> Rejected {
        foreign(|| telemetry::refuse(self.expiry.layer_id, self.expiry.why(self.idle_since, now)).into_rejected())
    }
}

/// When the reaper must first check a body for a layer with this expiry. `since` is when the head came.
pub(super) fn first_look(expiry: &Expiry, since: Instant) -> Instant {
    expiry.idle.map_or(expiry.at, |idle| expiry.at.min(since + idle))
}

impl Layers {
    pub(super) fn new(innermost: Expiry) -> Self {
        Self { innermost, outer: [const { None }; MOST] }
    }

    /// Whether another layer may join. A layer with another pace cannot: the inner layers are done with the body as
    /// soon as the outer pacing has taken it from them.
    pub(super) fn admits(&self, expiry: &Expiry) -> bool {
        let has_pace = expiry.pace == Pace::Free || expiry.pace == self.innermost.pace;
        has_pace && self.outer.iter().any(Option::is_none)
    }

    /// Adds the outermost layer. Returns it if there is no room.
    pub(super) fn join(&mut self, outer: Outer) -> Option<Outer> {
        match self.outer.iter_mut().find(|place| place.is_none()) {
            Some(place) => place.replace(outer),
            None => Some(outer),
        }
    }

    fn expiries(&self) -> impl Iterator<Item = (usize, &Expiry)> {
        let outer = self.outer.iter().flatten().map(|outer| &outer.expiry);
        std::iter::once(&self.innermost).chain(outer).enumerate()
    }

    /// The earliest end. If the reaper visits several ends at the same time, it is the outermost of them, whose cut
    /// includes the others.
    pub(super) fn first_end(&self) -> Reached {
        let mut first = (0, &self.innermost);
        for (layer, expiry) in self.expiries().skip(1) {
            if reaper::rounded_up(expiry.at) <= reaper::rounded_up(first.1.at) {
                first = (layer, expiry);
            }
        }
        Reached { layer: first.0, expiry: *first.1, idle_since: None }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.first_end().expiry.at <= now
    }

    /// The shortest bound on a reader's wait, if there is one.
    fn shortest_wait(&self) -> Option<(Duration, usize, &Expiry)> {
        let waits = self.expiries().filter_map(|(layer, expiry)| Some((expiry.idle?, layer, expiry)));
        waits.reduce(|shortest, wait| if wait.0 <= shortest.0 { wait } else { shortest })
    }

    /// The bound that is reached at `now`, or when to check again.
    pub(super) fn look(&self, now: Instant, waiting_since: Option<Instant>) -> Result<Reached, Instant> {
        let end = self.first_end();
        if end.expiry.at <= now {
            return Ok(end);
        }
        match self.shortest_wait() {
            None => Err(end.expiry.at),
            Some((longest, layer, expiry)) => {
                let since = waiting_since.unwrap_or(now);
                match since + longest {
                    over if over <= now => Ok(Reached { layer, expiry: *expiry, idle_since: Some(since) }),
                    over => Err(over.min(end.expiry.at)),
                }
            }
        }
    }

    /// Whether an outer layer has something to settle.
    pub(super) fn has_calls(&self) -> bool {
        self.outer.iter().flatten().any(|outer| outer.call.is_some())
    }

    /// See [`Guard::waited`].
    pub(super) fn waited(&mut self, time: Duration) {
        self.outer.iter_mut().flatten().filter_map(|outer| outer.call.as_mut()).for_each(|call| call.waited(time));
    }

    /// Ends the calls of the outer layers. `end` gives each of them its own end.
    pub(super) fn end<'a>(&mut self, reading: Option<Instant>, end: impl Fn(usize) -> End<'a>) {
        for (at, outer) in self.outer.iter_mut().enumerate() {
            if let Some(outer) = outer.take() {
                outer.end(reading, end(at + 1));
            }
        }
    }
}
