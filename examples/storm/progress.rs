//! The progress bar on standard error, or a line for each run if that is not a terminal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::load::Pulse;
use crate::run::Contestant;
use crate::scenario::Scenario;

const TICK: Duration = Duration::from_millis(100);

/// Shows how far the runs are, and keeps an eye on the process' open descriptors.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    most_descriptors: AtomicUsize,
}

impl Progress {
    pub(crate) fn new(scenario: &Scenario, runs: usize) -> Result<Self, Error> {
        let bar = ProgressBar::new(scenario.length().as_millis() as u64 * runs as u64);
        bar.set_style(ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}")?);
        Ok(Self { bar, most_descriptors: AtomicUsize::new(0) })
    }

    /// Follows a run for ever: to be dropped when it is over.
    pub(crate) async fn show(&self, contestant: Contestant, scenario: &Scenario, start: Instant, pulse: &Pulse) -> ! {
        if self.bar.is_hidden() {
            eprintln!("{}: {} s of load", contestant.name(), scenario.length().as_secs());
        }
        let earlier = self.bar.position();
        let mut last_second = VecDeque::from([(0, 0); 10]);
        loop {
            sleep(TICK).await;
            self.most_descriptors.fetch_max(open_descriptors(), Ordering::Relaxed);
            let elapsed = start.elapsed().min(scenario.length());
            self.bar.set_position(earlier + elapsed.as_millis() as u64);
            let now = (pulse.answered.load(Ordering::Relaxed), pulse.good.load(Ordering::Relaxed));
            let then = last_second.pop_front().unwrap_or_default();
            last_second.push_back(now);
            let (answered, good) = (now.0 - then.0, now.1 - then.1);
            let (name, phase) = (contestant.name(), scenario.phase_at(elapsed).name());
            self.bar.set_message(format!("{name}, {phase}: {good} of the last second's {answered} answers are good"));
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The most file descriptors that were seen open at once; 0 where the system does not tell.
    pub(crate) fn most_descriptors(&self) -> usize {
        self.most_descriptors.load(Ordering::Relaxed)
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
