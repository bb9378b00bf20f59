//! The bound of a call: the deadline, or `max_hold` where there is none. At the bound the layer releases what it holds for the call.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::Why;
use crate::ground::scope;
use crate::ground::time;

/// The default `max_hold`, used only where no deadline is set.
pub(crate) const DEFAULT_MAX_HOLD: Duration = Duration::from_secs(60);

/// Ready at the deadline. Poll this after the call itself, or a result that is ready in time would be lost.
///
/// No timer is armed while an outer layer in this very task ends the call at the same time or earlier. This is checked on each poll,
/// since the call may have been moved to another task, or shared with one.
#[inline]
pub(crate) fn poll_deadline(deadline: &CallDeadline, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<Why> {
    if scope::current().ends_by(deadline.at()) && scope::is_enforced_for(cx.waker()) {
        return Poll::Pending;
    }
    timer.poll_until(cx, deadline.at()).map(|()| deadline.why(time::now()))
}
