//! A model of a service under a limit.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::{Limit, Outcome, Ticket};

/// The number of some kind of call among others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) share: f64,
    /// Seconds.
    pub(crate) base: f64,
    /// Whether it needs a slot.
    pub(crate) slots: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    /// The time of a call is proportional to the calls in flight when it begins, beyond the capacity.
    Sharing,
    /// First come, first served.
    Queue,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Noise {
    Lognormal(f64),
    Exponential,
    /// One call in ten takes that many times as long.
    Bimodal(f64),
}

#[derive(Clone, Debug)]
pub(crate) struct Plant {
    pub(crate) server: Server,
    pub(crate) noise: Noise,
    /// One call in a hundred takes a hundred times as long.
    pub(crate) outliers: bool,
    pub(crate) classes: Vec<Class>,
    /// From these seconds on: the capacity, and a factor of the times.
    pub(crate) steps: Vec<(f64, usize, f64)>,
    /// Calls per second; without end if infinite.
    pub(crate) arrivals: f64,
    /// Calls are cut after so many seconds.
    pub(crate) cut: f64,
    pub(crate) seed: u64,
}

/// What was seen in a span of time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) utilisation: f64,
    /// Time of calls over what they would take alone.
    pub(crate) inflation: f64,
    /// The same of the first class.
    pub(crate) first_class: f64,
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// The mean limit, as calls see it.
    pub(crate) limit: f64,
    pub(crate) calls: u64,
    pub(crate) cut: u64,
    /// The seconds after the start of the span at which a tenth of a second first had nine tenths of the capacity.
    pub(crate) recovered: f64,
}

#[derive(Clone, Copy)]
struct Call {
    ticket: Ticket,
    began: f64,
    /// The time that it would take alone.
    alone: f64,
    class: usize,
    cut: bool,
}

struct Run<'a> {
    plant: &'a Plant,
    random: fastrand::Rng,
    limit: &'a mut Limit,
    /// The end of each call, in nanoseconds, and its number.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    calls: Vec<Option<Call>>,
    unused: Vec<usize>,
    in_flight: usize,
    in_slots: usize,
    /// When each slot becomes free.
    slots: BinaryHeap<Reverse<u64>>,
    now: f64,
}

impl Plant {
    pub(crate) fn new(capacity: usize, noise: Noise, seed: u64) -> Self {
        Self {
            server: Server::Sharing,
            noise,
            outliers: false,
            classes: vec![Class { share: 1.0, base: 0.01, slots: true }],
            steps: vec![(0.0, capacity, 1.0)],
            arrivals: f64::INFINITY,
            cut: f64::INFINITY,
            seed,
        }
    }

    pub(crate) fn then(mut self, at: f64, capacity: usize, factor: f64) -> Self {
        self.steps.push((at, capacity, factor));
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn at(&self, now: f64) -> (usize, f64) {
        let step = self.steps.iter().rev().find(|step| step.0 <= now).expect("a step at zero");
        (step.1, step.2)
    }

    /// Runs until the end of the last span.
    pub(crate) fn run<const N: usize>(&self, limit: &mut Limit, spans: [(f64, f64); N]) -> [Seen; N] {
        let mut run = Run {
            plant: self,
            random: fastrand::Rng::with_seed(self.seed),
            limit,
            ends: BinaryHeap::new(),
            calls: Vec::new(),
            unused: Vec::new(),
            in_flight: 0,
            in_slots: 0,
            slots: BinaryHeap::new(),
            now: 0.0,
        };
        run.all(spans)
    }
}

impl Run<'_> {
    fn all<const N: usize>(&mut self, spans: [(f64, f64); N]) -> [Seen; N] {
        let end = spans.iter().map(|span| span.1).fold(0.0, f64::max);
        let mut seen = spans.map(|_| Seen { least: usize::MAX, ..Seen::default() });
        let (mut work, mut alone, mut first_alone) = ([0.0; N], [0.0; N], [0.0; N]);
        let mut recent: VecDeque<(f64, f64)> = VecDeque::new();
        let mut recent_work = 0.0;
        let (mut waiting, mut next_arrival) =
            (0usize, if self.plant.arrivals.is_finite() { 0.0 } else { f64::INFINITY });
        while self.now < end {
            while self.in_flight < self.limit.limit() && (waiting > 0 || next_arrival == f64::INFINITY) {
                waiting = waiting.saturating_sub(1);
                self.begin();
            }
            let next = self.ends.peek().map_or(f64::INFINITY, |Reverse((end, _))| *end as f64 / 1e9);
            if next_arrival < next {
                self.now = next_arrival;
                next_arrival += -(1.0 - self.random.f64()).ln() / self.plant.arrivals;
                waiting = (waiting + 1).min(self.limit.limit());
                continue;
            }
            let call = self.end();
            let (capacity, factor) = self.plant.at(self.now);
            let took = self.now - call.began;
            let class = self.plant.classes[call.class];
            // The share of all slots' time that the call needed.
            let worth = if class.slots && !call.cut { call.alone / capacity as f64 } else { 0.0 };
            recent.push_back((self.now, worth));
            recent_work += worth;
            while recent.front().is_some_and(|(at, _)| *at < self.now - 10.0 * factor * class.base) {
                recent_work -= recent.pop_front().expect("not empty").1;
            }
            for (n, (from, to)) in spans.iter().enumerate() {
                if self.now < *from || self.now >= *to {
                    continue;
                }
                let seen = &mut seen[n];
                seen.calls += 1;
                seen.cut += u64::from(call.cut);
                work[n] += worth;
                seen.inflation += took;
                alone[n] += call.alone;
                if call.class == 0 {
                    seen.first_class += took;
                    first_alone[n] += call.alone;
                }
                seen.limit += self.limit.limit() as f64;
                seen.least = seen.least.min(self.limit.limit());
                seen.most = seen.most.max(self.limit.limit());
                if seen.recovered == 0.0 && recent_work >= 0.9 * 10.0 * factor * class.base {
                    seen.recovered = self.now - from;
                }
            }
        }
        for (n, (from, to)) in spans.iter().enumerate() {
            seen[n].utilisation = work[n] / (to - from);
            seen[n].limit /= seen[n].calls as f64;
            seen[n].inflation /= alone[n];
            seen[n].first_class /= first_alone[n];
        }
        seen
    }

    fn class(&mut self) -> usize {
        let mut left = self.random.f64();
        let classes = &self.plant.classes;
        classes
            .iter()
            .position(|class| {
                left -= class.share;
                left < 0.0
            })
            .unwrap_or(classes.len() - 1)
    }

    /// A factor of the mean one.
    fn noise(&mut self) -> f64 {
        let noise = match self.plant.noise {
            Noise::Lognormal(deviation) => {
                let (u, v) = (1.0 - self.random.f64(), self.random.f64());
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                (deviation * normal - deviation * deviation / 2.0).exp()
            }
            Noise::Exponential => -(1.0 - self.random.f64()).ln(),
            Noise::Bimodal(factor) => {
                let mean = 0.9 + 0.1 * factor;
                (if self.random.f64() < 0.1 { factor } else { 1.0 }) / mean
            }
        };
        if self.plant.outliers && self.random.f64() < 0.01 { 100.0 * noise } else { noise }
    }

    fn begin(&mut self) {
        let class = self.class();
        let Class { base, slots, .. } = self.plant.classes[class];
        let (capacity, factor) = self.plant.at(self.now);
        let alone = base * factor * self.noise();
        self.in_flight += 1;
        self.in_slots += usize::from(slots);
        let mut took = match self.plant.server {
            _ if !slots => alone,
            Server::Sharing => alone * (self.in_slots as f64 / capacity as f64).max(1.0),
            Server::Queue => {
                while self.slots.len() > capacity {
                    self.slots.pop();
                }
                let now = (self.now * 1e9) as u64;
                let free = if self.slots.len() < capacity { now } else { self.slots.pop().expect("a slot").0.max(now) };
                let end = free as f64 / 1e9 + alone;
                self.slots.push(Reverse((end * 1e9) as u64));
                end - self.now
            }
        };
        let cut = took > self.plant.cut;
        took = took.min(self.plant.cut);
        let ticket = self.limit.begin(self.in_flight);
        let call = Call { ticket, began: self.now, alone, class, cut };
        let number = self.unused.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[number] = Some(call);
        self.ends.push(Reverse((((self.now + took) * 1e9) as u64, number)));
    }

    fn end(&mut self) -> Call {
        let Reverse((end, number)) = self.ends.pop().expect("a call in flight");
        self.now = end as f64 / 1e9;
        let call = self.calls[number].take().expect("in flight");
        self.unused.push(number);
        self.in_flight -= 1;
        self.in_slots -= usize::from(self.plant.classes[call.class].slots);
        let outcome = if call.cut { Outcome::Late } else { Outcome::Good };
        let took = Duration::from_secs_f64((self.now - call.began).max(0.0));
        let before = self.limit.limit();
        let changed = self.limit.end(call.ticket, took, outcome);
        assert_eq!(changed, self.limit.limit() != before);
        call
    }
}
