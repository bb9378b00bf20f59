//! Settings that a reload swaps whole, while calls read them.
//!
//! The settings of a layer are one plain struct behind an [`ArcSwap`](arc_swap::ArcSwap). A reader gets the struct of before a
//! reload or the one after it, never a mixture. A reload never waits for calls, and calls never wait for a reload.
//!
//! A load from the swap is about a hundred instructions, two of them atomic updates in a slot of the reading thread. So a service
//! keeps a copy of what its calls need ([`Cached`]), and compares one number to see whether a reload has made it stale. Only the
//! first call after a reload loads the settings. The copy is a value without a reference count: a clone of the service costs a
//! few moves, and no service keeps settings alive that were replaced. But a service that is only cloned, and never called, stays
//! stale after a reload, and each of its clones loads the settings once.
//!
//! A future that goes by the settings of its beginning holds what it needs of them by value.

use std::fmt;
use std::sync::atomic::AtomicU64 as Counter;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, Swap, lock};

/// See the module.
pub(crate) struct Settings<T> {
    current: Swap<T>,
    /// No two settings of a process have the same version, so that a copy of one is never taken for a copy of another.
    version: AtomicU64,
    /// Held by a reload.
    turn: Mutex<()>,
}

/// What one reader needs of the settings, computed when it last saw them change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cached<V> {
    version: u64,
    value: V,
}

impl<T> Settings<T> {
    pub(crate) fn new(settings: T) -> Self {
        Self { current: Swap::from_pointee(settings), version: AtomicU64::new(next_version()), turn: Mutex::new(()) }
    }

    /// Shows the settings that hold now to `look`.
    #[inline]
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.current.load())
    }

    pub(crate) fn get(&self) -> T
    where
        T: Clone,
    {
        self.read(T::clone)
    }

    /// What `of` makes of the settings, to be kept by a reader that [refreshes](Self::refresh) it.
    pub(crate) fn cached<V>(&self, of: impl FnOnce(&T) -> V) -> Cached<V> {
        // The version first: a reload that comes in between makes the copy stale, and not the other way round.
        let version = self.version.load(Ordering::Acquire);
        Cached { version, value: self.read(of) }
    }

    /// What `of` makes of the settings: the cached value, unless a reload has come since. One load and a comparison.
    #[inline]
    pub(crate) fn refresh<'a, V>(&self, cached: &'a mut Cached<V>, of: impl FnOnce(&T) -> V) -> &'a V {
        if cached.version != self.version.load(Ordering::Acquire) {
            self.reload_into(cached, of);
        }
        &cached.value
    }

    #[cold]
    fn reload_into<V>(&self, cached: &mut Cached<V>, of: impl FnOnce(&T) -> V) {
        *cached = self.cached(of);
    }

    /// Puts other settings in place.
    pub(crate) fn store(&self, settings: T) {
        self.replace(settings, |_| ());
    }

    /// Puts other settings in place, and then lets `carry_out`, which gets the ones before, bring them to all there is. One at
    /// a time, and under a lock that no reader takes: `carry_out` runs no foreign code and wakes nobody.
    ///
    /// A state that is made meanwhile is made by the new settings, or is there to be changed.
    pub(crate) fn replace<R>(&self, settings: T, carry_out: impl FnOnce(&T) -> R) -> R {
        self.update(|_| settings, carry_out)
    }

    /// The same, with what `next` makes of the settings.
    pub(crate) fn update<R>(&self, next: impl FnOnce(&T) -> T, carry_out: impl FnOnce(&T) -> R) -> R {
        let turn = lock(&self.turn);
        let next = self.read(next);
        let before = self.current.swap(next.into());
        self.version.store(next_version(), Ordering::Release);
        let carried_out = carry_out(&before);
        drop(turn);
        // `before` is dropped here, without a lock.
        carried_out
    }
}

fn next_version() -> u64 {
    static VERSIONS: Counter = Counter::new(0);
    VERSIONS.fetch_add(1, Ordering::Relaxed)
}

impl<T: fmt::Debug> fmt::Debug for Settings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|settings| settings.fmt(f))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ground::sync::locks_held;

    /// A number and its complement: no mixture of two is one.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Twins(u64, u64);

    impl Twins {
        fn new(n: u64) -> Self {
            Self(n, !n)
        }

        fn number(&self) -> u64 {
            assert_eq!(self.1, !self.0, "a mixture");
            self.0
        }
    }

    #[test]
    fn settings_that_were_stored_last_are_read() {
        let settings = Settings::new(Twins::new(0));
        for n in 1..5 {
            settings.store(Twins::new(n));
            assert_eq!(settings.get(), Twins::new(n));
        }
        let before = settings.update(|twins| Twins::new(twins.number() * 10), Twins::number);
        assert_eq!((before, settings.get()), (4, Twins::new(40)));
    }

    #[test]
    fn cached_value_is_computed_once_for_each_reload() {
        let settings = Settings::new(Twins::new(0));
        let mut cached = settings.cached(Twins::number);
        let mut computed = 0;
        for n in 1..4 {
            settings.store(Twins::new(n));
            for _ in 0..3 {
                let count = |twins: &Twins| {
                    computed += 1;
                    twins.number()
                };
                assert_eq!(*settings.refresh(&mut cached, count), n);
            }
        }
        assert_eq!(computed, 3);
    }

    #[test]
    fn cached_value_is_not_taken_for_that_of_other_settings() {
        let (ours, theirs) = (Settings::new(Twins::new(1)), Settings::new(Twins::new(2)));
        let mut cached = ours.cached(Twins::number);
        assert_eq!(*theirs.refresh(&mut cached, Twins::number), 2);
        assert_eq!(*ours.refresh(&mut cached, Twins::number), 1);
    }

    #[test]
    fn readers_on_other_threads_never_see_a_mixture() {
        let settings = Settings::new(Twins::new(0));
        let never_back = |look: &mut dyn FnMut() -> u64| {
            let mut last = 0;
            while last < 20_000 {
                let now = look();
                assert!(now >= last, "never back");
                last = now;
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| never_back(&mut || settings.get().number()));
            scope.spawn(|| {
                let mut cached = settings.cached(Twins::number);
                never_back(&mut || *settings.refresh(&mut cached, Twins::number));
            });
            (1..=20_000).for_each(|n| settings.store(Twins::new(n)));
        });
    }

    #[test]
    fn replaced_settings_are_dropped_without_a_lock() {
        struct Dropped(Arc<Counter>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                assert_eq!(locks_held(), 0);
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let drops = Arc::new(Counter::new(0));
        let settings = Settings::new(Dropped(Arc::clone(&drops)));
        settings.store(Dropped(Arc::clone(&drops)));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        drop(settings);
        assert_eq!(drops.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn reload_in_progress_blocks_no_reader() {
        let settings = Settings::new(Twins::new(1));
        let mut cached = settings.cached(Twins::number);
        settings.replace(Twins::new(2), |before| {
            assert_eq!((before.number(), settings.get().number()), (1, 2));
            assert_eq!(*settings.refresh(&mut cached, Twins::number), 2);
        });
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    /// A reader refreshes its copy while settings are stored: it never goes back, and sees the last ones afterwards.
    #[test]
    fn loom_cached_value_is_never_newer_than_its_version() {
        loom::model(|| {
            let settings = Arc::new(Settings::new(0));
            let mut cached = settings.cached(|n| *n);
            let theirs = Arc::clone(&settings);
            let writer = loom::thread::spawn(move || {
                theirs.store(1);
                theirs.store(2);
            });
            let first = *settings.refresh(&mut cached, |n| *n);
            assert!(*settings.refresh(&mut cached, |n| *n) >= first, "never back");
            writer.join().expect("no panic");
            assert_eq!(*settings.refresh(&mut cached, |n| *n), 2);
        });
    }

    /// Two reloads at once: one comes after the other.
    #[test]
    fn loom_two_reloads_take_turns() {
        loom::model(|| {
            let settings = Arc::new(Settings::new(0));
            let theirs = Arc::clone(&settings);
            let writer = loom::thread::spawn(move || theirs.update(|n| n + 1, |_| ()));
            settings.update(|n| n + 1, |_| ());
            writer.join().expect("no panic");
            assert_eq!(settings.get(), 2);
        });
    }
}
