//! The highest limit that the service has not refused, or answered too late.
//!
//! A service may have a pool of its own, and refuse at once what exceeds it. Its calls take no longer at any limit, so the two points
//! show nothing: the refusals do. A quick failure may have any other reason, too, but then some of the calls with as many others in
//! flight are answered. So only refusals without an answer among them count: many in a row, or a single one where the service has
//! answered everything so far, with more calls in flight than ever.

/// A pool refuses within this share of the usual time.
const QUICK: f64 = 0.125;

/// As many refusals in a row show a pool. Half of the calls may fail at random without being taken for one.
const REFUSALS: u32 = 16;

/// After so many answers in a row, a refusal with more calls in flight than ever shows a pool by itself.
const ANSWERS: u32 = 16;

/// The ceiling rises when so many times its number of calls have been answered.
const CALLS: f64 = 64.0;

/// It rises by one, or by this share if that is more.
const SHARE: f64 = 0.0625;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceiling {
    level: f64,
    answered: f64,
    /// Refusals in a row, and the fewest calls in flight among them.
    refusals: u32,
    refused: f64,
    /// Answers in a row, and the most calls in flight with an answer.
    answers: u32,
    most: f64,
}

impl Ceiling {
    pub(super) fn new() -> Self {
        Self { level: f64::INFINITY, answered: 0.0, refusals: 0, refused: f64::INFINITY, answers: 0, most: 0.0 }
    }

    pub(super) fn level(&self) -> f64 {
        self.level
    }

    pub(super) fn lower_to(&mut self, level: f64) {
        *self = Self { level: level.max(1.0), ..Self::new() };
    }

    pub(super) fn lift(&mut self) {
        *self = Self::new();
    }

    /// The call that was admitted as the `in_flight`th was answered.
    #[inline]
    pub(super) fn answered(&mut self, in_flight: f64) {
        if in_flight >= self.refused {
            (self.refusals, self.refused) = (0, f64::INFINITY);
        }
        self.answers = self.answers.saturating_add(1);
        self.most = self.most.max(in_flight);
        self.answered += 1.0;
        if self.answered >= CALLS * self.level {
            self.answered = 0.0;
            self.level += (SHARE * self.level).max(1.0);
        }
    }

    /// The call that was admitted as the `in_flight`th was refused after `took`. Returns the size of the pool, if there is one, and whether
    /// fewer calls have always been answered.
    #[inline]
    pub(super) fn refused(&mut self, in_flight: f64, took: f64, usual: f64) -> Option<(f64, bool)> {
        if took >= QUICK * usual {
            return None;
        }
        let is_first = std::mem::take(&mut self.answers) >= ANSWERS && in_flight > self.most;
        self.refusals += 1;
        self.refused = self.refused.min(in_flight);
        (is_first || self.refusals >= REFUSALS).then_some((self.refused - 1.0, is_first))
    }
}
