//! What a layer tells those further in while it takes their call away: that it is for its slowness.
//!
//! Layers further in know when the call must be over. They do not know how long a wait in it may be, and would take the cut for the
//! hanging-up of a caller who has lost patience.

use std::cell::Cell;

thread_local! {
    static CUT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `cut`, which drops what is left of a call, because a wait in it was longer than it may be.
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
