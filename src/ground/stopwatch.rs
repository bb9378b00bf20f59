//! The dependency's time, without local waits.

use std::time::Duration;

use crate::ground::scope;
use crate::ground::time::{self, Instant};

/// The time that the dependency has spent on a call: the time since the start, minus the local waits of layers.
///
/// Waits of inner layers are reported through [`mark_local_wait`](scope::mark_local_wait), so that a local queue does not make the
/// dependency look slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    /// The start of the dependency's work, moved forward by each local wait.
    start: Instant,
    waiting_since: Option<Instant>,
}

impl Stopwatch {
    #[inline]
    pub(crate) fn start(now: Instant) -> Self {
        Self { start: now, waiting_since: None }
    }

    /// Restarts, because the request is only sent now.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self { waiting_since: self.waiting_since.map(|_| now), ..Self::start(now) };
    }

    /// Polls the dependency, and records whether the dependency or a local queue returned `Pending`.
    #[inline]
    pub(crate) fn watch<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let (output, waits_locally) = scope::noting_local_wait(poll);
        // The clock is read only at the edges of a local wait, so that a call that never queues pays nothing.
        match (self.waiting_since, waits_locally) {
            (None, true) => self.waiting_since = Some(time::now()),
            (Some(since), false) => {
                self.start = self.start + time::now().since(since);
                self.waiting_since = None;
            }
            (None, false) | (Some(_), true) => {}
        }
        output
    }

    /// Whether the last poll ended in a local wait.
    pub(crate) fn waits_locally(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// The dependency's own time up to `now`.
    #[inline]
    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        let end = self.waiting_since.unwrap_or(now);
        end.since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stopwatch_leaves_out_local_waits() {
        let second = Duration::from_secs(1);
        let mut watch = Stopwatch::start(time::now());
        watch.watch(scope::mark_local_wait);
        tokio::time::advance(3 * second).await;
        assert_eq!(watch.elapsed(time::now()), Duration::ZERO, "still queued");
        watch.watch(|| ());
        tokio::time::advance(2 * second).await;
        assert_eq!(watch.elapsed(time::now()), 2 * second, "then the dependency's own time");
        watch.watch(scope::mark_local_wait);
        tokio::time::advance(5 * second).await;
        watch.watch(|| ());
        assert_eq!(watch.elapsed(time::now()), 2 * second);
    }
}
