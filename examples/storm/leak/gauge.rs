//! How many there are now, and how many there ever were at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is inside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One that is counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Counts>);

impl Gauge {
    pub(crate) fn enter(&self) -> Inside {
        let now = self.0.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(now, Ordering::Relaxed);
        Inside(Arc::clone(&self.0))
    }

    pub(crate) fn now(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_not_counted_any_more_and_the_most_stays() {
        let gauge = Gauge::default();
        let inside = [gauge.enter(), gauge.enter()];
        drop(inside);
        let _one = gauge.enter();
        assert_eq!((gauge.now(), gauge.most()), (1, 2));
    }
}
