//! A simulated dependency under steady traffic: what the breaker detects, how soon, and what it tolerates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// An open loop: a rate of calls, each answered after `latency(the time, a random number)` if at all.
struct Traffic<L> {
    rig: Rig,
    start: Instant,
    in_flight: BinaryHeap<Reverse<(Instant, u64)>>,
    passes: std::collections::HashMap<u64, (Pass, Instant)>,
    limit: usize,
    latency: L,
    random: fastrand::Rng,
    refused: u64,
    next_look: Option<Instant>,
}

/// When and how a call ends.
enum Answer {
    Good(Duration),
    Never,
    GivenUp(Duration),
}

impl<L: Fn(Duration, f64) -> Answer> Traffic<L> {
    fn new(config: CircuitBreakerConfig, latency: L) -> Self {
        let rig = Rig::new(config);
        Self {
            start: rig.now,
            rig,
            in_flight: BinaryHeap::new(),
            passes: Default::default(),
            limit: usize::MAX,
            latency,
            random: fastrand::Rng::with_seed(7),
            refused: 0,
            next_look: None,
        }
    }

    fn elapsed(&self) -> Duration {
        self.rig.now.since(self.start)
    }

    /// Runs until the time, or until the first refusal, whose time it returns.
    fn run(&mut self, rate: u32, until: Duration) -> Option<Duration> {
        for id in 0.. {
            let id = id + (self.elapsed().as_nanos() as u64) * 100_000;
            self.rig.wait(SECOND / rate);
            if self.elapsed() > until {
                return None;
            }
            self.settle_due();
            self.look();
            if self.passes.len() >= self.limit {
                continue;
            }
            let Some(pass) = self.rig.pass() else {
                self.refused += 1;
                return Some(self.elapsed());
            };
            let now = self.rig.now;
            match (self.latency)(self.elapsed(), self.random.f64()) {
                Answer::Good(after) | Answer::GivenUp(after) => self.in_flight.push(Reverse((now + after, id))),
                Answer::Never => {}
            }
            self.passes.insert(id, (pass, now));
        }
        None
    }

    /// As the reaper does, which visits the breaker while calls are in flight.
    fn look(&mut self) {
        let now = self.rig.now;
        if self.next_look.is_none_or(|next| next <= now) {
            self.next_look = self.rig.breaker.check(now);
        }
    }

    fn settle_due(&mut self) {
        let now = self.rig.now;
        while let Some(Reverse((at, id))) = self.in_flight.pop() {
            if at > now {
                self.in_flight.push(Reverse((at, id)));
                break;
            }
            let Some((pass, since)) = self.passes.remove(&id) else { continue };
            match (self.latency)(since.since(self.start), 0.5) {
                Answer::GivenUp(after) => {
                    let evidence = self.rig.without_answer(Ending::Deadline, after, after);
                    self.rig.breaker.settle(pass, evidence, at);
                }
                _ => self.rig.breaker.settle(pass, Evidence::Good(at.since(since)), at),
            }
        }
    }
}

/// Exponential, with that mean.
fn about(mean: Duration, chance: f64) -> Answer {
    Answer::Good(mean.mul_f64(-(1.0 - chance).ln()))
}

/// After a minute of successes no call returns: no call times out or is abandoned.
#[test]
fn hang_is_detected_from_calls_in_flight() {
    for rate in [20, 100, 1000] {
        let hangs = 60 * SECOND;
        let mut traffic =
            Traffic::new(default(), |at, chance| if at < hangs { about(20 * MS, chance) } else { Answer::Never });
        let refused = traffic.run(rate, 120 * SECOND).expect("it opens");
        assert!(refused > hangs && refused < hangs + 2 * SECOND, "{rate}/s: {:?}", refused.saturating_sub(hangs));
    }
}

/// The same with few calls in flight: an outer bulkhead of eight, and callers with a deadline of 1.2 s.
#[test]
fn hang_behind_a_small_bulkhead_is_detected() {
    let hangs = 60 * SECOND;
    let mut traffic =
        Traffic::new(
            default(),
            |at, chance| {
                if at < hangs { about(20 * MS, chance) } else { Answer::GivenUp(1200 * MS) }
            },
        );
    traffic.limit = 8;
    let refused = traffic.run(100, 120 * SECOND).expect("it opens");
    assert!(refused > hangs && refused < hangs + 3 * SECOND, "{:?}", refused.saturating_sub(hangs));
}

/// Five times slower for ten seconds, as under load: calls are answered, so it stays closed, then and afterwards.
#[test]
fn fivefold_slowdown_does_not_open() {
    for (rate, usual) in [(20, 20 * MS), (140, 20 * MS), (1000, 2 * MS), (100, 300 * MS), (5, 3 * SECOND)] {
        let mut traffic = Traffic::new(default(), |at, chance| {
            let slower = (30 * SECOND..40 * SECOND).contains(&at);
            about(if slower { 5 * usual } else { usual }, chance)
        });
        assert_eq!(traffic.run(rate, 60 * SECOND), None, "{rate}/s of {usual:?}");
    }
}

/// Suddenly and permanently a hundred times slower: the breaker may open, but has to recover.
#[test]
fn permanent_slowdown_recovers() {
    let mut traffic =
        Traffic::new(default(), |at, chance| about(if at < 30 * SECOND { 20 * MS } else { 2 * SECOND }, chance));
    while traffic.elapsed() < 200 * SECOND {
        let until = traffic.elapsed() + SECOND;
        traffic.run(100, until);
    }
    assert_eq!(traffic.rig.state(), Closed);
    let before = traffic.refused;
    while traffic.elapsed() < 300 * SECOND {
        let until = traffic.elapsed() + SECOND;
        traffic.run(100, until);
    }
    assert_eq!(traffic.refused, before, "and stays closed");
}

/// A cold start of a slow dependency: without earlier samples its latency is not held against it.
#[test]
fn slow_start_does_not_open() {
    let mut traffic = Traffic::new(default(), |_, chance| about(5 * SECOND, chance));
    assert_eq!(traffic.run(20, 60 * SECOND), None);
}

/// Our own process is suspended for three seconds. When it resumes, all responses have arrived and are unread.
#[test]
fn pause_of_our_own_process_does_not_open() {
    let mut rig = Rig::new(default());
    for _ in 0..1000 {
        rig.call(Evidence::Good(20 * MS));
        rig.wait(MS);
    }
    rig.wait(20 * SECOND);
    let in_flight: Vec<_> = (0..200).filter_map(|_| rig.pass()).collect();
    rig.wait(3 * SECOND);
    assert!(!rig.refused(), "the first event after the pause may be a new call");
    let median = 20 * MS;
    for pass in in_flight {
        rig.settle(pass, Evidence::Good(median));
    }
    for _ in 0..1000 {
        rig.wait(MS);
        rig.call(S);
    }
    assert_eq!(rig.state(), Closed);
}

/// A dependency that is down for 30 s under 100 calls a second, and comes back with some of its instances still dead: what a closed
/// breaker tolerates must close an open one within seconds.
#[test]
fn residual_failures_after_an_outage_close_within_seconds() {
    // residual failures in percent, the most runs of twenty that may take longer than 10 s, and the largest share refused on average
    for (percent, late, refused) in [(0, 0, 0.02), (10, 0, 0.02), (30, 0, 0.03), (40, 1, 0.03), (50, 1, 0.04)] {
        let runs: Vec<_> = (0..20).map(|seed| after_an_outage(default(), seed, f64::from(percent) / 100.0)).collect();
        let slow = runs.iter().filter(|run| run.0 > 10 * SECOND).count();
        let share = runs.iter().map(|run| run.1).sum::<f64>() / 20.0;
        assert!(slow <= late && share < refused, "{percent} %: {slow} late, {share} refused, {runs:?}");
    }
}

/// How long after the outage it was closed for the first time, and the share of the calls of five minutes after it that were refused
/// in the first of them.
fn after_an_outage(config: CircuitBreakerConfig, seed: u64, residual: f64) -> (Duration, f64) {
    let mut rig = Rig::new(CircuitBreakerConfig { jitter: 0.2, ..config });
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut in_flight, mut refused, mut closed_after) = (std::collections::VecDeque::new(), 0, None);
    let (outage, start) = (30 * SECOND, rig.now);
    for n in 0..9_000_u32 {
        rig.wait(10 * MS);
        let elapsed = rig.now.since(start);
        while in_flight.front().is_some_and(|(_, at): &(Pass, Instant)| *at <= rig.now) {
            let Some((pass, _)) = in_flight.pop_front() else { break };
            let fails = elapsed < outage || random.f64() < residual;
            rig.settle(pass, if fails { Evidence::Bad(20 * MS) } else { Evidence::Good(20 * MS) });
        }
        match rig.pass() {
            Some(pass) => in_flight.push_back((pass, rig.now + 20 * MS)),
            None => refused += u32::from(n >= 3000),
        }
        if elapsed > outage && closed_after.is_none() && rig.state() == Closed {
            closed_after = Some(elapsed.saturating_sub(outage));
        }
    }
    (closed_after.unwrap_or(Duration::MAX), f64::from(refused) / 30_000.0)
}
