//! The law around a runtime: a queue of ready tasks that is served in order, in which a probe waits among the calls.

use std::collections::VecDeque;

use super::*;

/// Where calls are admitted: when they come, or when their task is polled, after its wait.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decided {
    OnArrival,
    WhenPolled,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Probe,
    Call,
    Admitted,
}

/// Seconds since the start. A call takes 10 ms of the whole runtime on average.
struct Runtime {
    decided: Decided,
    shedder: LagShedder,
    sheds: bool,
    ready: VecDeque<(f64, Task)>,
    now: f64,
    next_call: f64,
    probe_due: f64,
    has_probe: bool,
    /// Timers are looked at when no task is ready, and after so many tasks.
    timers_after: u32,
    polls: u32,
    random: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    offered: u32,
    served: u32,
    busy: f64,
    latency_sum: f64,
    worst_latency: f64,
    least_admitted: f64,
    most_admitted: f64,
}

const CALL: f64 = 0.01;
const REFUSAL: f64 = 20e-6;

impl Runtime {
    fn new(decided: Decided, timers_after: u32) -> Self {
        Self {
            decided,
            timers_after,
            shedder: LagShedder::default(),
            sheds: true,
            ready: VecDeque::new(),
            now: 0.0,
            next_call: 0.0,
            probe_due: 0.05,
            has_probe: false,
            polls: 0,
            random: 1,
        }
    }

    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn admits(&mut self, now: f64) -> bool {
        let (now, due) = (instant(now), instant(self.probe_due));
        if now.since(due) > BOUND {
            self.shedder.overdue(BOUND, now, due);
        }
        let chance = self.random();
        !self.sheds || self.shedder.admit(Priority::Normal, || chance).is_ok()
    }

    /// Makes what is ready by now wait, in order.
    fn arrive(&mut self, load: f64, span: &mut Span) {
        loop {
            let (call, probe) = (self.next_call, self.probe_due);
            let looks = self.polls >= self.timers_after || self.ready.is_empty();
            if !self.has_probe && looks && (self.timers_after > 1 || probe <= call) && probe <= self.now {
                self.polls = 0;
                self.ready.push_back((probe, Task::Probe));
                self.has_probe = true;
            } else if call <= self.now {
                self.next_call += -(1.0 - self.random()).ln() * CALL / load;
                span.offered += 1;
                if self.decided == Decided::WhenPolled {
                    self.ready.push_back((call, Task::Call));
                } else if self.admits(call) {
                    self.ready.push_back((call, Task::Admitted));
                }
            } else {
                return;
            }
        }
    }

    /// Runs for so many seconds, with `load` times as many calls as can be served.
    fn run(&mut self, seconds: f64, load: f64) -> Span {
        let mut span = Span { least_admitted: 1.0, ..Span::default() };
        let end = self.now + seconds;
        while self.now < end {
            self.arrive(load, &mut span);
            let Some((ready, task)) = self.ready.pop_front() else {
                self.now = self.next_call.min(self.probe_due);
                continue;
            };
            self.polls += 1;
            let serves = match task {
                Task::Probe => {
                    self.shedder.polled(BOUND, instant(self.now), instant(ready));
                    self.has_probe = false;
                    self.probe_due = self.now + 0.05;
                    false
                }
                Task::Call => self.admits(self.now),
                Task::Admitted => true,
            };
            if serves {
                let took = CALL * (0.5 + self.random());
                self.now += took;
                span.busy += took;
                span.served += 1;
                span.latency_sum += self.now - ready;
                span.worst_latency = span.worst_latency.max(self.now - ready);
            } else {
                self.now += REFUSAL;
            }
            let admitted = 1.0 - self.shedder.share();
            span.least_admitted = span.least_admitted.min(admitted);
            span.most_admitted = span.most_admitted.max(admitted);
        }
        span.busy /= seconds;
        span
    }
}

fn instant(seconds: f64) -> Instant {
    START + Duration::from_secs_f64(seconds)
}

/// All runtimes of these tests, after some seconds at half of their capacity.
fn at_half_load() -> impl Iterator<Item = ((Decided, u32), Runtime)> {
    let decided = [Decided::OnArrival, Decided::WhenPolled];
    let all = decided.into_iter().flat_map(|decided| [(decided, 1), (decided, 61)]);
    all.map(|(decided, timers_after)| {
        let mut runtime = Runtime::new(decided, timers_after);
        runtime.run(5.0, 0.5);
        ((decided, timers_after), runtime)
    })
}

#[test]
fn overload_is_served_at_capacity_with_a_bounded_lag() {
    for load in [1.2, 2.0, 5.0, 10.0] {
        for (decided, mut runtime) in at_half_load() {
            let first = runtime.run(30.0, load);
            assert!(first.worst_latency < load, "{decided:?} {load}: {first:?}");
            let span = runtime.run(60.0, load);
            let mean = span.latency_sum / f64::from(span.served);
            assert!(mean < 3.0 * BOUND.as_secs_f64() && span.worst_latency < 0.75, "{decided:?} {load}: {span:?}");
            assert!(span.busy > 0.83, "{decided:?} {load}: {span:?}");
        }
    }
}

/// The share stays near to what the capacity allows: it is no cycle of all and nothing.
#[test]
fn admitted_share_stays_near_the_capacity() {
    for load in [1.2, 2.0, 5.0, 10.0] {
        for (decided, mut runtime) in at_half_load() {
            runtime.run(30.0, load);
            let span = runtime.run(60.0, load);
            let admitted_load = load * span.least_admitted..=load * span.most_admitted;
            assert!(*admitted_load.start() > 0.25 && *admitted_load.end() < 1.8, "{decided:?} {load}: {span:?}");
        }
    }
}

#[test]
fn latency_without_refusals_grows_without_bound() {
    for (decided, mut runtime) in at_half_load() {
        runtime.sheds = false;
        let span = runtime.run(60.0, 2.0);
        assert!(span.worst_latency > 25.0, "{decided:?}: {span:?}");
    }
}

#[test]
fn all_calls_are_admitted_soon_after_the_overload() {
    for load in [2.0, 10.0, 20.0] {
        for (decided, mut runtime) in at_half_load() {
            runtime.run(60.0, load);
            runtime.run(15.0, 0.5);
            let span = runtime.run(30.0, 0.5);
            assert!(span.least_admitted >= 1.0, "{decided:?} {load}: {span:?}");
        }
    }
}

#[test]
fn runtime_with_room_refuses_next_to_nothing() {
    for (load, admitted) in [(0.3, 1.0), (0.7, 0.98), (0.9, 0.88)] {
        for (decided, mut runtime) in at_half_load() {
            let span = runtime.run(120.0, load);
            // Some calls are still in the queue.
            let share = f64::from(span.served + 30) / f64::from(span.offered);
            assert!(share > admitted, "{decided:?} {load}: {span:?}");
        }
    }
}
