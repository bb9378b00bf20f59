//! Whether a queue stands, and has to be short.
//!
//! A burst needs room to wait. Under lasting overload the same room only adds latency: the queue is as long at its end as at its
//! beginning, and each call that is served has waited for as long as it could. So a queue that stands is kept short (after CoDel:
//! Nichols and Jacobson, "Controlling Queue Delay", 2012).
//!
//! A queue that is never empty does not show overload: twenty workers that share one connection keep it busy, and each of them is
//! served in time. So a queue *stands* only if a call had to be refused for want of time when calls had been waiting without a pause for
//! longer than that call had left. A burst is over by then.
//!
//! While the queue is short, calls that return at once after each refusal would look like overload for ever. So it is short for
//! [`SHORT_FOR`] such times, and then shows again whether calls have to be refused. If they have, it is short for [`LONGER`] times as long.

use std::time::Duration;

use crate::ground::time::Instant;

/// A short queue lasts for so many times that a refused call had left. At 1.2 times the capacity a queue needs three of them to grow
/// to its bound again, which a tenth of the calls may notice.
const SHORT_FOR: u32 = 32;

/// The factor after each trial that showed overload again.
const LONGER: u32 = 4;

/// A short queue lasts for no more times that a refused call had left.
const LONGEST: u32 = 512;

/// The wait in a short queue, as a share of the time that a call has to spare. Half of it empties the queue by chance, twice as much
/// doubles the latency that it adds.
const SHARE: f64 = 0.1;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Calls have been waiting without a pause since then.
    since: Option<Instant>,
    short: Option<Short>,
}

#[derive(Clone, Copy, Debug)]
struct Short {
    until: Instant,
    times: u32,
    /// A trial ends here. What is seen later has nothing to do with it.
    trial_until: Instant,
}

impl Standing {
    /// A call is about to wait.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// No call waits.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// A call with so much time left has been refused for want of time.
    pub(super) fn refused(&mut self, now: Instant, left: Duration) {
        if !self.lasts(now, left) || self.short.is_some_and(|short| now < short.until) {
            return;
        }
        let times = match self.short {
            Some(short) if now < short.trial_until => (LONGER * short.times).min(LONGEST),
            _ => SHORT_FOR,
        };
        let until = now + left.saturating_mul(times);
        let trial_until = until + left.saturating_mul(SHORT_FOR);
        self.short = Some(Short { until, times, trial_until });
    }

    /// The longest wait of a call with so much time left, if the queue is short.
    pub(super) fn longest_wait(&self, now: Instant, left: Duration, mean: Duration) -> Option<Duration> {
        let is_short = self.short.is_some_and(|short| now < short.until) && self.lasts(now, left);
        is_short.then(|| left.saturating_sub(mean).mul_f64(SHARE))
    }

    fn lasts(&self, now: Instant, left: Duration) -> bool {
        self.since.is_some_and(|since| now.since(since) > left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const START: Instant = Instant::from_nanos(1 << 63);
    const LEFT: Duration = Duration::from_millis(100);

    fn at(ms: u32) -> Instant {
        START + ms * MS
    }

    fn is_short(standing: &Standing, ms: u32) -> bool {
        standing.longest_wait(at(ms), LEFT, 20 * MS).is_some()
    }

    #[test]
    fn burst_keeps_its_room() {
        let mut standing = Standing::default();
        standing.begin(START);
        standing.refused(at(99), LEFT);
        assert!(!is_short(&standing, 99) && !is_short(&standing, 101), "the burst may be over soon");
    }

    #[test]
    fn queue_that_never_empties_but_serves_all_in_time_keeps_its_room() {
        let mut standing = Standing::default();
        (0..100_000).step_by(10).for_each(|ms| standing.begin(at(ms)));
        assert!(!is_short(&standing, 100_000));
    }

    #[test]
    fn standing_queue_is_short_and_tried_again_more_and_more_rarely() {
        let mut standing = Standing::default();
        standing.begin(START);
        let mut now = 101;
        for times in [32, 128, 512, 512] {
            standing.refused(at(now), LEFT);
            assert_eq!(standing.longest_wait(at(now), LEFT, 20 * MS), Some(8 * MS));
            standing.refused(at(now + 50), LEFT);
            assert!(is_short(&standing, now + 100 * times - 1), "{times}");
            assert!(!is_short(&standing, now + 100 * times), "a refusal meanwhile shows nothing");
            now += 100 * (times + 31);
        }
        // The overload ends, and comes back after the trial.
        now += 200;
        standing.refused(at(now), LEFT);
        assert!(is_short(&standing, now) && !is_short(&standing, now + 3200));
    }

    #[test]
    fn empty_queue_has_room_for_a_burst_at_once() {
        let mut standing = Standing::default();
        standing.begin(START);
        standing.refused(at(101), LEFT);
        assert!(is_short(&standing, 102));
        standing.end();
        assert!(!is_short(&standing, 103));
        standing.begin(at(104));
        assert!(!is_short(&standing, 204) && is_short(&standing, 205));
    }
}
