//! A clock of the processor time that the machine gave to the runtime under test.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The name of the runtime's threads.
pub(crate) const WORKERS: &str = "stress-worker";

/// A clock that stops while the runtime's workers are runnable but not running, and advances while they run or sleep.
/// On a busy machine a call takes long because no thread runs it, and that is no stall. Without `/proc/*/schedstat`
/// this is the ordinary clock.
#[derive(Debug)]
pub(crate) struct Clock {
    workers: Vec<PathBuf>,
    last: Instant,
    ran: u64,
    waited: u64,
}

/// A longer gap between two readings is a pause of the watchdog itself.
const LONGEST_TICK: Duration = Duration::from_millis(20);

impl Clock {
    pub(crate) fn new() -> Self {
        let is_worker = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == WORKERS);
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().map(|task| task.path());
        let workers = tasks.filter(is_worker).map(|task| task.join("schedstat")).collect();
        let mut clock = Self { workers, last: Instant::now(), ran: 0, waited: 0 };
        clock.tick();
        clock
    }

    /// How much time has passed since the last call.
    pub(crate) fn tick(&mut self) -> Duration {
        let now = Instant::now();
        let passed = (now - self.last).min(LONGEST_TICK);
        let (ran, waited) =
            self.workers.iter().filter_map(read).fold((0, 0), |(ran, waited), (r, w)| (ran + r, waited + w));
        let (did_run, did_wait) = (ran.saturating_sub(self.ran), waited.saturating_sub(self.waited));
        (self.last, self.ran, self.waited) = (now, ran, waited);
        match did_run + did_wait {
            0 => passed,
            wanted => passed.mul_f64(did_run as f64 / wanted as f64),
        }
    }
}

/// How long a thread ran, and how long it waited for a processor, in nanoseconds.
fn read(schedstat: &PathBuf) -> Option<(u64, u64)> {
    let text = fs::read_to_string(schedstat).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
