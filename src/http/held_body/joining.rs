//! How outer layers join the slot of the layer that held the body first.
//!
//! In a stack, several layers hold one response. Only the innermost makes a slot, with its lock and its entry in the
//! reaper's schedule. Each outer layer adds its call to that slot and passes the body through: the body that it returns
//! has another type, but no state of its own.
//!
//! The layer has to find the slot in a body of any type `B`. A foreign wrapper around a held body must not count,
//! because it may go on after the held body has ended. So `B` itself must be a held body, or a held body of which a
//! retry has read nothing ([`SettledBody`]).
//!
//! 1. The layer asks the body whether it is over ([`ask`]). It needs to know that anyway.
//! 2. A held body that is asked leaves a [`Find`] in a thread-local cell: a function that knows this type of held body.
//!    An inner held body has been asked before it, so the function that remains is that of the outermost. No value is
//!    stored, and nothing is allocated.
//! 3. The layer passes the body to `Find` as `dyn Any`. If the type matches, `Find` returns its [`Joinable`]. If it
//!    does not, as with a wrapper, there is none, and the layer makes a slot of its own. The body is then held twice,
//!    and each layer does its part.
//!
//! A body that was passed through keeps the `Find` of its inner body, for the layers that follow.
//!
//! Guards are settled from the inside to the outside, after the body has been dropped. A layer that joins while the
//! reaper cuts the body is settled at once: either the cut includes its call, or the lock shows it the cut. In the
//! second case it may be settled while another thread is still dropping the body.

use std::any::Any;
use std::cell::Cell;

use http_body::Body;
use tower::BoxError;

use super::body::HeldBody;
use super::judge::Judge;
use super::layers::Outer;
use crate::ground::time::Instant;
use crate::ground::verdict::{Expiry, Guard};
use crate::http::settled::SettledBody;

/// A body that is held by a layer already.
pub(super) trait Joinable {
    /// Whether a layer with this expiry may join at `now`. If it may, the reaper watches the body for that layer, too.
    fn admits(&mut self, expiry: &Expiry, now: Instant) -> bool;

    /// Adds the layer. Call it only if `admits` returned `true`.
    fn join(&mut self, outer: Outer);
}

/// Returns the slot that can be joined in a body, if the body has the type that this function knows.
pub(super) type Find = fn(&mut dyn Any) -> Option<&mut dyn Joinable>;

thread_local! {
    /// The function of the held body that was asked last.
    static ASKED: Cell<Option<Find>> = const { Cell::new(None) };
}

/// Records that a held body has been asked.
#[inline]
pub(super) fn asked(find: Find) {
    ASKED.set(Some(find));
}

/// Whether the body is over, and the function that may find a slot in it.
#[inline]
pub(super) fn ask(body: &impl Body) -> (bool, Option<Find>) {
    ASKED.set(None);
    (body.is_end_stream(), ASKED.take())
}

/// See [`Find`].
pub(super) fn find<B, G, J>(body: &mut dyn Any) -> Option<&mut dyn Joinable>
where
    B: Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    if body.is::<HeldBody<B, G, J>>() {
        body.downcast_mut::<HeldBody<B, G, J>>()?.joinable()
    } else if body.is::<SettledBody<HeldBody<B, G, J>>>() {
        body.downcast_mut::<SettledBody<HeldBody<B, G, J>>>()?.unread_rest()?.joinable()
    } else {
        let bounded: &mut dyn Any = body.downcast_mut::<SettledBody<B>>()?.unread_bounded()?;
        bounded.downcast_mut::<HeldBody<B, G, J>>()?.joinable()
    }
}
