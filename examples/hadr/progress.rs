//! The progress bar on standard error, or a line for each step if that is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use crate::Error;

const TICK: Duration = Duration::from_millis(100);

/// The progress of all runs.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For runs that take this long together.
    pub(crate) fn new(all: Duration) -> Result<Self, Error> {
        let bar = ProgressBar::new(all.as_millis() as u64);
        bar.set_style(ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}")?);
        Ok(Self { bar })
    }

    /// Follows a step of about this length while it is done.
    pub(crate) async fn follow<T>(&self, step: &str, length: Duration, work: impl Future<Output = T>) -> T {
        if self.bar.is_hidden() {
            eprintln!("{step}: {:.0} s at most", length.as_secs_f64());
        }
        let (earlier, start) = (self.bar.position(), Instant::now());
        self.bar.set_message(step.to_owned());
        let ticks = async {
            loop {
                sleep(TICK).await;
                self.bar.set_position(earlier + start.elapsed().min(length).as_millis() as u64);
            }
        };
        let done = tokio::select! {
            done = work => done,
            never = ticks => never,
        };
        self.bar.set_position(earlier + length.as_millis() as u64);
        done
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
