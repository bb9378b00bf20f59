//! The parameters of the overload.

use std::ops::Range;
use std::time::Duration;

use crate::trace;

/// The parameters of both runs.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    seed: u64,
    /// How many requests the service works on at once.
    pub(crate) workers: u32,
    /// The mean time of work on a request, evenly spread from half to one and a half times the mean.
    pub(crate) work: Duration,
    /// How long an answer is useful to its caller.
    pub(crate) deadline: Duration,
    /// The load of each step, as a multiple of the capacity; the last step is after the overload.
    loads: Vec<f64>,
    step: Duration,
}

/// The requests offered during a period.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// As a multiple of the capacity.
    pub(crate) load: f64,
    /// Counted from the start of the run.
    pub(crate) span: Range<Duration>,
}

impl Script {
    /// 4 workers of 20 ms serve 200 requests a second.
    fn new(seed: u64, loads: &[f64], step: u64) -> Self {
        Self {
            seed,
            workers: 4,
            work: Duration::from_millis(20),
            deadline: Duration::from_millis(250),
            loads: loads.to_vec(),
            step: Duration::from_millis(step),
        }
    }

    pub(crate) fn full(seed: u64) -> Self {
        Self::new(seed, &[0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 0.7], 1200)
    }

    pub(crate) fn quick(seed: u64) -> Self {
        Self::new(seed, &[0.5, 1.0, 2.0, 4.0, 0.7], 500)
    }

    /// The highest possible rate of answers a second: the unit of the load.
    fn capacity(&self) -> f64 {
        f64::from(self.workers) / self.work.as_secs_f64()
    }

    /// Load that rises from below the capacity to a multiple of it.
    pub(crate) fn rise(&self) -> Vec<Step> {
        let mut steps = self.steps();
        steps.pop();
        steps
    }

    /// The period in which the load exceeds the capacity.
    pub(crate) fn overload(&self) -> Range<Duration> {
        let rise = self.rise();
        let over = rise.iter().find(|step| step.load > 1.0).map_or(self.length(), |step| step.span.start);
        over..rise.last().map_or(over, |step| step.span.end)
    }

    /// The start of the period after the overload.
    pub(crate) fn after(&self) -> Range<Duration> {
        self.overload().end..self.length()
    }

    pub(crate) fn length(&self) -> Duration {
        self.step * self.loads.len() as u32
    }

    fn steps(&self) -> Vec<Step> {
        let step = |(number, load): (usize, &f64)| {
            let start = self.step * number as u32;
            Step { load: *load, span: start..start + self.step }
        };
        self.loads.iter().enumerate().map(step).collect()
    }

    /// The intended start of each request.
    pub(crate) fn arrivals(&self) -> Vec<Duration> {
        trace::arrivals(self.seed, self.loads.iter().map(|load| (load * self.capacity(), self.step)))
    }

    /// How long the service works on a request.
    pub(crate) fn work_of(&self, request: usize) -> Duration {
        self.work.mul_f64(0.5 + trace::chance_of(self.seed, request, 1).f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn overload_covers_the_steps_above_capacity() {
        let script = Script::quick(1);
        assert_eq!(script.overload(), 1000 * MS..2000 * MS);
        assert_eq!(script.after(), 2000 * MS..2500 * MS);
        assert_eq!(script.rise().last(), Some(&Step { load: 4.0, span: 1500 * MS..2000 * MS }));
    }

    #[test]
    fn capacity_matches_the_mean_work_time() {
        let script = Script::quick(1);
        let mean = (0..10_000).map(|request| script.work_of(request)).sum::<Duration>() / 10_000;
        assert!((19 * MS..21 * MS).contains(&mean), "{mean:?}");
    }
}
