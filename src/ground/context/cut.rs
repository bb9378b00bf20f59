//! What a layer tells those further in while it takes their call away: that it is for its slowness.
//!
//! Layers further in know the call's deadline. They do not know that a part of the call had a time of its own, and would take its
//! end for that of a caller who has lost patience.

use std::cell::Cell;

thread_local! {
    static CUT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `cut`, which drops a call, or what is left of one, because a part of it took longer than it may.
pub(crate) fn cut_for_slowness<T>(cut: impl FnOnce() -> T) -> T {
    /// Leaves what was said around us as it was, even if something panics when it is dropped.
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            CUT.set(self.0);
        }
    }
    let _outer = Outer(CUT.replace(true));
    cut()
}

/// Whether what is dropped right now is [cut for its slowness](cut_for_slowness).
#[inline]
pub(crate) fn is_cut_for_slowness() -> bool {
    CUT.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let panicked = std::panic::catch_unwind(|| {
            cut_for_slowness(|| {
                assert!(is_cut_for_slowness());
                panic!("in a drop");
            })
        });
        assert!(panicked.is_err() && !is_cut_for_slowness());
    }
}
