//! Exhausted retries: a retry reports to the tiers above that a call has failed for good, and that another try is not wanted.
//!
//! The report goes to the layer that collects reports around the poll, so it covers all calls that are made in this task.
//!
//! A handler may recover from a failure: it calls another dependency, and that answers. So a call that succeeds withdraws the
//! reports that existed when it began. It keeps later ones: they are of other calls, made at the same time.

use super::exhausted_calls::Exhausted;
use super::{Restore, SCOPE};

/// A call of the current task failed, and its retries are exhausted or were refused.
#[inline]
pub(crate) fn mark_exhausted() {
    if let Some(collected) = collected() {
        set(Exhausted { calls: collected.calls.saturating_add(1), ..collected });
    }
}

/// The calls that had exhausted their retries when a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExhaustedBefore(u32);

/// Call it when a call begins.
#[inline]
pub(crate) fn exhausted_before() -> ExhaustedBefore {
    ExhaustedBefore(collected().map_or(0, |collected| collected.calls))
}

/// The call that began at `before` has succeeded.
#[inline]
pub(crate) fn recovered(before: ExhaustedBefore) {
    let Some(collected) = collected() else { return };
    // A future that was moved to another handler has the count of the first one.
    set(Exhausted { recovered: collected.recovered.max(before.0.min(collected.calls)), ..collected });
}

/// Runs `poll`, and records in `exhausted` which calls in it exhaust their retries or recover.
#[inline]
pub(crate) fn noting_exhausted<T>(exhausted: &mut Exhausted, poll: impl FnOnce() -> T) -> T {
    let _restore = Restore::after(|scope| &scope.exhausted, Some(*exhausted));
    let output = poll();
    *exhausted = collected().unwrap_or(*exhausted);
    output
}

#[inline]
fn collected() -> Option<Exhausted> {
    SCOPE.with(|scope| scope.exhausted.get())
}

fn set(exhausted: Exhausted) {
    SCOPE.with(|scope| scope.exhausted.set(Some(exhausted)));
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    fn is_exhausted_after(exhausted: &mut Exhausted, poll: impl FnOnce()) -> bool {
        noting_exhausted(exhausted, poll);
        exhausted.is_exhausted()
    }

    #[test]
    fn report_reaches_the_innermost_collector_only() {
        let [mut outer, mut inner, mut next] = [Exhausted::default(); 3];
        noting_exhausted(&mut outer, || noting_exhausted(&mut inner, mark_exhausted));
        noting_exhausted(&mut next, || ());
        assert_eq!((outer.is_exhausted(), inner.is_exhausted(), next.is_exhausted()), (false, true, false));
        // A report without a collector is dropped.
        mark_exhausted();
        assert!(!is_exhausted_after(&mut next, || ()));
        assert!(is_exhausted_after(&mut inner, || ()), "a report stays");
    }

    #[test]
    fn call_outside_a_collector_withdraws_nothing() {
        mark_exhausted();
        let outside = exhausted_before();
        let mut exhausted = Exhausted::default();
        assert!(is_exhausted_after(&mut exhausted, mark_exhausted));
        assert!(is_exhausted_after(&mut exhausted, || recovered(outside)));
    }

    #[test]
    fn success_withdraws_earlier_reports_only() {
        let mut exhausted = Exhausted::default();
        assert!(is_exhausted_after(&mut exhausted, mark_exhausted));
        // In a later poll of the same handler.
        assert!(!is_exhausted_after(&mut exhausted, || recovered(exhausted_before())));
        assert!(is_exhausted_after(&mut exhausted, mark_exhausted), "the next report counts again");
        // Of two concurrent calls, one fails and then the other succeeds.
        let mut exhausted = Exhausted::default();
        let mut before = None;
        noting_exhausted(&mut exhausted, || before = Some(exhausted_before()));
        assert!(is_exhausted_after(&mut exhausted, mark_exhausted));
        assert!(is_exhausted_after(&mut exhausted, || before.into_iter().for_each(recovered)));
    }

    #[test]
    fn count_of_another_handler_withdraws_nothing_later() {
        let mut exhausted = Exhausted::default();
        noting_exhausted(&mut exhausted, || recovered(ExhaustedBefore(7)));
        assert!(is_exhausted_after(&mut exhausted, mark_exhausted));
    }

    #[test]
    fn panic_restores_the_outer_collector() {
        let mut outer = Exhausted::default();
        noting_exhausted(&mut outer, || {
            let panicked = std::panic::catch_unwind(|| {
                noting_exhausted(&mut Exhausted::default(), || {
                    mark_exhausted();
                    panic!("in the handler");
                })
            });
            assert!(panicked.is_err());
        });
        assert!(!outer.is_exhausted());
    }
}
