//! What a retry tells the tiers above: that the work has failed for good, and that trying it again is not wanted.
//!
//! It is told to whoever polls it, as the context goes the other way: what listens does so around every poll of what is
//! inside it, and so learns of all calls that are made in there, in this very task.
//!
//! A handler may get over a failure: it asks another dependency, and that answers. So a call that succeeds takes back the words
//! that had been said when it began. It takes back no later word: that is of another call, made at the same time.

use std::cell::Cell;

/// How many last words were said in the calls of one handler, and how many of them, from the first on, were taken back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastWords {
    said: u32,
    taken_back: u32,
}

#[cfg(feature = "http")]
impl LastWords {
    /// Whether a call failed for good and no later one succeeded.
    pub(crate) fn stand(self) -> bool {
        self.said > self.taken_back
    }
}

thread_local! {
    /// None where nobody listens.
    static WORDS: Cell<Option<LastWords>> = const { Cell::new(None) };
}

/// A call of the present task failed, and its retries are spent or were refused.
#[inline]
pub(crate) fn say_last_word() {
    if let Some(words) = WORDS.get() {
        WORDS.set(Some(LastWords { said: words.said.saturating_add(1), ..words }));
    }
}

/// The words that had been said when a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaidBefore(u32);

/// To be asked when a call begins.
#[inline]
pub(crate) fn said_before() -> SaidBefore {
    SaidBefore(WORDS.get().map_or(0, |words| words.said))
}

/// The call that began then has succeeded.
#[inline]
pub(crate) fn take_back(before: SaidBefore) {
    let Some(words) = WORDS.get() else { return };
    // A future that was moved to another handler knows the numbers of the first one.
    let taken_back = words.taken_back.max(before.0.min(words.said));
    WORDS.set(Some(LastWords { taken_back, ..words }));
}

/// Runs `poll`, which polls what is inside, and notes in `words` what is said and taken back in there.
#[inline]
pub(crate) fn listen<T>(words: &mut LastWords, poll: impl FnOnce() -> T) -> T {
    /// Leaves what was said around us as it was, even if the poll panics.
    struct Outer(Option<LastWords>);
    impl Drop for Outer {
        fn drop(&mut self) {
            WORDS.set(self.0);
        }
    }
    let _outer = Outer(WORDS.replace(Some(*words)));
    let output = poll();
    *words = WORDS.get().unwrap_or(*words);
    output
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    fn heard(words: &mut LastWords, poll: impl FnOnce()) -> bool {
        listen(words, poll);
        words.stand()
    }

    #[test]
    fn what_is_said_is_heard_by_the_one_around_it_and_by_nobody_else() {
        let [mut outer, mut inner, mut next] = [LastWords::default(); 3];
        listen(&mut outer, || listen(&mut inner, say_last_word));
        listen(&mut next, || ());
        assert_eq!((outer.stand(), inner.stand(), next.stand()), (false, true, false));
        // What nobody listens to does not stick.
        say_last_word();
        assert!(!heard(&mut next, || ()));
        assert!(heard(&mut inner, || ()), "heard once is heard");
    }

    #[test]
    fn call_that_began_where_nobody_listened_takes_back_nothing() {
        say_last_word();
        let outside = said_before();
        let mut words = LastWords::default();
        assert!(heard(&mut words, say_last_word));
        assert!(heard(&mut words, || take_back(outside)));
    }

    #[test]
    fn success_takes_back_the_words_before_its_call_only() {
        let mut words = LastWords::default();
        assert!(heard(&mut words, say_last_word));
        // In a later poll of the same handler.
        assert!(!heard(&mut words, || take_back(said_before())));
        assert!(heard(&mut words, say_last_word), "the next word counts again");
        // Of two calls at the same time, one fails and then the other succeeds.
        let mut words = LastWords::default();
        let mut before = None;
        listen(&mut words, || before = Some(said_before()));
        assert!(heard(&mut words, say_last_word));
        assert!(heard(&mut words, || before.into_iter().for_each(take_back)));
    }

    #[test]
    fn a_number_of_another_handler_takes_back_no_word_to_come() {
        let mut words = LastWords::default();
        listen(&mut words, || take_back(SaidBefore(7)));
        assert!(heard(&mut words, say_last_word));
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let mut outer = LastWords::default();
        listen(&mut outer, || {
            let panicked = std::panic::catch_unwind(|| {
                listen(&mut LastWords::default(), || {
                    say_last_word();
                    panic!("in the handler");
                })
            });
            assert!(panicked.is_err());
        });
        assert!(!outer.stand());
    }
}
