use std::time::Duration;

use super::*;
use crate::algorithm::limit::Limit;
use crate::algorithm::limit::plant::{Class, Noise, Plant, Seen, Server};

mod bounds;
mod changes;
mod nonsense;
mod stages;
mod steady;

const MS: Duration = Duration::from_millis(1);

fn law(start: usize) -> Limit {
    Limit::TwoPoint(TwoPoint::new(Bounds { start, ..Bounds::default() }))
}

/// The bar: the service is used, and its calls hardly wait inside it.
#[track_caller]
fn assert_good(seen: Seen) {
    assert_between(seen, 0.9, 1.25);
}

#[track_caller]
fn assert_between(seen: Seen, utilisation: f64, inflation: f64) {
    assert!(seen.utilisation >= utilisation && seen.inflation <= inflation, "{seen:?}");
}

/// As many calls in flight as the limit allows, first in, first out.
struct Closed {
    limit: Limit,
    in_flight: std::collections::VecDeque<Ticket>,
}

impl Closed {
    fn new(bounds: Bounds) -> Self {
        Self { limit: Limit::TwoPoint(TwoPoint::new(bounds)), in_flight: std::collections::VecDeque::new() }
    }

    /// A quiet time: each of these calls is alone.
    fn rest(&mut self, calls: u32, took: Duration) {
        self.in_flight.clear();
        for _ in 0..calls {
            let ticket = self.limit.begin(1);
            let _ = self.limit.end(ticket, took, Outcome::Good);
        }
    }

    /// The same, and each has time enough.
    fn rest_with_time(&mut self, calls: u32) {
        for _ in 0..calls {
            self.limit.note_time(false);
            self.rest(1, 10 * MS);
        }
    }

    /// Calls that take `time(limit)`, while too many are short of time. Returns the lowest and the highest limit.
    fn run_overloaded(&mut self, calls: u32, time: impl Fn(usize) -> (Duration, Outcome)) -> (usize, usize) {
        let bounds = (0..calls).map(|_| {
            self.limit.note_time(true);
            self.run(1, &time)
        });
        bounds.fold((usize::MAX, 0), |(least, most), (one, other)| (least.min(one), most.max(other)))
    }

    fn fill(&mut self) {
        while self.in_flight.len() < self.limit.limit() {
            let ticket = self.limit.begin(self.in_flight.len() + 1);
            self.in_flight.push_back(ticket);
        }
    }

    /// The oldest call ends.
    fn end(&mut self, took: Duration, outcome: Outcome) {
        let ticket = self.in_flight.pop_front().expect("a call in flight");
        let _ = self.limit.end(ticket, took, outcome);
    }

    /// Calls that take `time(limit)`. Returns the lowest and the highest limit.
    fn run(&mut self, calls: u32, time: impl Fn(usize) -> (Duration, Outcome)) -> (usize, usize) {
        let (mut least, mut most) = (usize::MAX, 0);
        for _ in 0..calls {
            self.fill();
            let limit = self.limit.limit();
            (least, most) = (least.min(limit), most.max(limit));
            let (took, outcome) = time(limit);
            self.end(took, outcome);
        }
        (least, most)
    }
}

/// Ten slots, 10 ms each.
fn ten_slots(limit: usize) -> (Duration, Outcome) {
    (MS * (limit as u32).max(10), Outcome::Good)
}
