//! The only source of randomness.

/// A sample, uniform in `0.0..1.0`. Algorithms take such a sample as an argument; only layers draw it.
#[allow(clippy::disallowed_methods, reason = "the one place that draws randomness")]
pub(crate) fn sample() -> f64 {
    fastrand::f64()
}

/// Makes every further sample on this thread a function of `seed`, for tests and simulations that must repeat. It seeds the generator
/// that the crate `fastrand` has for this thread.
///
/// Jitter is what keeps a fleet from retrying in step: never seed two processes alike in production.
///
/// ```
/// seawall::seed(42);
/// ```
pub fn seed(seed: u64) {
    fastrand::seed(seed);
}
