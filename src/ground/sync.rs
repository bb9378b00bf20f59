//! Atomics and locks, from `std`, or from `loom` when the lock-free parts are being model-checked.
//!
//! Every lock of this crate is from here, so that the models run the same source and the rule below can be checked; a
//! test keeps other locks out of the tree.
//!
//! Foreign code may block, panic, take locks of its own, or call back into this crate. h2, for example, wakes the reader of a body
//! while it holds the mutex that its bodies take in `is_end_stream`: with a lock of seawall around the wake-up and around
//! `is_end_stream`, both threads deadlock. Foreign code is:
//!
//! | what | code |
//! |---|---|
//! | bodies | `poll_frame`, `is_end_stream`, `size_hint`, drop |
//! | wakers | `clone`, drop, `will_wake`, `wake`, `wake_by_ref` |
//! | services, their futures, requests and responses | all of it, drop included |
//! | classifiers, judges, closures in settings | calls, `clone`, drop |
//! | keys, and the functions that create them | calls, `Hash`, `Eq`, `clone`, drop |
//! | metrics recorders, `tracing` subscribers | everything that an event or a metric runs |
//! | errors and `Bytes` of users | drop: they may have an owner with a destructor |
//!
//! So a lock is held only to move values in and out, and for arithmetic. A value is cloned before the lock is taken. A value that
//! is to be dropped, woken or called is moved out, and handled after the lock is released.
//!
//! Builds with debug assertions check this: [`lock`] counts the locks that a thread holds, and [`foreign`], through which this
//! crate calls foreign code, panics if there is one. Foreign code that runs without such a call (a destructor at the end of a
//! scope) is detected by tests whose bodies, wakers and keys check [`locks_held`]. Other builds count nothing.

#[cfg(not(seawall_loom))]
pub(crate) use std::sync::{Arc, atomic};

#[cfg(seawall_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(not(seawall_loom))]
pub(crate) use self::counted::{Mutex, MutexGuard};

#[cfg(seawall_loom)]
pub(crate) use self::modelled::{Loaded, Swap};

/// A value that is replaced as a whole while others read it: writers and readers never wait for each other.
#[cfg(not(seawall_loom))]
pub(crate) use arc_swap::ArcSwap as Swap;

/// What is read from a [`Swap`].
#[cfg(not(seawall_loom))]
pub(crate) type Loaded<T> = arc_swap::Guard<Arc<T>>;

/// Locks, and ignores poisoning: no foreign code runs under the lock, so the data is consistent after a panic.
#[cfg(not(seawall_loom))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// As without the model checker.
#[cfg(seawall_loom)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The data of a lock that is borrowed exclusively.
#[cfg(all(feature = "reqwest", not(seawall_loom)))]
pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut()
}

/// As without the model checker.
#[cfg(all(feature = "reqwest", seawall_loom))]
pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Locks of process-wide data. The model checker does not look into them: they would persist from one run of a model to the next.
pub(crate) mod global {
    #[cfg(seawall_loom)]
    pub(crate) use std::sync::{Mutex, MutexGuard};

    #[cfg(not(seawall_loom))]
    pub(crate) use super::{Mutex, MutexGuard, lock};

    /// Locks, unless that would block.
    #[cfg(not(seawall_loom))]
    pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        mutex.try_lock()
    }

    #[cfg(seawall_loom)]
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(seawall_loom)]
    pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        mutex.try_lock().ok()
    }
}

/// Runs foreign code, and panics if a lock of this crate is held meanwhile, in builds with debug assertions. See the
/// [module](self).
#[inline(always)]
#[track_caller]
pub(crate) fn foreign<T>(code: impl FnOnce() -> T) -> T {
    debug_assert!(
        locks_held() == 0 || std::thread::panicking(),
        "foreign code must not run under a lock: see ground::sync"
    );
    code()
}

/// The number of this crate's locks that the current thread holds, for tests of this crate that run as foreign code. Zero in builds
/// without debug assertions, which do not count.
#[doc(hidden)]
pub fn locks_held() -> u32 {
    #[cfg(all(debug_assertions, not(seawall_loom)))]
    return counted::HELD.get();
    #[cfg(not(all(debug_assertions, not(seawall_loom))))]
    return 0;
}

/// The model checker does not support `arc-swap`: a mutex has the same results.
#[cfg(seawall_loom)]
mod modelled {
    use std::sync::Arc;

    use super::{Mutex, lock};

    pub(crate) type Loaded<T> = Arc<T>;

    #[derive(Debug)]
    pub(crate) struct Swap<T>(Mutex<Arc<T>>);

    impl<T> Swap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&lock(&self.0))
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut lock(&self.0), value)
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            drop(self.swap(value));
        }
    }
}

#[cfg(not(seawall_loom))]
mod counted {
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::sync::{self, PoisonError, TryLockError};

    #[cfg(debug_assertions)]
    thread_local! {
        pub(super) static HELD: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }

    /// A mutex that is never poisoned, and whose guards are counted in builds with debug assertions.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(super) fn lock(&self) -> MutexGuard<'_, T> {
            let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            MutexGuard { guard, _held: HeldLock::new() }
        }

        pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            let guard = match self.0.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            };
            Some(MutexGuard { guard, _held: HeldLock::new() })
        }

        #[cfg(feature = "reqwest")]
        pub(super) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Shows none of the data: that would run foreign `Debug` code under the lock.
    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Mutex").finish_non_exhaustive()
        }
    }

    pub(crate) struct MutexGuard<'a, T> {
        guard: sync::MutexGuard<'a, T>,
        _held: HeldLock,
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        #[inline]
        fn deref(&self) -> &T {
            &self.guard
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[inline]
        fn deref_mut(&mut self) -> &mut T {
            &mut self.guard
        }
    }

    struct HeldLock;

    impl HeldLock {
        #[inline]
        fn new() -> Self {
            #[cfg(debug_assertions)]
            HELD.set(HELD.get() + 1);
            Self
        }
    }

    #[cfg(debug_assertions)]
    impl Drop for HeldLock {
        fn drop(&mut self) {
            HELD.set(HELD.get() - 1);
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn foreign_code_under_a_lock_panics_in_debug_builds() {
        let (outer, inner) = (Mutex::new(1), Mutex::new(2));
        assert_eq!(foreign(|| *lock(&outer) + *lock(&inner)), 3);
        let held = lock(&outer);
        assert_eq!(locks_held(), u32::from(cfg!(debug_assertions)));
        let refused = catch_unwind(|| foreign(|| ())).is_err();
        assert_eq!(refused, cfg!(debug_assertions));
        drop(held);
        foreign(|| ());
    }

    #[test]
    fn mutex_stays_usable_and_uncounted_after_a_panic() {
        let mutex = Mutex::new(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = lock(&mutex);
            panic!("under the lock");
        }));
        assert!(panicked.is_err());
        assert_eq!((locks_held(), *lock(&mutex)), (0, 1));
    }
}
