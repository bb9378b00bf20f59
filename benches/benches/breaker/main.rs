//! What the state of a closed circuit breaker costs a call: plain fields under a mutex beside packed atomic words.
//!
//! ```text
//! cargo bench -p seawall-benches --bench breaker [-- --quick]
//! ```
//!
//! Both contenders count the same on the happy path: the call in flight with its age, its outcome in a window of ten
//! buckets, the median latency, and the streak. [`plain`] has the layout of the library. [`words`] is the design that
//! the library had before: it takes no lock, and updates three packed words. The figures decide between them: packed
//! words have to win a tenth of a call of a client stack, which takes about 650 ns.
//!
//! In the case `in_a_stack`, each call runs as much arithmetic as the rest of a stack takes, inside the call and after
//! it. In the case `back_to_back` it runs none, which is the worst contention. All threads share one breaker. The
//! rounds of all rows alternate, so that other load on the machine affects them alike, and the same arithmetic without
//! a breaker is taken off.
//!
//! `cpu` is the processor time of a call, the median over all rounds: it includes spinning and the system calls of a
//! lock, but not the time that a thread sleeps. `wall` is the time that passes on a core, with the waits for the lock:
//! of all rounds the tenth percentile, because only in quiet rounds all threads of a busy machine run at the same time.
//! Four threads on two cores also preempt each other under the lock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark reads the real clock")]

mod plain;
mod words;

use std::env;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The admission and the records of one call.
trait Breaker: Sync {
    /// The place of a call in flight.
    type Call;
    fn admit(&self, now: u64) -> Self::Call;
    fn answered(&self, call: &Self::Call);
    fn record(&self, call: Self::Call, took: u64, now: u64);
}

/// The arithmetic alone.
struct Nothing;

impl Breaker for Nothing {
    type Call = ();
    fn admit(&self, _: u64) {}
    fn answered(&self, (): &()) {}
    fn record(&self, (): (), _: u64, _: u64) {}
}

const THREADS: [usize; 3] = [1, 2, 4];
/// Nanoseconds of arithmetic inside a call, and after it.
const CASES: [(&str, u64, u64); 2] = [("in_a_stack", 400, 250), ("back_to_back", 0, 0)];
/// A call of a client stack, in nanoseconds.
const STACK: u64 = 650;
/// Short, so that some slices pass without a preemption by other processes.
const SLICE: Duration = Duration::from_micros(500);
/// Longer than the scheduler's quantum, for more threads than cores.
const LONG_SLICE: Duration = Duration::from_millis(10);

/// Nanoseconds a call in each round.
struct Samples {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

fn main() {
    let rounds = if env::args().any(|argument| argument == "--quick") { 100 } else { 1000 };
    // Steps of arithmetic a nanosecond.
    let steps = 1e6 / run(&Nothing, 1, [1_000_000, 0], 10, 0).0;
    for (case, inside, after) in CASES {
        let work = [inside, after].map(|ns| (ns as f64 * steps) as u64);
        for threads in THREADS {
            let slice = if threads > cores() { LONG_SLICE } else { SLICE };
            let calls = slice.as_nanos() as u64 / (inside + after + 50);
            let rounds = if threads > cores() { rounds / 5 } else { rounds };
            let [nothing, plain, words] = measure(threads, work, calls, rounds);
            let mut cpu = [0.0; 2];
            for (n, (name, samples)) in [("plain", plain), ("words", words)].into_iter().enumerate() {
                cpu[n] = percentile(&samples.cpu, 0.5) - percentile(&nothing.cpu, 0.5);
                let wall = percentile(&samples.wall, 0.1) - percentile(&nothing.wall, 0.1);
                println!("figure breaker.{name}.{case}.{threads}.cpu_ns {:.1}", cpu[n]);
                println!("figure breaker.{name}.{case}.{threads}.wall_ns {wall:.1}");
            }
            let win = (cpu[0] - cpu[1]) / STACK as f64 * 100.0;
            println!("figure breaker.words_win.{case}.{threads}.percent_of_a_stack {win:.1}");
        }
    }
}

fn measure(threads: usize, work: [u64; 2], calls: u64, rounds: usize) -> [Samples; 3] {
    let mut samples = [const { Samples { cpu: Vec::new(), wall: Vec::new() } }; 3];
    let (plain, words) = (plain::Plain::default(), words::Words::default());
    for round in 1..=rounds as u64 {
        let start = round << 40;
        for (samples, (cpu, wall)) in samples.iter_mut().zip([
            run(&Nothing, threads, work, calls, start),
            run(&plain, threads, work, calls, start),
            run(&words, threads, work, calls, start),
        ]) {
            samples.cpu.push(cpu);
            samples.wall.push(wall);
        }
    }
    samples
}

/// The nanoseconds that a call takes of a thread's processor time, and of a core's wall-clock time.
fn run<B: Breaker>(breaker: &B, threads: usize, work: [u64; 2], calls: u64, start: u64) -> (f64, f64) {
    let waiting = AtomicUsize::new(threads);
    let caller = || {
        // Spins, so that all start within a microsecond.
        waiting.fetch_sub(1, Ordering::AcqRel);
        while waiting.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        let (began, cpu) = (Instant::now(), processor_time());
        (0..calls).for_each(|n| call(breaker, work, start + n * STACK));
        (processor_time() - cpu, began, Instant::now())
    };
    let times: Vec<(Duration, Instant, Instant)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..threads).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    let cpu: Duration = times.iter().map(|(cpu, ..)| cpu).sum();
    let began = times.iter().map(|(_, began, _)| *began).min().expect("a thread");
    let ended = times.iter().map(|(.., ended)| *ended).max().expect("a thread");
    let total = (calls * threads as u64) as f64;
    let wall = (ended - began).as_nanos() as f64 * cores().min(threads) as f64;
    (cpu.as_nanos() as f64 / total, wall / total)
}

fn call<B: Breaker>(breaker: &B, [inside, after]: [u64; 2], now: u64) {
    let call = breaker.admit(black_box(now));
    work(inside);
    breaker.answered(&call);
    breaker.record(call, black_box(STACK), now);
    work(after);
}

/// Arithmetic that touches no memory.
fn work(steps: u64) {
    let mut number = black_box(steps);
    for _ in 0..steps {
        number = black_box(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7));
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The time of this thread, which excludes other processes.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
