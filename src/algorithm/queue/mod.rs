//! Whether a call may wait for a permit, and until when: a queue bounded in time.
//!
//! In overload, a queue that is bounded only by its length fills with expired calls: each call has waited so long that its caller no
//! longer waits, and goodput falls to zero. So a call waits only if it is expected to start early enough to end in time (the *slack
//! rule*). Otherwise it is refused at once, while the caller can still do something else. Without a deadline, `max_wait` is the
//! bound.
//!
//! While a permit is free and no other call can use it, the rule is lenient: a call is refused only if it has less time than almost
//! any call takes. A call waits only for as long as it is more likely to end in time than not. While calls compete the rule is
//! strict, since a permit for a call that then times out is lost to a call that would not have. See [`ServiceTime`] for the
//! measures.
//!
//! Under lasting overload the queue is kept shorter: see [`standing`].

mod standing;

use std::time::Duration;

pub(crate) use self::standing::Standing;
use crate::algorithm::estimate::ServiceTime;
use crate::ground::error::{Numbers, Reason};
use crate::ground::time::Instant;

/// The inputs of the decision, when no permit is free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) now: Instant,
    pub(crate) deadline: Option<Instant>,
    /// The longest a call may wait.
    pub(crate) max_wait: Duration,
    /// The predicted time until the call gets a permit.
    pub(crate) predicted: Duration,
    pub(crate) service: ServiceTime,
}

/// The end of a wait, and the reason of the refusal then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Until {
    pub(crate) at: Instant,
    pub(crate) reason: Reason,
}

/// The refusal of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// The time in which the queue should be served; zero while the service time is unknown.
    pub(crate) retry_after: Option<Duration>,
    /// The numbers behind the decision.
    pub(crate) numbers: Numbers,
}

impl Refusal {
    pub(crate) fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None, numbers: Numbers::NONE }
    }
}

/// The time until the permits `ahead` and the call's `own` have been served: `limit` permits are served per mean service time.
pub(crate) fn predict(ahead: u64, own: u32, limit: u32, mean: Duration) -> Duration {
    let means = (ahead as f64 + f64::from(own)) / f64::from(limit.max(1));
    Duration::try_from_secs_f64(mean.as_secs_f64() * means).unwrap_or(Duration::MAX)
}

impl Wait {
    /// Adds the retry-after and the numbers of the decision to a refusal.
    pub(crate) fn explain(&self, refusal: Refusal) -> Refusal {
        let expected = self.predicted.saturating_add(self.service.cautious);
        let numbers = refusal.numbers.with_expected(expected);
        let numbers = match self.deadline {
            Some(deadline) => numbers.with_time_left(deadline.since(self.now)),
            None => numbers,
        };
        Refusal { retry_after: Some(self.predicted), numbers, ..refusal }
    }

    /// Until when the call may wait, or its refusal.
    pub(crate) fn decide(self, standing: &mut Standing) -> Result<Until, Refusal> {
        let until = self.wait(standing)?;
        standing.begin(self.now, self.deadline.map(|deadline| deadline.since(self.now)));
        Ok(until)
    }

    fn wait(self, standing: &mut Standing) -> Result<Until, Refusal> {
        let refuse = |reason| Err(Refusal::new(reason));
        if self.max_wait.is_zero() || self.predicted > self.max_wait {
            return refuse(Reason::QueueFull);
        }
        let max_wait_end = Until { at: self.now + self.max_wait, reason: Reason::QueueTimeout };
        let Some(deadline) = self.deadline else {
            return Ok(max_wait_end);
        };
        let left = deadline.since(self.now);
        if left < self.predicted.saturating_add(self.service.cautious) {
            standing.refused(self.now, left, self.predicted, self.service.mean);
            return refuse(Reason::NotInTime);
        }
        if standing.longest_wait(self.now, left, self.service.mean).is_some_and(|longest| self.predicted > longest) {
            return refuse(Reason::QueueFull);
        }
        let last_start = Until { at: deadline.minus(self.service.median), reason: Reason::NotInTime };
        Ok(if last_start.at < max_wait_end.at { last_start } else { max_wait_end })
    }
}

/// Whether a waiting call should still get its permit; `contended`: a call behind it could use the permit better.
pub(crate) fn fits_deadline(now: Instant, deadline: Option<Instant>, service: ServiceTime, contended: bool) -> bool {
    let needs = if contended { service.cautious } else { service.least };
    deadline.is_none_or(|deadline| deadline > now && deadline.since(now) >= needs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const NOW: Instant = Instant::from_nanos(1 << 63);

    fn service(least: u32, median: u32, cautious: u32) -> ServiceTime {
        let [mean, least, median, cautious] = [median, least, median, cautious].map(|ms| ms * MS);
        ServiceTime { mean, least, median, cautious }
    }

    fn wait(predicted: u32, deadline: Option<u32>) -> Wait {
        Wait {
            now: NOW,
            deadline: deadline.map(|deadline| NOW + deadline * MS),
            max_wait: 100 * MS,
            predicted: predicted * MS,
            service: service(5, 10, 20),
        }
    }

    #[test]
    fn queue_moves_at_the_rate_of_all_permits() {
        assert_eq!(predict(0, 1, 10, 10 * MS), MS);
        assert_eq!(predict(39, 1, 10, 10 * MS), 40 * MS);
        assert_eq!(predict(0, 10, 10, 10 * MS), 10 * MS, "a heavy call waits for all permits");
        assert_eq!(predict(u64::MAX, u32::MAX, 1, Duration::MAX), Duration::MAX);
        assert_eq!(predict(1000, 1, 10, Duration::ZERO), Duration::ZERO, "nothing is known yet");
    }

    #[test]
    fn call_without_slack_is_refused_and_others_wait() {
        let cases = [
            (wait(50, None), Ok(100)),
            (wait(101, None), Err(Reason::QueueFull)),
            (wait(50, Some(69)), Err(Reason::NotInTime)),
            (wait(50, Some(70)), Ok(60)),
            (wait(50, Some(500)), Ok(100)),
            (wait(0, Some(0)), Err(Reason::NotInTime)),
            (Wait { max_wait: Duration::ZERO, ..wait(0, None) }, Err(Reason::QueueFull)),
        ];
        for (wait, expected) in cases {
            let decided = wait.decide(&mut Standing::default()).map(|until| until.at).map_err(|refusal| refusal.reason);
            assert_eq!(decided, expected.map(|ms: u32| NOW + ms * MS), "{wait:?}");
        }
    }

    #[test]
    fn waiter_needs_more_time_while_others_compete() {
        let fits = |ms: u32, contended| fits_deadline(NOW, Some(NOW + ms * MS), service(5, 10, 20), contended);
        assert!(fits(5, false) && !fits(4, false));
        assert!(fits(20, true) && !fits(19, true));
        assert!(!fits_deadline(NOW, Some(NOW), ServiceTime::default(), false), "expired is expired");
        assert!(fits_deadline(NOW, None, service(5, 10, 20), true));
    }

    proptest! {
        /// No call waits past the point where it could still be served, nor longer than it may.
        #[test]
        fn wait_leaves_time_to_be_served(
            predicted in 0u32..2000, deadline in prop::option::of(0u32..3000), max_wait in 0u32..1500,
            median in 0u32..1000, more in 0u32..1000,
        ) {
            let service = service(0, median, median + more);
            let wait = Wait { max_wait: max_wait * MS, service, ..wait(predicted, deadline) };
            match wait.decide(&mut Standing::default()) {
                Ok(Until { at: until, .. }) => {
                    prop_assert!(until <= NOW + max_wait * MS);
                    prop_assert!(predicted <= max_wait && max_wait > 0);
                    if let Some(deadline) = deadline {
                        prop_assert!(until + median * MS <= NOW + deadline * MS);
                        prop_assert!(predicted + median + more <= deadline);
                    }
                }
                Err(refusal) => {
                    prop_assert_eq!(wait.explain(refusal).retry_after, Some(predicted * MS));
                    let in_time = deadline.is_none_or(|deadline| predicted + median + more <= deadline);
                    prop_assert!(!in_time || predicted > max_wait || max_wait == 0);
                }
            }
        }
    }
}
