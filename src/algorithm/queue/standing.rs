//! Whether a queue stands, and has to be short.
//!
//! A burst needs room to wait. Under lasting overload the same room only adds latency: the queue is as long at its end as at its
//! beginning, and each call that is served has waited for as long as it could. So a queue that stands is kept short (after CoDel:
//! Nichols and Jacobson, "Controlling Queue Delay", 2012).
//!
//! A queue that is never empty does not show overload: twenty workers that share one connection keep it busy, and each of them is
//! served in time. So a queue *stands* only if calls have been waiting without a pause for longer than they usually have left, and
//! meanwhile one call in [`ONE_IN`] had to be refused because of its wait. Calls with far less time than usual do not count: they are
//! refused by their own deadlines.
//!
//! While the queue is short, calls that return at once after each refusal would look like overload for ever. So it is short for
//! [`SHORT_FOR`] such times, at most [`LONGEST`], and then shows again whether calls have to be refused. A short queue is empty for
//! moments, by chance, even under overload. It has room for a burst again once no call has come to wait for as long as a call may wait in it.

use std::time::Duration;

use crate::ground::time::{Instant, nanos};

/// A short queue lasts for so many times that calls usually have left. At 1.2 times the capacity a queue needs three of them to grow
/// to its bound again, which a tenth of the calls may notice.
const SHORT_FOR: f64 = 32.0;

/// However much time calls have: an overload may be over.
const LONGEST: Duration = Duration::from_secs(120);

/// The wait in a short queue, as a share of the time that a call has to spare. Half of it empties the queue by chance, twice as much
/// doubles the latency that it adds.
const SHARE: f64 = 0.1;

/// One refusal in so many calls, and as many refusals, are no accident.
const ONE_IN: u32 = 16;

/// The calls over which the time that they have left is averaged.
const MEMORY: f64 = 16.0;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Calls have been waiting without a pause since then.
    since: Option<Instant>,
    /// When the latest one came.
    latest: Option<Instant>,
    /// No call waits.
    is_empty: bool,
    /// The time that calls with a deadline usually have left when they begin to wait, in nanoseconds; zero if unknown.
    usual_left: f64,
    /// The calls with a deadline since the queue was last empty or short: those that wait, and those that were refused because of their
    /// wait.
    waiting: u32,
    refused: u32,
    /// The queue is short until then.
    short_until: Option<Instant>,
}

impl Standing {
    /// A call begins to wait, with so much time left if it has a deadline.
    pub(super) fn begin(&mut self, now: Instant, left: Option<Duration>) {
        if !self.is_under_way(now) {
            (self.since, self.waiting, self.refused) = (None, 0, 0);
        }
        self.since.get_or_insert(now);
        (self.latest, self.is_empty) = (Some(now), false);
        let Some(left) = left.map(|left| nanos(left) as f64) else { return };
        self.waiting = self.waiting.saturating_add(1);
        self.usual_left += if self.usual_left == 0.0 { left } else { (left - self.usual_left) / MEMORY };
    }

    /// No call waits.
    pub(crate) fn end(&mut self) {
        self.is_empty = true;
    }

    /// A call with so much time left has been refused, since it would have to wait for so long, and calls take `mean`.
    pub(super) fn refused(&mut self, now: Instant, left: Duration, wait: Duration, mean: Duration) {
        let usual = self.usual_left;
        // Not because of its own deadline, nor because calls take long.
        if nanos(left) as f64 * 2.0 < usual || wait < mean / 2 || !self.lasts(now, usual) || self.is_short(now) {
            return;
        }
        self.refused = self.refused.saturating_add(1);
        if self.refused >= ONE_IN && self.refused >= self.waiting / ONE_IN {
            let times = Duration::try_from_secs_f64(SHORT_FOR * usual / 1e9).unwrap_or(LONGEST);
            self.short_until = Some(now + times.min(LONGEST));
            (self.waiting, self.refused) = (0, 0);
        }
    }

    /// The longest wait of a call with so much time left, if the queue is short.
    pub(super) fn longest_wait(&self, now: Instant, left: Duration, mean: Duration) -> Option<Duration> {
        let is_short = self.is_short(now) && self.lasts(now, self.usual_left);
        is_short.then(|| left.saturating_sub(mean).mul_f64(SHARE))
    }

    fn is_short(&self, now: Instant) -> bool {
        self.short_until.is_some_and(|until| now < until)
    }

    /// Whether calls have been waiting without a pause that counts.
    fn is_under_way(&self, now: Instant) -> bool {
        let is_brief = |latest| (now.nanos_since(latest) as f64) < SHARE * self.usual_left;
        !self.is_empty || self.is_short(now) && self.latest.is_some_and(is_brief)
    }

    fn lasts(&self, now: Instant, nanoseconds: f64) -> bool {
        self.is_under_way(now) && self.since.is_some_and(|since| now.nanos_since(since) as f64 > nanoseconds)
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

    fn begin(standing: &mut Standing, calls: u32, ms: u32) {
        (0..calls).for_each(|_| standing.begin(at(ms), Some(LEFT)));
    }

    fn refuse(standing: &mut Standing, calls: u32, ms: u32) {
        (0..calls).for_each(|_| standing.refused(at(ms), LEFT, 80 * MS, 20 * MS));
    }

    fn is_short(standing: &Standing, ms: u32) -> bool {
        standing.longest_wait(at(ms), LEFT, 20 * MS).is_some()
    }

    fn overloaded() -> Standing {
        let mut standing = Standing::default();
        begin(&mut standing, 100, 0);
        refuse(&mut standing, 16, 101);
        standing
    }

    #[test]
    fn burst_keeps_its_room() {
        let mut standing = Standing::default();
        begin(&mut standing, 100, 0);
        refuse(&mut standing, 1000, 99);
        assert!(!is_short(&standing, 99) && !is_short(&standing, 101), "the burst may be over soon");
    }

    #[test]
    fn queue_that_never_empties_but_serves_nearly_all_in_time_keeps_its_room() {
        let mut standing = Standing::default();
        for ms in (0..100_000).step_by(10) {
            begin(&mut standing, 1, ms);
            refuse(&mut standing, u32::from(ms % 200 == 0), ms);
        }
        assert!(!is_short(&standing, 100_000), "one call in twenty was refused");
    }

    #[test]
    fn standing_queue_is_short_for_a_while_and_shows_again_whether_it_stands() {
        let mut standing = overloaded();
        assert_eq!(standing.longest_wait(at(101), LEFT, 20 * MS), Some(8 * MS));
        refuse(&mut standing, 1000, 200);
        assert!(is_short(&standing, 3300) && !is_short(&standing, 3301), "refusals meanwhile show nothing");
        begin(&mut standing, 100, 3301);
        assert!(!is_short(&standing, 3400));
        refuse(&mut standing, 16, 3400);
        assert!(is_short(&standing, 3401));
    }

    #[test]
    fn calls_with_little_time_do_not_shorten_the_wait_of_others() {
        let mut standing = Standing::default();
        begin(&mut standing, 100, 0);
        (0..1000).for_each(|_| standing.refused(at(1000), 40 * MS, 30 * MS, 20 * MS));
        assert!(!is_short(&standing, 1000), "their own deadlines are short");
        (0..1000).for_each(|_| standing.refused(at(1000), LEFT, 20 * MS, 90 * MS));
        assert!(!is_short(&standing, 1000), "the calls take long, not the queue");
    }

    #[test]
    fn short_queue_ends_however_much_time_calls_have() {
        let mut standing = Standing::default();
        (0..100).for_each(|_| standing.begin(START, Some(3_600_000 * MS)));
        (0..16).for_each(|_| standing.refused(at(4_000_000), 3_600_000 * MS, 2_000_000 * MS, MS));
        let is_short = |ms| standing.longest_wait(at(ms), 3_600_000 * MS, MS).is_some();
        assert!(is_short(4_119_999) && !is_short(4_120_000));
    }

    #[test]
    fn queue_that_no_call_has_come_to_has_room_for_a_burst() {
        let mut standing = overloaded();
        begin(&mut standing, 1, 102);
        assert!(is_short(&standing, 102));
        standing.end();
        assert!(!is_short(&standing, 112));
        begin(&mut standing, 1, 112);
        assert!(!is_short(&standing, 212) && is_short(&standing, 213));
    }

    #[test]
    fn short_queue_that_is_empty_for_a_moment_stays_short() {
        let mut standing = overloaded();
        for ms in (102..3290).step_by(9) {
            begin(&mut standing, 1, ms);
            standing.end();
            assert!(is_short(&standing, ms + 8), "{ms}");
        }
    }

    /// A moment without waiting calls is the end of a queue that is not short.
    #[test]
    fn queue_that_is_empty_now_and_then_does_not_stand() {
        let mut standing = Standing::default();
        for ms in (0..10_000).step_by(90) {
            begin(&mut standing, 10, ms);
            refuse(&mut standing, 10, ms + 80);
            standing.end();
            assert!(!is_short(&standing, ms + 81));
        }
    }

    #[test]
    fn calls_without_a_deadline_are_not_affected() {
        let mut standing = Standing::default();
        standing.begin(START, None);
        refuse(&mut standing, 15, 1000);
        assert!(!is_short(&standing, 1000));
    }
}
