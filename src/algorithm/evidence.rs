//! What the end of a call proves about the dependency.
//!
//! Callers, queues and dependencies all end calls, and most of these ends prove nothing about the dependency's health. Only this
//! module decides which do. It reads no clock and knows no protocol: classifiers turn answers and errors into verdicts, the circuit
//! breaker's ticket measures times, and [`of`] combines both. `src/evidence.md` has the table for users.

use std::time::Duration;

use crate::ground::verdict::Verdict;

/// What an ended call proves about the dependency, as a circuit breaker uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// A good answer, after this time.
    Good(Duration),
    /// The dependency is alive, but its health was not tested: it refused explicitly (`Retry-After`, "do not retry"), or the fault
    /// is the caller's. Ends a streak of failures and answers a probe, but is in no rate and no latency sample.
    Alive,
    /// A failure, after this time.
    Bad(Duration),
    /// Cut after at least the slow threshold: a failure, and slow.
    TimedOut,
    /// The caller gave up after at least the slow threshold: a slow call without an answer.
    GivenUpLate,
    /// Cut or abandoned before the slow threshold, but after the usual time of a success. Counts only while no call at all is
    /// answered.
    Unanswered,
    /// The request was never sent. Counts only while no call at all is answered.
    Unsent,
    /// The request was never sent, which took this time, and other endpoints could have taken it. A few in a row count, whatever is in
    /// flight.
    Unreachable(Duration),
    /// No evidence.
    Nothing,
}

impl Evidence {
    /// The same of an endpoint among others. A refused connection says little about a dependency, which may just be restarting, and a
    /// pause would help nobody. Where there are other endpoints, their calls are better served there.
    pub(crate) fn of_endpoint(self, took: Duration) -> Self {
        if self == Self::Unsent { Self::Unreachable(took) } else { self }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An answer, with its verdict.
    Answer(Verdict),
    /// An error, with its verdict.
    Error(Verdict),
    /// The call was cut at its own deadline, or dropped after it.
    Deadline,
    /// The caller dropped the call before its deadline.
    GivenUp,
    /// The call was dropped because another one had made it needless: it lost against a hedge, or a quorum was complete.
    Needless,
}

/// The times of an ended call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// The dependency's own time: to the head of its answer, or the longest wait for a chunk of the body if that was longer.
    /// Excludes local queues, local stalls and the caller's upload.
    pub(crate) took: Duration,
    /// The time that the call had left when it was admitted.
    pub(crate) given: Duration,
    /// The time that the call had left at its end.
    pub(crate) left: Duration,
    /// The head of an answer had arrived, and the body had not ended.
    pub(crate) had_head: bool,
    /// At its end the call waited for seawall or the caller, not for the dependency.
    pub(crate) waited_locally: bool,
}

impl Times {
    /// Whether the call ended at about its deadline. Each hop sends a slightly shorter deadline than its own, so the dependency may
    /// time out earlier.
    fn are_up(&self) -> bool {
        self.left <= self.given / 2 || self.waited_locally
    }

    /// The time that the dependency had for an answer, in a call that ended at about its deadline.
    fn allowed(&self) -> Duration {
        if self.had_head || self.waited_locally { self.took } else { self.took.saturating_add(self.left) }
    }
}

/// The latencies that a call's time is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LatencyBaseline {
    /// The slow threshold.
    pub(crate) slow_after: Duration,
    /// The usual time of a success, if it is known.
    pub(crate) usual: Option<Duration>,
}

/// The usual time that is assumed while none is known: about a round trip and a little work.
const ASSUMED_USUAL: Duration = Duration::from_millis(1);

/// The evidence of an ended call on which the dependency spent `took`. `times` and `baseline` are called only where they decide.
#[inline]
pub(crate) fn of(
    ending: Ending,
    took: Duration,
    times: impl FnOnce() -> Times,
    baseline: impl FnOnce() -> LatencyBaseline,
) -> Evidence {
    match ending {
        Ending::Answer(verdict) | Ending::Error(verdict) => match verdict {
            // A request with a caller's fault was processed all the same, such as a lookup that finds nothing.
            Verdict::Success | Verdict::CallerFault => Evidence::Good(took),
            Verdict::Overloaded { .. } | Verdict::Unprocessed | Verdict::DoNotRetry => Evidence::Alive,
            Verdict::Transient | Verdict::Lost | Verdict::Failed => Evidence::Bad(took),
            Verdict::TimedOut => match times() {
                times if times.are_up() => at_deadline(&times, baseline()),
                _ => timed_out_early(ending, took, baseline),
            },
            Verdict::Unsent => Evidence::Unsent,
            Verdict::Ignored => Evidence::Nothing,
            Verdict::Abandoned => given_up(&times(), baseline()),
        },
        Ending::Deadline => at_deadline(&times(), baseline()),
        Ending::GivenUp => given_up(&times(), baseline()),
        // The quicker answer ended this call. No caller waited in vain, so a short time proves nothing.
        Ending::Needless => match given_up(&times(), baseline()) {
            Evidence::Unanswered => Evidence::Nothing,
            evidence => evidence,
        },
    }
}

/// The call reached its deadline, here or at the dependency: the dependency is judged by the time that it had.
fn at_deadline(times: &Times, baseline: LatencyBaseline) -> Evidence {
    without_answer(times, times.allowed(), Evidence::TimedOut, baseline)
}

/// The caller has abandoned the call: the dependency is judged by the time that the caller waited.
fn given_up(times: &Times, baseline: LatencyBaseline) -> Evidence {
    without_answer(times, times.took, Evidence::GivenUpLate, baseline)
}

fn without_answer(times: &Times, time: Duration, too_late: Evidence, baseline: LatencyBaseline) -> Evidence {
    match time {
        time if time >= baseline.slow_after => too_late,
        // The head arrived in time.
        _ if times.had_head => Evidence::Alive,
        time if time >= baseline.usual.unwrap_or(ASSUMED_USUAL) => Evidence::Unanswered,
        _ => Evidence::Nothing,
    }
}

/// There was time left, so the timeout was not the call's own.
fn timed_out_early(ending: Ending, took: Duration, baseline: impl FnOnce() -> LatencyBaseline) -> Evidence {
    match ending {
        // A client's timeout for this call, shorter than the usual time of a success.
        Ending::Error(_) if baseline().usual.is_some_and(|usual| took < usual) => Evidence::Unanswered,
        // The dependency's own timeout, or one that its user has configured.
        _ => Evidence::Bad(took),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ending: Ending, times: &Times, baseline: impl FnOnce() -> LatencyBaseline) -> Evidence {
        super::of(ending, times.took, || *times, baseline)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Slow from 500 ms, usual 20 ms.
    const KNOWN: LatencyBaseline = LatencyBaseline { slow_after: ms(500), usual: Some(ms(20)) };
    const UNKNOWN: LatencyBaseline = LatencyBaseline { usual: None, ..KNOWN };

    /// In milliseconds.
    fn times(given: u64, took: u64, left: u64) -> Times {
        Times { took: ms(took), given: ms(given), left: ms(left), had_head: false, waited_locally: false }
    }

    #[test]
    fn verdicts_without_times_have_fixed_evidence() {
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
                let uncalled = || panic!("{ending:?} needs no baseline");
                assert_eq!(of(ending, &times(1000, 5, 995), uncalled), evidence, "{ending:?}");
            }
        }
    }

    /// The same for a cut, an answer and an error.
    #[test]
    fn deadline_timeout_is_judged_by_the_time_given() {
        let timed_out = [Ending::Answer(Verdict::TimedOut), Ending::Error(Verdict::TimedOut)];
        for (given, left, baseline, evidence) in [
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
                assert_eq!(of(ending, &times, || baseline), evidence, "{ending:?} {given} {left}");
            }
        }
    }

    #[test]
    fn early_timeout_is_a_failure() {
        for took in [1, 100, 2000] {
            let times = times(5000, took, 5000 - took);
            assert_eq!(of(Ending::Answer(Verdict::TimedOut), &times, || KNOWN), Evidence::Bad(ms(took)));
        }
        let inner_limit = |took| of(Ending::Error(Verdict::TimedOut), &times(5000, took, 5000 - took), || KNOWN);
        assert_eq!(inner_limit(100), Evidence::Bad(ms(100)));
        assert_eq!(inner_limit(10), Evidence::Unanswered, "a timeout of this call, below the usual time");
    }

    #[test]
    fn abandoned_call_is_judged_by_the_time_waited() {
        for (waited, baseline, evidence) in [
            (500, KNOWN, Evidence::GivenUpLate),
            (499, KNOWN, Evidence::Unanswered),
            (20, KNOWN, Evidence::Unanswered),
            (19, KNOWN, Evidence::Nothing),
            (0, UNKNOWN, Evidence::Nothing),
            (1, UNKNOWN, Evidence::Unanswered),
        ] {
            for ending in [Ending::GivenUp, Ending::Error(Verdict::Abandoned), Ending::Answer(Verdict::Abandoned)] {
                let times = times(60_000, waited, 60_000 - waited);
                assert_eq!(of(ending, &times, || baseline), evidence, "{ending:?} after {waited}");
            }
        }
    }

    #[test]
    fn body_is_judged_by_its_longest_wait() {
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
    fn local_wait_is_not_held_against_the_dependency() {
        let waits = |took, left| Times { waited_locally: true, ..times(5000, took, left) };
        for ending in [Ending::Deadline, Ending::Error(Verdict::TimedOut)] {
            assert_eq!(of(ending, &waits(0, 0), || KNOWN), Evidence::Nothing);
            assert_eq!(of(ending, &waits(0, 4000), || KNOWN), Evidence::Nothing);
            assert_eq!(of(ending, &waits(600, 0), || KNOWN), Evidence::TimedOut);
        }
    }
}
