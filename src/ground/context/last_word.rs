//! What a retry tells the tiers above: that the work has failed for good, and that trying it again is not wanted.
//!
//! It is told to whoever polls it, as the context goes the other way: what listens does so around every poll of what is
//! inside it, and so learns of all calls that are made in there, in this very task.

use std::cell::Cell;

thread_local! {
    static SAID: Cell<bool> = const { Cell::new(false) };
}

/// A call of the present task failed, and its retries are spent or were refused.
#[inline]
pub(crate) fn say_last_word() {
    SAID.set(true);
}

/// Runs `poll`, which polls what is inside, and notes in `heard` whether a last word was said in there.
#[cfg(feature = "http")]
#[inline]
pub(crate) fn listen<T>(heard: &mut bool, poll: impl FnOnce() -> T) -> T {
    /// Leaves what was said around us as it was, even if the poll panics.
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            SAID.set(self.0);
        }
    }
    let _outer = Outer(SAID.replace(false));
    let output = poll();
    *heard |= SAID.get();
    output
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_by_the_one_around_it_and_by_nobody_else() {
        let (mut outer, mut inner, mut next) = (false, false, false);
        listen(&mut outer, || listen(&mut inner, say_last_word));
        listen(&mut next, || ());
        assert_eq!((outer, inner, next), (false, true, false));
        // What nobody listens to does not stick.
        say_last_word();
        listen(&mut next, || ());
        assert!(!next);
        listen(&mut inner, || ());
        assert!(inner, "heard once is heard");
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let mut outer = false;
        listen(&mut outer, || {
            let panicked = std::panic::catch_unwind(|| {
                listen(&mut false, || {
                    say_last_word();
                    panic!("in the handler");
                })
            });
            assert!(panicked.is_err());
        });
        assert!(!outer);
    }
}
