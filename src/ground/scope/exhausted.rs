//! Exhausted retries: a retry tells the tiers above that a call has failed for good, and that another try is not wanted.
//!
//! The retry tells it to the layer that notes it around the poll, and so of all calls that are made in this very task.
//!
//! A handler may recover from a failure: it asks another dependency, and that answers. So a call that succeeds takes back what
//! had been told when it began, and nothing that was told later: that is of another call, made at the same time.

use super::exhausted_calls::Exhausted;
use super::{Restore, SCOPE};

/// A call of the present task failed, and its retries are spent or were refused.
#[inline]
pub(crate) fn mark_exhausted() {
    if let Some(noted) = noted() {
        set(Exhausted { calls: noted.calls.saturating_add(1), ..noted });
    }
}

/// The calls that had exhausted their retries when a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExhaustedBefore(u32);

/// To be asked when a call begins.
#[inline]
pub(crate) fn exhausted_before() -> ExhaustedBefore {
    ExhaustedBefore(noted().map_or(0, |noted| noted.calls))
}

/// The call that began then has succeeded.
#[inline]
pub(crate) fn recovered(before: ExhaustedBefore) {
    let Some(noted) = noted() else { return };
    // A future that was moved to another handler knows the number of the first one.
    set(Exhausted { recovered: noted.recovered.max(before.0.min(noted.calls)), ..noted });
}

/// Runs `poll`, and notes in `exhausted` which calls in there exhaust their retries or recover.
#[inline]
pub(crate) fn noting_exhausted<T>(exhausted: &mut Exhausted, poll: impl FnOnce() -> T) -> T {
    let _restore = Restore::after(|scope| &scope.exhausted, Some(*exhausted));
    let output = poll();
    *exhausted = noted().unwrap_or(*exhausted);
    output
}

#[inline]
fn noted() -> Option<Exhausted> {
    SCOPE.with(|scope| scope.exhausted.get())
}

fn set(exhausted: Exhausted) {
    SCOPE.with(|scope| scope.exhausted.set(Some(exhausted)));
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    fn is_exhausted_after(words: &mut Exhausted, poll: impl FnOnce()) -> bool {
        noting_exhausted(words, poll);
        words.stands()
    }

    #[test]
    fn what_is_said_is_heard_by_the_one_around_it_and_by_nobody_else() {
        let [mut outer, mut inner, mut next] = [Exhausted::default(); 3];
        noting_exhausted(&mut outer, || noting_exhausted(&mut inner, mark_exhausted));
        noting_exhausted(&mut next, || ());
        assert_eq!((outer.stands(), inner.stands(), next.stands()), (false, true, false));
        // What nobody listens to does not stick.
        mark_exhausted();
        assert!(!is_exhausted_after(&mut next, || ()));
        assert!(is_exhausted_after(&mut inner, || ()), "heard once is heard");
    }

    #[test]
    fn call_that_began_where_nobody_listened_takes_back_nothing() {
        mark_exhausted();
        let outside = exhausted_before();
        let mut words = Exhausted::default();
        assert!(is_exhausted_after(&mut words, mark_exhausted));
        assert!(is_exhausted_after(&mut words, || recovered(outside)));
    }

    #[test]
    fn success_takes_back_the_words_before_its_call_only() {
        let mut words = Exhausted::default();
        assert!(is_exhausted_after(&mut words, mark_exhausted));
        // In a later poll of the same handler.
        assert!(!is_exhausted_after(&mut words, || recovered(exhausted_before())));
        assert!(is_exhausted_after(&mut words, mark_exhausted), "the next word counts again");
        // Of two calls at the same time, one fails and then the other succeeds.
        let mut words = Exhausted::default();
        let mut before = None;
        noting_exhausted(&mut words, || before = Some(exhausted_before()));
        assert!(is_exhausted_after(&mut words, mark_exhausted));
        assert!(is_exhausted_after(&mut words, || before.into_iter().for_each(recovered)));
    }

    #[test]
    fn a_number_of_another_handler_takes_back_no_word_to_come() {
        let mut words = Exhausted::default();
        noting_exhausted(&mut words, || recovered(ExhaustedBefore(7)));
        assert!(is_exhausted_after(&mut words, mark_exhausted));
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
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
        assert!(!outer.stands());
    }
}
