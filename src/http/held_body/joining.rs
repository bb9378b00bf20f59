//! How outer layers join the slot of the layer that held the body first.
//!
//! In a stack, several layers hold one response. Only the innermost makes a slot, with its lock and its entry in the
//! reaper's schedule. Each outer layer adds its call to that slot and passes the body through: the body that it returns
//! has another type, but no state of its own.
//!
//! The layer has to find the slot in a body of any type `B`. A foreign wrapper around a held body must not count,
//! because it may go on after the held body has ended. So `B` itself must be a held body, or a body of ours that holds
//! one of which nothing was read yet: that of a retry.
//!
//! 1. The layer asks the body whether it is over ([`ask`]). It needs to know that anyway.
//! 2. A held body that is asked leaves a [`Find`] in a thread-local cell: a function that knows this type of held body.
//!    An inner held body has been asked before it, so the function that remains is that of the outermost. No value is
//!    stored, and nothing is allocated. The body of a retry adds the function that unwraps it ([`asked_within`]).
//! 3. The layer passes the body to these functions as `dyn Any`. If the types match, they return its [`Joinable`]. If
//!    not, as with a wrapper, there is none, and the layer makes a slot of its own. The body is then held twice, and
//!    each layer does its part.
//!
//! A body that was passed through keeps these functions of its inner body, for the layers that follow.
//!
//! At most four layers share a slot: the first and three that join (`MOST` in `layers`). No recommended stack
//! has more that hold a body, and the places are in the slot, so that they need no allocation. The fifth layer makes a slot of its own around the first one, which
//! the next three may join: nothing is lost but the cost of a second slot.
//!
//! Guards are settled from the inside to the outside, after the body has been dropped. A layer that joins while the
//! reaper cuts the body is settled at once: either the cut includes its call, or the lock shows it the cut. In the
//! second case it may be settled while another thread is still dropping the body.

use std::any::Any;
use std::cell::Cell;

use http_body::Body;

use super::layers::Outer;
use crate::ground::time::Instant;
use crate::ground::verdict::Expiry;
use crate::http::MethodAndPathKey;

/// A body that is held by a layer already.
pub(super) trait Joinable {
    /// Whether a layer with this expiry may join at `now`. If it may, the reaper watches the body for that layer, too.
    fn admits(&mut self, expiry: &Expiry, now: Instant) -> bool;

    /// Adds the layer, and what names the request, if it knows that. Call it only if `admits` returned `true`.
    fn join(&mut self, outer: Outer, named: Option<MethodAndPathKey>);
}

/// Returns the slot that can be joined in a held body, if the body has the type that this function knows.
pub(super) type Find = fn(&mut dyn Any) -> Option<&mut dyn Joinable>;

/// Returns the body in another one, if that has the type that this function knows.
type Unwrap = fn(&mut dyn Any) -> Option<&mut dyn Any>;

/// How the slot is found in a body that was asked.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    unwrap: Option<Unwrap>,
    find: Find,
}

impl Asked {
    /// The slot in `body`, if it is the very body that was asked.
    pub(super) fn find(self, body: &mut dyn Any) -> Option<&mut dyn Joinable> {
        match self.unwrap {
            Some(unwrap) => (self.find)(unwrap(body)?),
            None => (self.find)(body),
        }
    }
}

thread_local! {
    /// How to find the slot of the body that was queried last; set by `is_end_stream`.
    static ASKED: Cell<Option<Asked>> = const { Cell::new(None) };
}

/// Records that a held body has been asked.
#[inline]
pub(super) fn asked(find: Find) {
    ASKED.set(Some(Asked { unwrap: None, find }));
}

/// Records that the body that was asked is within another body of ours, which `unwrap` unwraps.
#[inline]
pub(crate) fn asked_within(unwrap: Unwrap) {
    // Of two such bodies around each other, none is unwrapped.
    let asked = ASKED.take().filter(|asked| asked.unwrap.is_none());
    ASKED.set(asked.map(|asked| Asked { unwrap: Some(unwrap), ..asked }));
}

/// Whether the body is over, and how the slot in it may be found.
#[inline]
pub(super) fn ask(body: &impl Body) -> (bool, Option<Asked>) {
    ASKED.set(None);
    (body.is_end_stream(), ASKED.take())
}
