//! A window over the last so many calls, which really slides: the outcome that falls out is subtracted.
//!
//! A call takes the next cell, puts its outcome there, and moves the sums by the difference, in one atomic step. Between the
//! two steps others may already have pushed it out again, so that for a moment a sum can stand below zero; sums wrap within
//! their field, and one that reads as negative counts as zero. All three sums and the era stand in one word: what comes late
//! from an earlier era finds another era there and is dropped.
//!
//! The window may get another size, with a new era. Its cells lie in segments, each as large as all before it together, which
//! are made when they are needed for the first time and then stay where they are.

use super::outcome::{Counts, Outcome};
use crate::ground::sync::OnceLock;
use crate::ground::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// The most calls a window can cover: the sums have 18 bits each, and the upper half of that range means "below zero".
pub(crate) const MAX_CALLS: usize = 100_000;

const FIELD_BITS: u32 = 18;
const FIELD_MASK: u64 = (1 << FIELD_BITS) - 1;
const ERA_SHIFT: u32 = 3 * FIELD_BITS;

/// What a cell holds below its era; an empty cell is zero.
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
    /// How many cells there are to go round.
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

    /// For nobody yet: it covers one call, and costs next to nothing.
    pub(super) fn empty() -> Self {
        Self {
            segments: std::array::from_fn(|_| OnceLock::new()),
            size: AtomicU64::new(1),
            next: AtomicU64::new(0),
            sums: AtomicU64::new(0),
        }
    }

    /// Covers the last `calls` calls from the next era on, which its caller begins: at least one, at most [`MAX_CALLS`].
    pub(super) fn set_size(&self, calls: usize) {
        let calls = calls.clamp(1, MAX_CALLS);
        for (n, segment) in self.segments.iter().enumerate().take(place(calls - 1).0 + 1) {
            segment.get_or_init(|| (0..length(n)).map(|_| AtomicU16::new(0)).collect());
        }
        self.size.store(calls as u64, Ordering::Release);
    }

    /// `None`: the caller is of an era in which there were more.
    #[inline]
    fn cell(&self, index: usize) -> Option<&AtomicU16> {
        let (segment, offset) = place(index);
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
        // A call pushed out before it was added can be missing from one field and not yet from another.
        Counts { calls, failures: sum(word, 1).min(calls), slow: sum(word, 2).min(calls) }
    }

    pub(super) fn begin(&self, era: u8) {
        for cell in self.segments.iter().filter_map(OnceLock::get).flatten() {
            cell.swap(0, Ordering::AcqRel);
        }
        self.sums.swap(u64::from(era) << ERA_SHIFT, Ordering::AcqRel);
    }
}

/// The segment of a cell, and its place there.
#[inline]
fn place(index: usize) -> (usize, usize) {
    let segment = (usize::BITS - (index / FIRST).leading_zeros()) as usize;
    (segment, if segment == 0 { index } else { index - length(segment) })
}

/// How many cells a segment has: as many as all before it.
#[inline]
fn length(segment: usize) -> usize {
    FIRST << segment.saturating_sub(1)
}

/// Puts an outcome into a cell and returns what was there, if that was of the same era. `None`: the cell belongs to a later era
/// already, and must not lose what it holds to a latecomer.
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

    /// Two threads over a window of one: each pushes the other out, and in the end exactly one call is counted, with the
    /// outcome that stands in the cell.
    #[test]
    fn loom_the_sums_are_what_stands_in_the_cells() {
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

    /// The window grows while a call of the era before is being counted: the call neither counts nor pushes anything out.
    #[test]
    fn loom_an_old_call_never_enters_a_larger_window() {
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

    /// A late call of the era before races with the new era: it neither counts nor pushes anything out.
    #[test]
    fn loom_an_old_call_never_enters_a_new_era() {
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
