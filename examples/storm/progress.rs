//! The progress bar on standard error, or a line for each run if that is not a terminal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::load::Pulse;
use crate::run::Contestant;

const TICK: Duration = Duration::from_millis(100);

/// Shows the progress of the runs, and watches the open descriptors of the process.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    most_descriptors: AtomicUsize,
}

impl Progress {
    /// For runs that take this long together.
    pub(crate) fn new(all: Duration) -> Result<Self, Error> {
        let bar = ProgressBar::new(all.as_millis() as u64);
        bar.set_style(ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}")?);
        Ok(Self { bar, most_descriptors: AtomicUsize::new(0) })
    }

    /// Follows a run of this length until it is dropped. `tell` describes the state at a time after the start.
    pub(crate) async fn follow(
        &self,
        contestant: Contestant,
        act: &str,
        start: Instant,
        length: Duration,
        mut tell: impl FnMut(Duration) -> String,
    ) -> ! {
        let name = contestant.name();
        if self.bar.is_hidden() {
            eprintln!("{act}, {name}: {:.1} s of load", length.as_secs_f64());
        }
        let earlier = self.bar.position();
        loop {
            sleep(TICK).await;
            self.most_descriptors.fetch_max(open_descriptors(), Ordering::Relaxed);
            let elapsed = start.elapsed().min(length);
            self.bar.set_position(earlier + elapsed.as_millis() as u64);
            self.bar.set_message(format!("{act}, {name}: {}", tell(elapsed)));
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The largest number of file descriptors that were open at once; 0 if the system does not report it.
    pub(crate) fn most_descriptors(&self) -> usize {
        self.most_descriptors.load(Ordering::Relaxed)
    }
}

/// What the callers got in the last second.
#[derive(Debug)]
pub(crate) struct LastSecond(VecDeque<(usize, usize)>);

impl Default for LastSecond {
    fn default() -> Self {
        Self(VecDeque::from([(0, 0); 10]))
    }
}

impl LastSecond {
    /// Must be called once per [`TICK`].
    pub(crate) fn of(&mut self, pulse: &Pulse) -> String {
        let now = (pulse.answered.load(Ordering::Relaxed), pulse.good.load(Ordering::Relaxed));
        let then = self.0.pop_front().unwrap_or_default();
        self.0.push_back(now);
        let (answered, good) = (now.0 - then.0, now.1 - then.1);
        format!("{good} of the last second's {answered} answers are good")
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
