//! The virtual time of one run: a paused current-thread runtime, in whole milliseconds from the start of the run.
//!
//! Tokio's timers have a grain of one millisecond. Traces are drawn in whole milliseconds too, so no rounding adds to them.

#![allow(clippy::disallowed_methods, reason = "the arena has a clock of its own, which is always paused")]

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until, timeout};

/// Milliseconds, as an instant of a run or as a duration.
pub(crate) type Ms = u64;

/// The clock of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn now(self) -> Ms {
        self.start.elapsed().as_millis() as Ms
    }

    pub(crate) async fn sleep_until(self, at: Ms) {
        sleep_until(self.start + Duration::from_millis(at)).await;
    }

    pub(crate) async fn sleep(self, time: Ms) {
        self.sleep_until(self.now() + time).await;
    }

    /// The output of `future`, or `None` if it takes longer than `time`.
    pub(crate) async fn bound<F: Future>(self, time: Option<Ms>, future: F) -> Option<F::Output> {
        match time {
            Some(time) => timeout(Duration::from_millis(time), future).await.ok(),
            None => Some(future.await),
        }
    }
}

/// Runs `run` on a runtime of its own with paused time. `seed` is for the jitter of contestants; traces never draw from it.
pub(crate) fn virtual_time<F: Future>(seed: u64, run: impl FnOnce(Clock) -> F) -> F::Output {
    seawall::seed(seed ^ 0x6a09_e667_f3bc_c908);
    let origin = origin();
    // Windows of time begin at multiples of their length since the first reading of seawall's clock. All runs begin at the same place in
    // them, or results would differ from run to run.
    aligned(origin).block_on(async move {
        // Whole milliseconds, or each timer would fire one millisecond late.
        let hours = origin.elapsed().as_secs() / HOUR.as_secs() + 1;
        let ahead = (origin + HOUR * hours as u32).duration_since(Instant::now());
        tokio::time::advance(Duration::from_millis(ahead.as_millis() as u64 + 1)).await;
        run(Clock { start: Instant::now() }).await
    })
}

const HOUR: Duration = Duration::from_secs(3600);

/// The first reading of seawall's clock in this process.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        paused().block_on(async {
            let budget = seawall::retry::Budget::new(Default::default());
            _ = budget.map(|budget| budget.balance());
            Instant::now()
        })
    })
}

/// A runtime whose timers tick within ten microseconds after whole milliseconds since `origin`. It takes about a hundred trials, which are
/// some milliseconds.
fn aligned(origin: Instant) -> Runtime {
    loop {
        let runtime = paused();
        let since = runtime.block_on(async { Instant::now().duration_since(origin) });
        if since.subsec_nanos() % 1_000_000 < 10_000 {
            return runtime;
        }
    }
}

fn paused() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a current-thread runtime with timers")
}
