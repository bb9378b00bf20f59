//! Settings that are replaced whole while calls read them, without a lock or a shared write on the calls' path.
//!
//! The settings are packed into words, of which there are two copies, and a version says which copy holds. A reader takes
//! that copy and looks at the version again: unchanged, it has read settings that stood together. A writer fills the other
//! copy and then moves the version on, so that nobody ever waits for a writer that has stalled; a reader begins again only
//! if settings were replaced while it read. It costs as many loads as there are words, and two more.
//!
//! A second write goes into the copy that a slow reader may still be at. It comes after the version of the first, so that
//! whoever has seen a word of it sees the version moved, too.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::sync::{Mutex, lock};
use crate::ground::time;

/// What can be packed into `N` words.
pub(crate) trait Settings<const N: usize>: Sized {
    fn pack(&self) -> [u64; N];
    /// The opposite of [`pack`](Self::pack).
    fn unpack(words: [u64; N]) -> Self;
}

/// See the module.
pub(crate) struct Live<T, const N: usize> {
    version: AtomicU64,
    copies: [[AtomicU64; N]; 2],
    writing: Mutex<()>,
    settings: PhantomData<fn() -> T>,
}

impl<T: Settings<N>, const N: usize> Live<T, N> {
    pub(crate) fn new(settings: &T) -> Self {
        let words = settings.pack();
        let copy = || std::array::from_fn(|word| AtomicU64::new(words[word]));
        Self { version: AtomicU64::new(0), copies: [copy(), copy()], writing: Mutex::new(()), settings: PhantomData }
    }

    /// The settings that hold now.
    #[inline]
    pub(crate) fn read(&self) -> T {
        let mut version = self.version.load(Ordering::Acquire);
        loop {
            let copy = &self.copies[(version & 1) as usize];
            let words = std::array::from_fn(|word| copy[word].load(Ordering::Acquire));
            // Not moved on, so what was read is all of this version: see the module for two writes in a row.
            let now = self.version.load(Ordering::Acquire);
            if now == version {
                return T::unpack(words);
            }
            version = now;
        }
    }

    pub(crate) fn write(&self, settings: &T) {
        self.update(|_| settings.pack());
    }

    /// Replaces the settings by what `next` makes of them. No other write comes in between.
    pub(crate) fn update(&self, next: impl FnOnce(T) -> [u64; N]) {
        let _writing = lock(&self.writing);
        let version = self.version.load(Ordering::Acquire).wrapping_add(1);
        let words = next(self.read());
        for (to, word) in self.copies[(version & 1) as usize].iter().zip(words) {
            to.store(word, Ordering::Release);
        }
        self.version.store(version, Ordering::Release);
    }
}

impl<T: Settings<N> + fmt::Debug, const N: usize> fmt::Debug for Live<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// What stands for "none" where a word holds a duration: longer than any that is valid.
pub(crate) const NONE: u64 = u64::MAX;

#[inline]
pub(crate) fn pack_optional(duration: Option<Duration>) -> u64 {
    duration.map_or(NONE, |duration| time::nanos(duration).min(NONE - 1))
}

#[inline]
pub(crate) fn unpack_optional(word: u64) -> Option<Duration> {
    (word != NONE).then(|| Duration::from_nanos(word))
}

/// Two numbers in one word.
#[inline]
pub(crate) const fn pack_pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[inline]
pub(crate) const fn unpack_pair(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The whole configuration of a layer value, as it was given last: to be shown, and to make new states by. Off the path.
#[derive(Debug)]
pub(crate) struct Current<C> {
    config: Mutex<C>,
    turn: Mutex<()>,
}

impl<C: Clone> Current<C> {
    pub(crate) fn new(config: C) -> Self {
        Self { config: Mutex::new(config), turn: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> C {
        lock(&self.config).clone()
    }

    /// Puts `config` in place and then lets `carry_out`, which gets the one before, bring it to all there is. One at a time,
    /// and under a lock that no reader takes: it runs no foreign code and wakes nobody.
    ///
    /// A state that is made meanwhile is made by the new configuration, or is there to be changed.
    pub(crate) fn replace<R>(&self, config: &C, carry_out: impl FnOnce(&C) -> R) -> R {
        let _turn = lock(&self.turn);
        let before = std::mem::replace(&mut *lock(&self.config), config.clone());
        carry_out(&before)
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A word and its complement: no mixture of two is one.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Twins(u64);

    impl Settings<2> for Twins {
        fn pack(&self) -> [u64; 2] {
            [self.0, !self.0]
        }

        fn unpack([word, complement]: [u64; 2]) -> Self {
            assert_eq!(complement, !word, "a mixture");
            Self(word)
        }
    }

    #[test]
    fn what_was_written_last_is_read() {
        let live = Live::new(&Twins(0));
        assert_eq!(live.read(), Twins(0));
        for n in 1..5 {
            live.write(&Twins(n));
            assert_eq!(live.read(), Twins(n));
        }
        live.update(|Twins(n)| Twins(n * 10).pack());
        assert_eq!(live.read(), Twins(40));
    }

    #[test]
    fn readers_on_other_threads_never_see_a_mixture() {
        let live = Live::new(&Twins(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 20_000 {
                        let Twins(now) = live.read();
                        assert!(now >= last, "never back");
                        last = now;
                    }
                });
            }
            (1..=20_000).for_each(|n| live.write(&Twins(n)));
        });
    }

    proptest! {
        #[test]
        fn durations_and_pairs_come_back(nanos in prop::option::of(0..NONE), high: u32, low: u32) {
            let duration = nanos.map(Duration::from_nanos);
            prop_assert_eq!(unpack_optional(pack_optional(duration)), duration);
            prop_assert_eq!(unpack_pair(pack_pair(high, low)), (high, low));
        }
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    #[derive(Debug)]
    struct Twins(u64);

    impl Settings<2> for Twins {
        fn pack(&self) -> [u64; 2] {
            [self.0, self.0]
        }

        fn unpack([first, second]: [u64; 2]) -> Self {
            assert_eq!(first, second, "halves of two");
            Self(first)
        }
    }

    /// Two writes in a row, of which the second goes into the copy that the reader began with.
    #[test]
    fn loom_no_reader_sees_halves_of_two_settings() {
        loom::model(|| {
            let live = Arc::new(Live::new(&Twins(0)));
            let theirs = Arc::clone(&live);
            let writer = loom::thread::spawn(move || {
                theirs.write(&Twins(1));
                theirs.write(&Twins(2));
            });
            let first = live.read().0;
            assert!(live.read().0 >= first, "never back");
            writer.join().expect("no panic");
            assert_eq!(live.read().0, 2);
        });
    }

    /// Two writers: one comes after the other, and neither writes into what the other publishes.
    #[test]
    fn loom_two_writers_take_turns() {
        loom::model(|| {
            let live = Arc::new(Live::new(&Twins(0)));
            let theirs = Arc::clone(&live);
            let writer = loom::thread::spawn(move || theirs.update(|Twins(n)| Twins(n + 1).pack()));
            live.update(|Twins(n)| Twins(n + 1).pack());
            assert!(live.read().0 >= 1);
            writer.join().expect("no panic");
            assert_eq!(live.read().0, 2);
        });
    }
}
