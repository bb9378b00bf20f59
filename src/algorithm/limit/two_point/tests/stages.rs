//! A service with several stages: its knee is soft. With as many calls in flight as the stages need on average, chance leaves the narrowest
//! stage idle now and then.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::*;

/// The slots of each stage. A call needs 10 ms of each one on average, with exponential times.
const SLOTS: [usize; 3] = [10, 10, 3];
const MEAN: f64 = 0.01;

/// Calls pass the stages one after the other, and wait for a slot of each one, first come, first served.
struct Stages {
    limit: Limit,
    random: fastrand::Rng,
    /// The time that each call has when it is admitted.
    had: Duration,
    free: [usize; 3],
    queues: [VecDeque<Call>; 3],
    /// The end of each call at its stage, in nanoseconds.
    ends: BinaryHeap<Reverse<(u64, usize, usize)>>,
    calls: Vec<Call>,
    now: f64,
    in_flight: usize,
}

#[derive(Clone, Copy)]
struct Call {
    ticket: Ticket,
    began: f64,
}

impl Stages {
    fn new(had: Duration, seed: u64) -> Self {
        Self {
            limit: law(16),
            random: fastrand::Rng::with_seed(seed),
            had,
            free: SLOTS,
            queues: Default::default(),
            ends: BinaryHeap::new(),
            calls: Vec::new(),
            now: 0.0,
            in_flight: 0,
        }
    }

    /// Demand without end. Returns the share of the narrowest stage's capacity that was used from `from` to `until`, in seconds, and the mean
    /// time of a call.
    fn run(&mut self, from: f64, until: f64) -> (f64, f64) {
        let (mut ended, mut times) = (0, 0.0);
        while self.now < until {
            while self.in_flight < self.limit.limit() {
                self.in_flight += 1;
                let ticket = self.limit.begin(self.in_flight);
                self.enter(0, Call { ticket, began: self.now });
            }
            let Reverse((end, stage, number)) = self.ends.pop().expect("a call in flight");
            let call = self.calls[number];
            self.now = end as f64 / 1e9;
            self.free[stage] += 1;
            if let Some(next) = self.queues[stage].pop_front() {
                self.serve(stage, next);
            }
            if stage + 1 < SLOTS.len() {
                self.enter(stage + 1, call);
                continue;
            }
            self.in_flight -= 1;
            let took = Duration::from_secs_f64(self.now - call.began);
            // Of the calls that arrive meanwhile, a third is refused.
            if self.random.bool() {
                self.limit.note_time(true);
            }
            self.limit.note_time(is_short(took, self.had));
            self.limit.note_ample(is_ample(took, self.had));
            let _ = self.limit.end(call.ticket, took, Outcome::Good);
            if self.now >= from {
                ended += 1;
                times += took.as_secs_f64();
            }
        }
        (f64::from(ended) * MEAN / SLOTS[2] as f64 / (until - from), times / f64::from(ended))
    }

    fn enter(&mut self, stage: usize, call: Call) {
        if self.free[stage] > 0 { self.serve(stage, call) } else { self.queues[stage].push_back(call) }
    }

    fn serve(&mut self, stage: usize, call: Call) {
        self.free[stage] -= 1;
        self.calls.push(call);
        let end = self.now - MEAN * (1.0 - self.random.f64()).ln();
        self.ends.push(Reverse(((end * 1e9) as u64, stage, self.calls.len() - 1)));
    }
}

/// The means over several seeds.
fn mean_of(had: Duration) -> (f64, f64) {
    let runs = (201..207).map(|seed| Stages::new(had, seed).run(10.0, 60.0));
    let (used, took) = runs.fold((0.0, 0.0), |(used, took), run| (used + run.0 / 6.0, took + run.1 / 6.0));
    (used, took)
}

/// At the knee the narrowest stage is idle for a tenth of the time. Calls that have ample time need not be so quick.
#[test]
fn calls_with_ample_time_leave_no_stage_idle() {
    let ((used, took), (used_at_knee, quick)) = (mean_of(300 * MS), mean_of(100 * MS));
    assert!(used >= 0.95 && used >= used_at_knee + 0.015, "{used:.3} used, {used_at_knee:.3} at the knee");
    assert!(took <= 0.075 && quick <= 0.045, "{took:.4} s, {quick:.4} s without ample time");
}
