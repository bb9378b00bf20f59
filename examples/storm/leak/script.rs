//! The parameters of the leak.

use std::ops::Range;
use std::time::Duration;

use crate::trace;

/// The parameters of both runs.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    seed: u64,
    /// Calls a second, whether earlier calls have ended or not.
    pub(crate) rate: f64,
    /// How long a call may take. For the bare client this is a timeout, and it ends with the head.
    pub(crate) deadline: Duration,
    /// How many calls the protected client has in flight at once.
    pub(crate) bulkhead: u32,
    calm: Duration,
    stretch: Duration,
    after: Duration,
}

/// The allowed delay of a cut after the deadline.
const GRACE: Duration = Duration::from_millis(100);

impl Script {
    /// A healthy dependency answers at once. The number of leaked connections is the length of the stall times the
    /// rate: at most two or three hundred, so that a process with the usual 1,024 descriptors survives.
    fn new(seed: u64, calm: u64, stretch: u64, after: u64) -> Self {
        let [calm, stretch, after] = [calm, stretch, after].map(Duration::from_millis);
        let deadline = Duration::from_millis(500);
        Self { seed, rate: 60.0, deadline, bulkhead: 8, calm, stretch, after }
    }

    pub(crate) fn full(seed: u64) -> Self {
        Self::new(seed, 2000, 4000, 3000)
    }

    pub(crate) fn quick(seed: u64) -> Self {
        Self::new(seed, 400, 1300, 1600)
    }

    /// When bodies that begin stall, counted from the start of the run.
    pub(crate) fn stretch(&self) -> Range<Duration> {
        self.calm..self.calm + self.stretch
    }

    /// When nothing may be left of the stall.
    pub(crate) fn settled(&self) -> Duration {
        self.stretch().end + self.deadline + GRACE
    }

    pub(crate) fn length(&self) -> Duration {
        self.stretch().end + self.after
    }

    /// The intended start of each call.
    pub(crate) fn arrivals(&self) -> Vec<Duration> {
        trace::arrivals(self.seed, [(self.rate, self.length())])
    }
}
