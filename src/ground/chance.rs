//! The one place that draws randomness.

use std::cell::RefCell;

thread_local! {
    static GENERATOR: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

/// A sample, uniform in `0.0..1.0`. Algorithms take such a sample as an argument; only layers draw it.
pub(crate) fn sample() -> f64 {
    GENERATOR.with_borrow_mut(fastrand::Rng::f64)
}

/// Makes every further sample on this thread a function of `seed`, for tests and simulations that must repeat.
///
/// Jitter is what keeps a fleet from retrying in step: never seed two processes alike in production.
///
/// ```
/// seawall::seed(42);
/// ```
pub fn seed(seed: u64) {
    GENERATOR.with_borrow_mut(|generator| *generator = fastrand::Rng::with_seed(seed));
}
