//! A call is over when its body is over: bodies that carry what the layers gave to their call.
//!
//! What a layer holds for a call (a permit, a ticket, a deadline) lives in the body of the response, and ends with it: at the
//! end of the stream, its error or its drop; or at the call's deadline, polled or not.
//!
//! However many layers hold a body, there is one slot for it, and one entry in the reaper's schedule: see [`joining`].
//!
//! That a body is let go of exactly once, whoever comes first, is checked by the models in `loom_tests`.

mod ahead;
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
mod slot;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

use ::http::Response;
use bytes::Bytes;
use tower::BoxError;

pub use self::body::HeldBody;
use self::call::Call;
pub use self::judge::Judge;
pub(crate) use self::judge::sealed::SealedJudge;
use self::layers::Outer;
pub use self::long_lived::{ByExtension, LongLived};
use crate::ground::scope;
use crate::ground::verdict::{Guard, Verdict};
use crate::http::settled::AllHere;

/// Puts the guard of a call into the body of its response; if that is over already, so is the call.
pub(crate) fn hold<B, G, J>(
    mut response: Response<B>,
    verdict: Verdict,
    guard: G,
    judge: J,
) -> Response<HeldBody<B, G, J>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    G: Guard,
    J: Judge,
{
    let decided = judge.is_decided(&response);
    let (is_over, find) = joining::ask(response.body());
    let end = if is_over { Some(None) } else { AllHere::end_of(&response) };
    if let Some(trailers) = end {
        guard.settle(if decided { verdict } else { judge.at_end(verdict, trailers) });
        return response.map(HeldBody::over);
    }
    let mut expiry = guard.expiry();
    let mut lasts = scope::current().lasts();
    let now = scope::call_start();
    if let Some(long_lived) = response.extensions().get::<LongLived>() {
        expiry.at = now + long_lived.total();
        expiry.idle = None;
        lasts = true;
    }
    let call = Call { guard, judge, head: verdict, decided, lasts, expiry };
    if let Some(find) = find {
        if let Some(inner) = find(response.body_mut()) {
            if inner.admits(&expiry, now) {
                inner.join(Outer::new(call));
                return response.map(|body| HeldBody::joined(body, find));
            }
        }
    }
    response.map(|body| HeldBody::new(body, call, now))
}
