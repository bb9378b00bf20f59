//! Settings that a reload swaps whole, while calls read them.
//!
//! The settings of a layer are one plain struct behind an [`ArcSwap`](arc_swap::ArcSwap). A reader gets the struct from before a
//! reload or the one after it, never a mixture. A reload never waits for calls, and calls never wait for a reload.
//!
//! A load from the swap is about a hundred instructions, two of them atomic updates in a slot of the reading thread. So a service
//! keeps a copy of what its calls need ([`Cached`]), and compares one number to see whether a reload has made it stale. Only the
//! first call after a reload loads the settings. The copy is a value without a reference count: a clone of the service costs a
//! few moves, and no service keeps settings alive that were replaced. But a service that is only cloned, and never called, stays
//! stale after a reload, and each of its clones loads the settings once.
//!
//! What a service keeps is a second struct (`RetryCallSettings`, `AppliedRates`, `BreakerSettings`, `GateSettings`), computed from the config: the
//! config is what a user writes, with options, names and lists; the second struct has only what a call reads, is `Copy`, and has the
//! arithmetic done (a rate as an interval, a time in nanoseconds).
//!
//! A future that uses the settings of its start holds what it needs of them by value.

use std::fmt;
use std::sync::atomic::AtomicU64 as Counter;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, Swap, lock};

/// See the module.
pub(crate) struct Settings<T> {
    current: Swap<T>,
    /// Unique in the process, so that a copy of one setting is never taken for a copy of another.
    version: AtomicU64,
    /// Serializes reloads.
    reload: Mutex<()>,
}

/// A value that a reader has derived from the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cached<V> {
    version: u64,
    value: V,
}

impl<V> Cached<V> {
    /// Replaces the value until the next reload.
    pub(crate) fn set(&mut self, value: V) {
        self.value = value;
    }
}

impl<T> Settings<T> {
    pub(crate) fn new(settings: T) -> Self {
        Self { current: Swap::from_pointee(settings), version: AtomicU64::new(next_version()), reload: Mutex::new(()) }
    }

    /// Runs `read` on the current settings.
    #[inline]
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.current.load())
    }

    pub(crate) fn get(&self) -> T
    where
        T: Clone,
    {
        self.read(T::clone)
    }

    /// Derives a value from the settings, for a reader that [refreshes](Self::refresh) it.
    pub(crate) fn cached<V>(&self, of: impl FnOnce(&T) -> V) -> Cached<V> {
        // The version first: a reload in between then makes the copy stale, instead of marking a stale copy as current.
        let version = self.version.load(Ordering::Acquire);
        Cached { version, value: self.read(of) }
    }

    /// The derived value: the cached one, unless a reload has made it stale. One load and a comparison.
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

    /// Replaces the settings.
    pub(crate) fn store(&self, settings: T) {
        self.replace(settings, |_| ());
    }

    /// Replaces the settings, and then lets `apply`, which gets the former ones, apply the change to existing states. One
    /// reload at a time, under a lock that no reader takes: `apply` must not run foreign code or wake tasks.
    ///
    /// A state that is created meanwhile has the new settings, or `apply` finds it.
    pub(crate) fn replace<R>(&self, settings: T, apply: impl FnOnce(&T) -> R) -> R {
        self.update(|_| settings, apply)
    }

    /// The same, with settings that `next` derives from the current ones.
    pub(crate) fn update<R>(&self, next: impl FnOnce(&T) -> T, apply: impl FnOnce(&T) -> R) -> R {
        let reload = lock(&self.reload);
        let next = self.read(next);
        let before = self.current.swap(next.into());
        self.version.store(next_version(), Ordering::Release);
        let applied = apply(&before);
        drop(reload);
        // `before` is dropped here, without a lock.
        applied
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

    /// A number and its complement: a mixture of two is detected.
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
    fn last_stored_settings_are_read() {
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
    fn cached_value_of_other_settings_is_stale() {
        let (ours, theirs) = (Settings::new(Twins::new(1)), Settings::new(Twins::new(2)));
        let mut cached = ours.cached(Twins::number);
        assert_eq!(*theirs.refresh(&mut cached, Twins::number), 2);
        assert_eq!(*ours.refresh(&mut cached, Twins::number), 1);
    }

    #[test]
    fn readers_on_other_threads_never_see_a_mixture() {
        let settings = Settings::new(Twins::new(0));
        let never_back = |read: &mut dyn FnMut() -> u64| {
            let mut last = 0;
            while last < 20_000 {
                let now = read();
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

    /// A reader refreshes its copy while settings are stored: it never goes back, and ends with the last ones.
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

    /// Two concurrent reloads run one after the other.
    #[test]
    fn loom_reloads_are_serialized() {
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
