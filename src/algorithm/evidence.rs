//! What the end of a call says about the dependency.
//!
//! Callers, queues and dependencies all end calls, and most of these ends say nothing about the dependency's health. This module
//! is the one place that decides which do. It knows no clock and no protocol: classifiers turn answers and errors into verdicts, the
//! circuit breaker's ticket measures, and [`of`] puts both together. The table that users read is `src/evidence.md`.

use std::time::Duration;

use crate::ground::verdict::Verdict;

/// What an ended call says about the dependency, as a circuit breaker uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It answered as it should; it took that long.
    Good(Duration),
    /// It is alive and its health was not tested: it refused by name (`Retry-After`, "do not retry"), or blamed the caller.
    /// Ends a row of failures and answers a probe, but is in no rate and no latency sample.
    Alive,
    /// It failed; it took that long.
    Bad(Duration),
    /// It was cut after at least the slow threshold: a failure, and slow.
    TimedOut,
    /// The caller gave up after at least the slow threshold: a slow call without an answer.
    GivenUpLate,
    /// It was cut or given up before the slow threshold, but had as long as a success usually takes. Counts only while no call at
    /// all is answered.
    Unanswered,
    /// The request never got there. Counts only while no call at all is answered.
    Unsent,
    /// It says nothing.
    Nothing,
}

/// How a call came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There was an answer, and this is what it means.
    Answer(Verdict),
    /// There was an error, and this is what it means.
    Error(Verdict),
    /// It was cut at its own deadline, or dropped when that had passed.
    Deadline,
    /// The caller dropped it before its deadline.
    GivenUp,
}

/// The times of a call that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// The dependency's own time: to the head of its answer, or the longest wait for a piece of the body if that was longer. Our
    /// queues, our stalls and the caller's upload are not in it.
    pub(crate) took: Duration,
    /// How much time the call had when it was admitted.
    pub(crate) given: Duration,
    /// How much of that was left at the end.
    pub(crate) left: Duration,
    /// The head of an answer was there, and the call went on in its body.
    pub(crate) had_head: bool,
    /// At its end the call waited for something of ours or of the caller's, not for the dependency.
    pub(crate) waited_locally: bool,
}

impl Times {
    /// Whether it ended at about the deadline. The deadline that is sent is a little shorter than our own: an allowance for the
    /// way is kept back, at each tier of a chain.
    fn are_up(&self) -> bool {
        self.left <= self.given / 2 || self.waited_locally
    }

    /// How long the dependency was given for an answer, in a call that ended at about its deadline.
    fn allowed(&self) -> Duration {
        if self.had_head || self.waited_locally { self.took } else { self.took.saturating_add(self.left) }
    }
}

/// What a call's time is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Yardstick {
    /// From when on a call is slow.
    pub(crate) slow_after: Duration,
    /// What a success usually takes, if that is known.
    pub(crate) usual: Option<Duration>,
}

/// The usual time of a dependency of which nothing is known: about a round trip and a little work.
const A_CHANCE: Duration = Duration::from_millis(1);

/// What the end of a call says, for which the dependency took so long. All its times, and the yardstick, are asked for only where
/// they decide.
#[inline]
pub(crate) fn of(
    ending: Ending,
    took: Duration,
    times: impl FnOnce() -> Times,
    yardstick: impl FnOnce() -> Yardstick,
) -> Evidence {
    match ending {
        Ending::Answer(verdict) | Ending::Error(verdict) => match verdict {
            // What blames the caller was worked on all the same, as a lookup that finds nothing.
            Verdict::Success | Verdict::CallerFault => Evidence::Good(took),
            Verdict::Overloaded { .. } | Verdict::Unprocessed | Verdict::DoNotRetry => Evidence::Alive,
            Verdict::Transient | Verdict::Lost | Verdict::Failed => Evidence::Bad(took),
            Verdict::TimedOut => match times() {
                times if times.are_up() => at_deadline(&times, yardstick()),
                _ => timed_out_early(ending, took, yardstick),
            },
            Verdict::Unsent => Evidence::Unsent,
            Verdict::Ignored => Evidence::Nothing,
            Verdict::Abandoned => given_up(&times(), yardstick()),
        },
        Ending::Deadline => at_deadline(&times(), yardstick()),
        Ending::GivenUp => given_up(&times(), yardstick()),
    }
}

/// The call's time was up, whether we or the dependency say so: the dependency is judged by the time that it was given.
fn at_deadline(times: &Times, yardstick: Yardstick) -> Evidence {
    without_answer(times, times.allowed(), Evidence::TimedOut, yardstick)
}

/// The caller is gone: the dependency is judged by the time that the caller waited.
fn given_up(times: &Times, yardstick: Yardstick) -> Evidence {
    without_answer(times, times.took, Evidence::GivenUpLate, yardstick)
}

fn without_answer(times: &Times, time: Duration, late: Evidence, yardstick: Yardstick) -> Evidence {
    match time {
        time if time >= yardstick.slow_after => late,
        // Its head came in time.
        _ if times.had_head => Evidence::Alive,
        time if time >= yardstick.usual.unwrap_or(A_CHANCE) => Evidence::Unanswered,
        _ => Evidence::Nothing,
    }
}

/// There was time left, so that the limit was not the call's own.
fn timed_out_early(ending: Ending, took: Duration, yardstick: impl FnOnce() -> Yardstick) -> Evidence {
    match ending {
        // A client's limit for this very call, shorter than what a success usually takes: that of a caller in a hurry.
        Ending::Error(_) if yardstick().usual.is_some_and(|usual| took < usual) => Evidence::Unanswered,
        // The dependency's own limit, or one that its user has set for it.
        _ => Evidence::Bad(took),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ending: Ending, times: &Times, yardstick: impl FnOnce() -> Yardstick) -> Evidence {
        super::of(ending, times.took, || *times, yardstick)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Slow from 500 ms on, and 20 ms are usual.
    const KNOWN: Yardstick = Yardstick { slow_after: ms(500), usual: Some(ms(20)) };
    const UNKNOWN: Yardstick = Yardstick { usual: None, ..KNOWN };

    /// Of a call that was given so much, took so much and ended with so much left.
    fn times(given: u64, took: u64, left: u64) -> Times {
        Times { took: ms(took), given: ms(given), left: ms(left), had_head: false, waited_locally: false }
    }

    #[test]
    fn verdicts_that_need_no_time_have_their_evidence() {
        let refused = Verdict::Overloaded { retry_after: Some(ms(1)) };
        for (verdict, evidence) in [
            (Verdict::Success, Evidence::Good(ms(5))),
            (Verdict::CallerFault, Evidence::Good(ms(5))),
            (Verdict::Transient, Evidence::Bad(ms(5))),
            (Verdict::Failed, Evidence::Bad(ms(5))),
            (Verdict::Lost, Evidence::Bad(ms(5))),
            (refused, Evidence::Alive),
            (Verdict::Overloaded { retry_after: None }, Evidence::Alive),
            (Verdict::Unprocessed, Evidence::Alive),
            (Verdict::DoNotRetry, Evidence::Alive),
            (Verdict::Unsent, Evidence::Unsent),
            (Verdict::Ignored, Evidence::Nothing),
        ] {
            for ending in [Ending::Answer(verdict), Ending::Error(verdict)] {
                let asked = || panic!("{ending:?} needs no yardstick");
                assert_eq!(of(ending, &times(1000, 5, 995), asked), evidence, "{ending:?}");
            }
        }
    }

    /// The same for our own cut, an answer and an error.
    #[test]
    fn timeout_at_the_deadline_is_judged_by_the_time_given() {
        let timed_out = [Ending::Answer(Verdict::TimedOut), Ending::Error(Verdict::TimedOut)];
        for (given, left, yardstick, evidence) in [
            (5000, 5, KNOWN, Evidence::TimedOut),
            (500, 0, KNOWN, Evidence::TimedOut),
            (500, 50, KNOWN, Evidence::TimedOut),
            (499, 0, KNOWN, Evidence::Unanswered),
            (30, 3, KNOWN, Evidence::Unanswered),
            (20, 2, KNOWN, Evidence::Unanswered),
            (19, 0, KNOWN, Evidence::Nothing),
            (2, 1, KNOWN, Evidence::Nothing),
            (2, 0, UNKNOWN, Evidence::Unanswered),
            (0, 0, UNKNOWN, Evidence::Nothing),
        ] {
            let times = times(given, given - left, left);
            for ending in timed_out.into_iter().chain([Ending::Deadline].into_iter().filter(|_| left == 0)) {
                assert_eq!(of(ending, &times, || yardstick), evidence, "{ending:?} {given} {left}");
            }
        }
    }

    #[test]
    fn timeout_long_before_the_deadline_is_a_failure() {
        for took in [1, 100, 2000] {
            let times = times(5000, took, 5000 - took);
            assert_eq!(of(Ending::Answer(Verdict::TimedOut), &times, || KNOWN), Evidence::Bad(ms(took)));
        }
        let inner_limit = |took| of(Ending::Error(Verdict::TimedOut), &times(5000, took, 5000 - took), || KNOWN);
        assert_eq!(inner_limit(100), Evidence::Bad(ms(100)));
        assert_eq!(inner_limit(10), Evidence::Unanswered, "a limit of this call alone, below what is usual");
    }

    #[test]
    fn given_up_call_is_judged_by_the_time_waited() {
        for (waited, yardstick, evidence) in [
            (500, KNOWN, Evidence::GivenUpLate),
            (499, KNOWN, Evidence::Unanswered),
            (20, KNOWN, Evidence::Unanswered),
            (19, KNOWN, Evidence::Nothing),
            (0, UNKNOWN, Evidence::Nothing),
            (1, UNKNOWN, Evidence::Unanswered),
        ] {
            for ending in [Ending::GivenUp, Ending::Error(Verdict::Abandoned), Ending::Answer(Verdict::Abandoned)] {
                let times = times(60_000, waited, 60_000 - waited);
                assert_eq!(of(ending, &times, || yardstick), evidence, "{ending:?} after {waited}");
            }
        }
    }

    #[test]
    fn body_is_judged_by_its_longest_wait_and_not_by_its_length() {
        let at_end = |took| Times { had_head: true, ..times(60_000, took, 0) };
        for ending in [Ending::Deadline, Ending::Answer(Verdict::TimedOut)] {
            assert_eq!(of(ending, &at_end(5), || KNOWN), Evidence::Alive);
            assert_eq!(of(ending, &at_end(499), || KNOWN), Evidence::Alive);
            assert_eq!(of(ending, &at_end(500), || KNOWN), Evidence::TimedOut);
        }
        assert_eq!(of(Ending::GivenUp, &at_end(5), || KNOWN), Evidence::Alive);
        assert_eq!(of(Ending::GivenUp, &at_end(500), || KNOWN), Evidence::GivenUpLate);
    }

    #[test]
    fn call_that_ends_in_a_local_wait_is_judged_by_the_dependency_s_part() {
        let waits = |took, left| Times { waited_locally: true, ..times(5000, took, left) };
        for ending in [Ending::Deadline, Ending::Error(Verdict::TimedOut)] {
            assert_eq!(of(ending, &waits(0, 0), || KNOWN), Evidence::Nothing);
            assert_eq!(of(ending, &waits(0, 4000), || KNOWN), Evidence::Nothing);
            assert_eq!(of(ending, &waits(600, 0), || KNOWN), Evidence::TimedOut);
        }
    }
}
