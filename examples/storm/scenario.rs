//! The parameters of a storm: the size of the dependency, the load, the outage and its phases, and what is drawn from
//! the seed.
//!
//! Arrivals and service times are drawn before a run begins and are the same for every contestant: the n-th attempt of
//! a given request takes the same time at the dependency, whichever service sends it and whenever it arrives.

use std::ops::Range;
use std::time::Duration;

use crate::trace;

/// The width of the bins in which answers and attempts are counted. All phases are multiples of it.
pub(crate) const BIN: Duration = Duration::from_millis(500);

/// The three phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The dependency is healthy.
    Before,
    /// The dependency is slower.
    Outage,
    /// The dependency is healthy again.
    After,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::Outage, Self::After];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Outage => "outage",
            Self::After => "after",
        }
    }
}

/// The parameters of both runs.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// How many requests the dependency works on at once; the others queue.
    pub(crate) slots: u32,
    /// The mean of the dependency's exponential service time while it is healthy.
    pub(crate) service: Duration,
    /// How many times slower the dependency is during the outage.
    pub(crate) slowdown: u32,
    /// Requests offered each second, whether earlier ones have ended or not.
    pub(crate) rate: f64,
    /// How long an answer is useful to its caller, counted from the intended start.
    pub(crate) deadline: Duration,
    /// The timeout of one attempt of the bare service.
    pub(crate) attempt_timeout: Duration,
    /// How often the bare service retries.
    pub(crate) retries: u32,
    phases: [Duration; 3],
}

impl Scenario {
    /// 4 slots of 20 ms serve 200 requests a second; 140 are offered. Five times slower, the same slots serve 40.
    ///
    /// The four attempts of 300 ms of the bare service just fill its caller's 1.2 s. That is a usual choice with a
    /// fatal effect: 560 attempts a second are more than the healthy dependency can serve.
    fn new(seed: u64, phases: [u64; 3]) -> Self {
        Self {
            seed,
            slots: 4,
            service: Duration::from_millis(20),
            slowdown: 5,
            rate: 140.0,
            deadline: Duration::from_millis(1200),
            attempt_timeout: Duration::from_millis(300),
            retries: 3,
            phases: phases.map(Duration::from_secs),
        }
    }

    pub(crate) fn full(seed: u64) -> Self {
        Self::new(seed, [5, 10, 15])
    }

    pub(crate) fn quick(seed: u64) -> Self {
        Self::new(seed, [1, 3, 4])
    }

    /// When `phase` begins and ends, counted from the start of the run.
    pub(crate) fn span(&self, phase: Phase) -> Range<Duration> {
        let [before, outage, after] = self.phases;
        match phase {
            Phase::Before => Duration::ZERO..before,
            Phase::Outage => before..before + outage,
            Phase::After => before + outage..before + outage + after,
        }
    }

    /// How long requests are offered.
    pub(crate) fn length(&self) -> Duration {
        self.phases.iter().sum()
    }

    /// The phase of an event; events after the last request belong to the last phase.
    pub(crate) fn phase_at(&self, offset: Duration) -> Phase {
        Phase::ALL.into_iter().find(|phase| offset < self.span(*phase).end).unwrap_or(Phase::After)
    }

    /// The intended start of each request.
    pub(crate) fn arrivals(&self) -> Vec<Duration> {
        trace::arrivals(self.seed, [(self.rate, self.length())])
    }

    /// How long the dependency works on the given attempt (1 = first) of a request, while it is healthy.
    pub(crate) fn service_time(&self, request: usize, attempt: u32) -> Duration {
        trace::exponential(&mut trace::chance_of(self.seed, request, attempt), self.service)
    }
}
