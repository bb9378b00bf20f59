//! How the rows are measured.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use tokio::runtime::{Builder, Runtime};

use seawall_benches::calls::Calls;

use crate::rows::{Case, Row};

pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// How long one row is measured in one round.
    pub(crate) slice: Duration,
}

/// The result for one row.
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    pub(crate) case: Case,
    /// Nanoseconds a call beyond the bare service; for the bare service itself, the whole time.
    pub(crate) ns: Spread,
    pub(crate) allocations: f64,
    /// The name of tower's counterpart, and the ratio of this row's cost to it.
    pub(crate) tower: Option<(&'static str, Spread)>,
}

/// The median and the tails over many rounds.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) p10: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
}

impl Spread {
    fn of(samples: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        Self { p10: at(0.1), median: at(0.5), p90: at(0.9) }
    }
}

const WARM_UP: u64 = 10_000;
const COUNTED: u64 = 2_000;

/// The measurements of each row: nanoseconds a call in each round, and allocations a call.
pub(crate) struct Seen {
    pub(crate) samples: Vec<Vec<f64>>,
    pub(crate) allocations: Vec<f64>,
}

impl Seen {
    /// How much more a call of one row costs than a call of another, round by round.
    pub(crate) fn difference(&self, more: usize, less: usize) -> Spread {
        Spread::of(self.samples[more].iter().zip(&self.samples[less]).map(|(more, less)| more - less))
    }
}

/// Measures the rows in turn, round after round.
pub(crate) fn look_at(runtimes: &Runtimes, rows: &mut [Row], plan: &Plan) -> Seen {
    let calls: Vec<u64> = rows.iter_mut().map(|row| calibrate(runtimes, row, plan.slice)).collect();
    let allocations: Vec<f64> = rows.iter_mut().map(|row| allocations(runtimes, row)).collect();
    let mut samples: Vec<Vec<f64>> = vec![Vec::with_capacity(plan.rounds); rows.len()];
    for _ in 0..plan.rounds {
        for ((row, samples), calls) in rows.iter_mut().zip(&mut samples).zip(&calls) {
            samples.push(time(runtimes, row, *calls).as_nanos() as f64 / *calls as f64);
        }
    }
    Seen { samples, allocations }
}

pub(crate) fn measure(runtimes: &Runtimes, mut rows: Vec<Row>, plan: &Plan) -> Vec<Cost> {
    let Seen { samples, allocations } = look_at(runtimes, &mut rows, plan);
    let find = |name: &str, case: Case| rows.iter().position(|row| row.name == name && row.case == case);
    let net = |index: usize, round: usize| {
        let bare = find(crate::rows::BARE, rows[index].case).filter(|bare| *bare != index);
        samples[index][round] - bare.map_or(0.0, |bare| samples[bare][round])
    };
    let cost = |(index, row): (usize, &Row)| {
        let rounds = 0..plan.rounds;
        let tower = row.counterpart.and_then(|name| Some((name, find(name, row.case)?)));
        Cost {
            name: row.name,
            case: row.case,
            ns: Spread::of(rounds.clone().map(|round| net(index, round))),
            allocations: allocations[index],
            tower: tower.map(|(name, tower)| {
                (name, Spread::of(rounds.map(|round| net(index, round) / net(tower, round).max(0.1))))
            }),
        }
    };
    rows.iter().enumerate().map(cost).collect()
}

/// Single callers run on the first, several callers on the second.
pub(crate) struct Runtimes {
    current_thread: Runtime,
    multi_thread: Runtime,
}

impl Runtimes {
    pub(crate) fn new() -> Self {
        let current_thread = Builder::new_current_thread().enable_all().build();
        let multi_thread = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { current_thread: current_thread.expect("a runtime"), multi_thread: multi_thread.expect("a runtime") }
    }

    /// Some of tower's layers can only be made on a runtime.
    pub(crate) fn inside<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = self.current_thread.enter();
        make()
    }
}

/// The time that each caller takes for its calls, on average.
fn time(runtimes: &Runtimes, row: &mut Row, calls: u64) -> Duration {
    if let [caller] = &mut row.callers[..] {
        return runtimes.current_thread.block_on(async {
            // The time driver runs before each slice, not within it.
            tokio::task::yield_now().await;
            let start = processor_time();
            caller.make(calls).await;
            processor_time() - start
        });
    }
    let callers = row.callers.len();
    let start = Barrier::new(callers);
    let run = |caller: &mut Box<dyn Calls>| {
        start.wait();
        // By wall-clock time, which includes waits for locks.
        let start = Instant::now();
        runtimes.multi_thread.block_on(caller.make(calls));
        start.elapsed()
    };
    let total: Duration = thread::scope(|scope| {
        let threads: Vec<_> = row.callers.iter_mut().map(|caller| scope.spawn(|| run(caller))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no call fails")).sum()
    });
    total / callers as u32
}

/// How long this thread has run so far. A single caller never sleeps, and the time of other processes must not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How many calls fill a slice.
fn calibrate(runtimes: &Runtimes, row: &mut Row, slice: Duration) -> u64 {
    let warm_up = time(runtimes, row, WARM_UP);
    let a_call = time(runtimes, row, WARM_UP).min(warm_up).as_secs_f64() / WARM_UP as f64;
    (slice.as_secs_f64() / a_call) as u64 + 1
}

/// Allocations a call, without the allocations that a batch makes once.
fn allocations(runtimes: &Runtimes, row: &mut Row) -> f64 {
    let mut count = |calls| {
        let runtime = &runtimes.current_thread;
        let counted = allocation_counter::measure(|| runtime.block_on(row.callers[0].make(calls)));
        counted.count_total as f64
    };
    let once = count(0);
    (count(COUNTED) - once) / COUNTED as f64
}
