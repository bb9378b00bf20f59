//! A window over the last calls, which slides call by call: the evicted outcome is subtracted.
//!
//! A call takes the next cell, stores its outcome there, and changes the sums by the difference in one atomic step. Between the two
//! steps other calls may have evicted it already, so a sum can be negative for a moment; sums wrap within their field, and a
//! negative one reads as zero. The three sums and the era share one word: a late outcome of an earlier era finds another era there,
//! and is dropped.
//!
//! The size may change with a new era. The cells lie in segments, each as large as all before it together, which are allocated when
//! first needed and then never move.

use super::outcome::{Counts, Outcome};
use crate::ground::sync::OnceLock;
use crate::ground::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// The most calls a window can cover: the sums have 18 bits each, and the upper half of their range is negative.
pub(crate) const MAX_CALLS: usize = 100_000;

const FIELD_BITS: u32 = 18;
const FIELD_MASK: u64 = (1 << FIELD_BITS) - 1;
const ERA_SHIFT: u32 = 3 * FIELD_BITS;

/// A cell has these bits below its era; an empty cell is zero.
const TAKEN: u16 = 1;
const FAILURE: u16 = 2;
const SLOW: u16 = 4;
const CELL_ERA_SHIFT: u32 = 3;

/// The cells of the first segment. (The model checker pays for every atomic.)
#[cfg(not(seawall_loom))]
const FIRST: usize = 64;
#[cfg(seawall_loom)]
const FIRST: usize = 1;
#[cfg(not(seawall_loom))]
const SEGMENTS: usize = 12;
#[cfg(seawall_loom)]
const SEGMENTS: usize = 18;
const _: () = assert!(FIRST << (SEGMENTS - 1) >= MAX_CALLS);

/// See the module.
#[derive(Debug)]
pub(crate) struct CountWindow {
    segments: [OnceLock<Box<[AtomicU16]>>; SEGMENTS],
    /// The number of cells in use.
    size: AtomicU64,
    next: AtomicU64,
    sums: AtomicU64,
}

impl CountWindow {
    /// Covers the last `calls` calls: at least one, at most [`MAX_CALLS`].
    #[cfg(test)]
    pub(crate) fn new(calls: usize) -> Self {
        let window = Self::empty();
        window.set_size(calls);
        window
    }

    /// An unused window: it covers one call, and costs next to nothing.
    pub(super) fn empty() -> Self {
        Self {
            segments: std::array::from_fn(|_| OnceLock::new()),
            size: AtomicU64::new(1),
            next: AtomicU64::new(0),
            sums: AtomicU64::new(0),
        }
    }

    /// Covers the last `calls` calls, from 1 to [`MAX_CALLS`], from the next era on, which the caller begins.
    pub(super) fn set_size(&self, calls: usize) {
        let calls = calls.clamp(1, MAX_CALLS);
        for (n, segment) in self.segments.iter().enumerate().take(locate(calls - 1).0 + 1) {
            segment.get_or_init(|| (0..length(n)).map(|_| AtomicU16::new(0)).collect());
        }
        self.size.store(calls as u64, Ordering::Release);
    }

    /// `None`: the caller is of an era with more cells.
    #[inline]
    fn cell(&self, index: usize) -> Option<&AtomicU16> {
        let (segment, offset) = locate(index);
        self.segments.get(segment)?.get()?.get(offset)
    }

    pub(super) fn add(&self, era: u8, outcome: Outcome) -> bool {
        let size = self.size.load(Ordering::Acquire);
        let index = (self.next.fetch_add(1, Ordering::Relaxed) % size) as usize;
        let Some(evicted) = self.cell(index).and_then(|cell| replace(cell, era, outcome)) else {
            return false;
        };
        let mut word = self.sums.load(Ordering::Acquire);
        loop {
            let sums = match sums_era(word) {
                current if current == era => word,
                current if is_before(current, era) => u64::from(era) << ERA_SHIFT,
                _ => return false,
            };
            let moved = with_added(sums, outcome, evicted);
            match self.sums.compare_exchange_weak(word, moved, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return outcome.is_bad() || sum(moved, 1) > 0 || sum(moved, 2) > 0,
                Err(actual) => word = actual,
            }
        }
    }

    pub(super) fn counts(&self, era: u8) -> Counts {
        let word = self.sums.load(Ordering::Acquire);
        if sums_era(word) != era {
            return Counts::default();
        }
        let calls = sum(word, 0);
        // A call that was evicted before it was added can be missing from one field and still be in another.
        Counts { calls, failures: sum(word, 1).min(calls), slow: sum(word, 2).min(calls) }
    }

    pub(super) fn begin(&self, era: u8) {
        for cell in self.segments.iter().filter_map(OnceLock::get).flatten() {
            cell.swap(0, Ordering::AcqRel);
        }
        self.sums.swap(u64::from(era) << ERA_SHIFT, Ordering::AcqRel);
    }
}

/// The segment of a cell, and its index there.
#[inline]
fn locate(index: usize) -> (usize, usize) {
    let segment = (usize::BITS - (index / FIRST).leading_zeros()) as usize;
    (segment, if segment == 0 { index } else { index - length(segment) })
}

/// The number of cells of a segment: as many as all before it.
#[inline]
fn length(segment: usize) -> usize {
    FIRST << segment.saturating_sub(1)
}

/// Stores an outcome in a cell and returns the former one, if it was of the same era. `None`: the cell belongs to a later era,
/// which a stale call must not overwrite.
fn replace(cell: &AtomicU16, era: u8, outcome: Outcome) -> Option<u16> {
    let mine = u16::from(era) << CELL_ERA_SHIFT
        | TAKEN
        | if outcome.failure { FAILURE } else { 0 }
        | if outcome.slow { SLOW } else { 0 };
    let mut held = cell.load(Ordering::Acquire);
    loop {
        let theirs = (held >> CELL_ERA_SHIFT) as u8;
        if held != 0 && theirs != era && !is_before(theirs, era) {
            return None;
        }
        match cell.compare_exchange_weak(held, mine, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(if theirs == era { held } else { 0 }),
            Err(actual) => held = actual,
        }
    }
}

fn sums_era(word: u64) -> u8 {
    (word >> ERA_SHIFT) as u8
}

/// Eras wrap.
fn is_before(era: u8, other: u8) -> bool {
    era != other && other.wrapping_sub(era) < 0x80
}

fn sum(word: u64, field: u32) -> u64 {
    let raw = (word >> (field * FIELD_BITS)) & FIELD_MASK;
    if raw > FIELD_MASK / 2 { 0 } else { raw }
}

fn with_added(word: u64, outcome: Outcome, evicted: u16) -> u64 {
    let moves = [
        (1, evicted & TAKEN != 0),
        (u64::from(outcome.failure), evicted & FAILURE != 0),
        (u64::from(outcome.slow), evicted & SLOW != 0),
    ];
    let mut moved = word >> ERA_SHIFT << ERA_SHIFT;
    for (field, (plus, minus)) in (0u32..).zip(moves) {
        let raw = (word >> (field * FIELD_BITS)) & FIELD_MASK;
        moved |= (raw.wrapping_add(plus).wrapping_sub(u64::from(minus)) & FIELD_MASK) << (field * FIELD_BITS);
    }
    moved
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    const FAILURE: Outcome = Outcome { failure: true, slow: false };
    const SUCCESS: Outcome = Outcome { failure: false, slow: false };

    /// Two threads over a window of one call: each evicts the other's outcome, and in the end exactly one call is counted, with the
    /// outcome of the cell.
    #[test]
    fn loom_sums_equal_the_cells() {
        loom::model(|| {
            let window = Arc::new(CountWindow::new(1));
            let theirs = Arc::clone(&window);
            let thread = loom::thread::spawn(move || theirs.add(0, FAILURE));
            window.add(0, SUCCESS);
            let seen = window.counts(0);
            assert!(seen.failures <= seen.calls && seen.calls <= 2, "{seen:?}");
            let _ = thread.join().expect("no panic");
            let cell = window.cell(0).expect("there is one").load(Ordering::Acquire);
            let failures = u64::from(cell & super::FAILURE != 0);
            assert_eq!(window.counts(0), Counts { calls: 1, failures, slow: 0 });
        });
    }

    /// The window grows while a stale call is being counted: the call neither counts nor evicts.
    #[test]
    fn loom_stale_call_never_enters_a_larger_window() {
        loom::model(|| {
            let window = Arc::new(CountWindow::new(1));
            let theirs = Arc::clone(&window);
            let thread = loom::thread::spawn(move || theirs.add(0, FAILURE));
            window.set_size(2);
            window.begin(1);
            window.add(1, SUCCESS);
            let _ = thread.join().expect("no panic");
            assert_eq!(window.counts(1), Counts { calls: 1, failures: 0, slow: 0 });
            window.add(1, FAILURE);
            window.add(1, FAILURE);
            let counts = window.counts(1);
            assert!(counts.calls <= 2 && counts.failures >= 1, "{counts:?}");
        });
    }

    /// A stale call races with the new era: it neither counts nor evicts.
    #[test]
    fn loom_stale_call_never_enters_a_new_era() {
        loom::model(|| {
            let window = Arc::new(CountWindow::new(1));
            let theirs = Arc::clone(&window);
            let thread = loom::thread::spawn(move || theirs.add(0, FAILURE));
            window.begin(1);
            window.add(1, SUCCESS);
            assert_eq!(window.counts(1), Counts { calls: 1, failures: 0, slow: 0 });
            let _ = thread.join().expect("no panic");
            assert_eq!(window.counts(1), Counts { calls: 1, failures: 0, slow: 0 });
            window.add(1, FAILURE);
            assert_eq!(window.counts(1), Counts { calls: 1, failures: 1, slow: 0 });
        });
    }
}
