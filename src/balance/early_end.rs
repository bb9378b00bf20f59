//! A call that failed early, or was dropped early. Its permit is kept for as long as a success takes.
//!
//! # Failed
//! The permit is kept if other endpoints do better.
//!
//! A failure takes no time. So among endpoints that are full, one that fails at once would be the only one with free permits, and would
//! get all calls. With its permits kept it gets no more than if it answered. If all endpoints fail alike, calls lose nothing by going
//! there, and no permit is kept. Nor is that of a lost call: its instance may have crashed, and the calls that follow show whether it has.
//!
//! # Dropped
//! A hedge that loses, and a call whose caller has given up, are dropped here. An instance that has begun such a call usually works on it to
//! its end. If it takes only so many calls at once, and the permit went to another one, that would be refused: a full instance would seem to
//! refuse calls at random, and its [limit](crate::algorithm::balance::RefusalLimit) would be lost. So the permit is kept where there is
//! such a limit.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::permit::Permit;
use crate::admission::timer::Timer;
use crate::ground::sync::foreign;
use crate::ground::time::{self, Instant};

/// A shorter time is not worth a timer, whose steps are as long.
const LEAST_TIME: Duration = Duration::from_millis(1);

/// Keeps or releases the permit of a call that has failed after so long.
#[cold]
pub(super) fn end(permit: Permit, took: Duration, now: Instant) {
    if permit.endpoint().others_do_better(now) {
        keep(permit, took, now);
    }
}

/// Keeps or releases the permit of a call that was dropped after so long.
#[cold]
pub(super) fn dropped(permit: Permit, took: Duration, now: Instant) {
    if permit.endpoint().has_learned_limit() {
        keep(permit, took, now);
    }
}

/// Keeps the permit for the rest of the usual time of a success.
fn keep(permit: Permit, took: Duration, now: Instant) {
    let endpoint = permit.endpoint();
    let Some(rest) = endpoint.common.load.usual().and_then(|usual| usual.checked_sub(took)) else { return };
    if rest < LEAST_TIME {
        return;
    }
    // Without a runtime nothing would tell waiting calls that it is free again.
    let Ok(runtime) = Handle::try_current() else { return };
    let (until, kept_at) = (now + rest, Arc::downgrade(endpoint));
    permit.keep(until);
    // If the runtime stops before that, the next call that finds no permit releases it.
    let task = async move {
        let mut timer = Timer::new();
        poll_fn(|cx| timer.poll_until(cx, until)).await;
        if let Some(endpoint) = Weak::upgrade(&kept_at) {
            endpoint.kept_permits.release(&endpoint.load, time::now());
            endpoint.serve_waiting();
        }
    };
    foreign(|| drop(runtime.spawn(task)));
}
