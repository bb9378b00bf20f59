//! Bodies that hold the resources of their call: a call is over when its body is over.
//!
//! What a layer holds for a call (a permit, a ticket, a deadline) lives in the body of the response. It is released at
//! the end of the stream, at an error or when the body is dropped; or at the call's deadline, whether or not the body
//! is polled.
//!
//! One body has one slot and one entry in the reaper's schedule, however many layers hold it: see [`joining`].
//!
//! # Allocations
//! A held body allocates twice, and once more for each outer layer that has something to settle:
//!
//! - the slot, an `Arc` that the reader's side, the reaper's schedule and the wakers of the inner body share;
//! - the body with the innermost call, a pinned box. It cannot be a part of the slot: whichever side uses the body moves it out of the
//!   slot's mutex, because no lock may be held while a body runs, and a body that was polled must not move in memory. In place it would
//!   need `unsafe`, which this crate forbids;
//! - the call of an outer layer, a box, because a slot cannot name the types of layers that join it. A layer that only bounds the body (a
//!   deadline) has none.
//!
//! An entry in the reaper's schedule, a frame and a query allocate nothing. `held_body_allocates_twice` and
//! `joining_layer_allocates_once` hold the numbers.
//!
//! The models in `loom_tests` check that a body is released exactly once, whether its owner or the reaper comes first.

mod all_here;
mod body;
mod call;
mod carried;
mod holding;
mod joining;
mod judge;
mod layers;
mod long_lived;
#[cfg(all(test, seawall_loom))]
mod loom_tests;
mod pace;
mod peekable_body;
mod slot;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use ::http::Response;
use bytes::Bytes;
use tower::BoxError;

pub(crate) use self::all_here::AllHere;
pub use self::body::HeldBody;
use self::call::HeldCall;
pub(crate) use self::joining::asked_within;
pub use self::judge::Judge;
pub(crate) use self::judge::sealed::SealedJudge;
use self::layers::Outer;
pub use self::long_lived::{ByExtension, LongLived};
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{Guard, Verdict};
use crate::http::MethodAndPathKey;

/// Moves the guard of a call into the body of its response. If the body is over already, the call ends here.
pub(crate) fn hold<B, G, J>(
    mut response: Response<B>,
    verdict: Verdict,
    mut guard: G,
    judge: J,
) -> Response<HeldBody<B, G, J>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    let decided = judge.is_decided(&response);
    let (is_over, asked) = joining::ask(response.body());
    let end = if is_over { Some(None) } else { AllHere::end_of(&response) };
    if let Some(trailers) = end {
        call::report_load(&mut guard, trailers);
        guard.settle(if decided { verdict } else { judge.at_end(verdict, trailers) });
        return response.map(HeldBody::over);
    }
    let named = guard.named().and_then(|named| named.downcast_mut::<Option<MethodAndPathKey>>()).and_then(Option::take);
    let mut expiry = guard.expiry();
    let mut lasts = scope::current().lasts();
    let now = time::call_start();
    if let Some(long_lived) = response.extensions().get::<LongLived>().filter(|_| !G::IGNORES_LONG_LIVED) {
        expiry.at = now + long_lived.total();
        expiry.idle = None;
        lasts = true;
    }
    if lasts {
        guard.lasts();
    }
    let call = HeldCall { guard, judge, head: verdict, decided, lasts, expiry };
    if let Some(asked) = asked {
        if let Some(inner) = asked.find(response.body_mut()) {
            if inner.admits(&expiry, now) {
                inner.join(Outer::new(call), named);
                return response.map(|body| HeldBody::joined(body, asked));
            }
        }
    }
    response.map(|body| HeldBody::new(body, call, named, now))
}
