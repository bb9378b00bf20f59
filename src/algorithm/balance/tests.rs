//! A simulation of clients and endpoints in virtual time. Endpoints have slots and a queue; calls arrive at random.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::*;
use crate::ground::time::Instant;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How an endpoint answers a call that begins at this time: its service time, and whether the answer is good.
type Behaviour = fn(usize, Duration, &mut fastrand::Rng) -> (Duration, bool);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Policy {
    Random,
    LeastInFlight,
    Balanced,
}

#[derive(Clone, Copy)]
struct Setup {
    endpoints: usize,
    slots: usize,
    clients: usize,
    /// Of all clients, in calls a second.
    rate: f64,
    lasts: Duration,
    policy: Policy,
    behaviour: Behaviour,
    /// When the first endpoint started.
    started: Duration,
    /// The weight of the first endpoint. Others have 1.
    weight: f64,
    /// Whether answers report the calls in flight.
    reports: bool,
    seed: u64,
}

/// A call that has ended.
struct Ended {
    begun: Duration,
    endpoint: usize,
    latency: Duration,
    good: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival { client: usize },
    Answer { call: Call, good: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    client: usize,
    endpoint: usize,
    begun: Duration,
}

struct Client {
    table: AliasTable,
    set: SetLoad,
    loads: Vec<EndpointLoad>,
}

#[derive(Default)]
struct Server {
    busy: usize,
    queue: VecDeque<Call>,
}

struct Simulation {
    setup: Setup,
    random: fastrand::Rng,
    clients: Vec<Client>,
    servers: Vec<Server>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    ended: Vec<Ended>,
    order: u64,
}

fn at(time: Duration) -> Instant {
    Instant::from_nanos(1 << 40) + time
}

fn exponential(mean: Duration, random: &mut fastrand::Rng) -> Duration {
    mean.mul_f64(-(1.0 - random.f64()).ln())
}

fn healthy(_: usize, _: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
    (exponential(10 * MS, random), true)
}

impl Setup {
    /// Half of the slots are busy.
    fn new(behaviour: Behaviour) -> Self {
        Self {
            endpoints: 10,
            slots: 4,
            clients: 1,
            rate: 2000.0,
            lasts: 6 * SECOND,
            policy: Policy::Balanced,
            behaviour,
            started: Duration::ZERO,
            weight: 1.0,
            reports: false,
            seed: 7,
        }
    }

    fn run(self) -> Vec<Ended> {
        let client = |_| Client {
            table: AliasTable::new((0..self.endpoints).map(|endpoint| if endpoint == 0 { self.weight } else { 1.0 })),
            set: SetLoad::new(),
            loads: (0..self.endpoints)
                .map(|endpoint| {
                    let load = EndpointLoad::new();
                    load.set_weight(if endpoint == 0 { self.weight } else { 1.0 });
                    load
                })
                .collect(),
        };
        let mut simulation = Simulation {
            setup: self,
            random: fastrand::Rng::with_seed(self.seed),
            clients: (0..self.clients).map(client).collect(),
            servers: (0..self.endpoints).map(|_| Server::default()).collect(),
            events: BinaryHeap::new(),
            ended: Vec::new(),
            order: 0,
        };
        (0..self.clients).for_each(|client| simulation.next_arrival(Duration::ZERO, client));
        while let Some(Reverse((now, _, event))) = simulation.events.pop() {
            match event {
                Event::Arrival { .. } if now > self.lasts => {}
                Event::Arrival { client } => simulation.arrive(now, client),
                Event::Answer { call, good } => simulation.answer(now, call, good),
            }
        }
        simulation.ended
    }
}

impl Simulation {
    fn schedule(&mut self, time: Duration, event: Event) {
        self.order += 1;
        self.events.push(Reverse((time, self.order, event)));
    }

    fn next_arrival(&mut self, now: Duration, client: usize) {
        let mean = Duration::from_secs_f64(self.setup.clients as f64 / self.setup.rate);
        let time = now + exponential(mean, &mut self.random);
        self.schedule(time, Event::Arrival { client });
    }

    fn arrive(&mut self, now: Duration, client: usize) {
        let Client { table, set, loads } = &self.clients[client];
        let slow_start = SlowStart::default();
        let candidate = |endpoint: usize| {
            let is_new = endpoint == 0 && self.setup.started > Duration::ZERO && now > self.setup.started;
            let warmth = if is_new { slow_start.factor(now - self.setup.started) } else { 1.0 };
            Some(Candidate { load: &loads[endpoint], eligibility: Eligibility::Preferred, warmth })
        };
        let random = &mut self.random;
        let endpoint = match self.setup.policy {
            Policy::Random => random.usize(..loads.len()),
            Policy::LeastInFlight => {
                let [one, other] = [random.usize(..loads.len()), random.usize(..loads.len())];
                if loads[other].in_flight() < loads[one].in_flight() { other } else { one }
            }
            Policy::Balanced => choose(table, set, at(now), candidate, || random.f64()).expect("all are usable"),
        };
        assert!(loads[endpoint].begin(at(now), u32::MAX).is_some());
        self.servers[endpoint].queue.push_back(Call { client, endpoint, begun: now });
        self.serve(now, endpoint);
        self.next_arrival(now, client);
    }

    fn serve(&mut self, now: Duration, endpoint: usize) {
        while self.servers[endpoint].busy < self.setup.slots {
            let Some(call) = self.servers[endpoint].queue.pop_front() else { return };
            self.servers[endpoint].busy += 1;
            let (took, good) = (self.setup.behaviour)(endpoint, now, &mut self.random);
            self.schedule(now + took, Event::Answer { call, good });
        }
    }

    fn answer(&mut self, now: Duration, call: Call, good: bool) {
        let Call { client, endpoint, begun } = call;
        let Client { set, loads, .. } = &self.clients[client];
        let latency = now - begun;
        if good {
            loads[endpoint].succeeded(at(now), latency, set);
        } else {
            loads[endpoint].failed(at(now), latency, set);
        }
        if self.setup.reports {
            let Server { busy, queue } = &self.servers[endpoint];
            loads[endpoint].reported(at(now), (busy - 1 + queue.len()) as u32, set);
        }
        loads[endpoint].end();
        self.ended.push(Ended { begun, endpoint, latency, good });
        self.servers[endpoint].busy -= 1;
        self.serve(now, endpoint);
    }
}

/// The calls that began after the first second.
fn settled(calls: &[Ended]) -> impl Iterator<Item = &Ended> {
    calls.iter().filter(|call| call.begun > SECOND)
}

fn share<'a>(calls: impl Iterator<Item = &'a Ended>, has: impl Fn(&Ended) -> bool) -> f64 {
    let (mut all, mut which) = (0.0, 0.0);
    for call in calls {
        all += 1.0;
        which += f64::from(u8::from(has(call)));
    }
    which / all
}

fn quantile<'a>(calls: impl Iterator<Item = &'a Ended>, quantile: f64) -> Duration {
    let mut latencies: Vec<_> = calls.map(|call| call.latency).collect();
    latencies.sort_unstable();
    latencies[(latencies.len() as f64 * quantile) as usize]
}

fn fails_fast(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
    if endpoint == 0 { (MS / 2, false) } else { healthy(endpoint, now, random) }
}

#[test]
fn endpoint_that_fails_fast_attracts_no_calls() {
    for (rate, policy) in [
        (2000.0, Policy::Balanced),
        (2000.0, Policy::Random),
        (2000.0, Policy::LeastInFlight),
        // The nine good ones at 94 % of what they can do: most of them are hot.
        (3400.0, Policy::Balanced),
        // One call in 200 ms to each.
        (50.0, Policy::Balanced),
    ] {
        let calls = Setup { rate, policy, ..Setup::new(fails_fast) }.run();
        let good = share(settled(&calls), |call| call.good);
        println!("fails fast, {rate}/s, {policy:?}: {good:.4} good");
        match policy {
            Policy::Balanced => assert!(good >= 0.98, "{rate}: {good}"),
            Policy::Random => assert!((0.88..0.92).contains(&good), "{good}"),
            Policy::LeastInFlight => assert!(good < 0.9, "{good}"),
        }
    }
}

/// Its calls in flight make it hot before the first one has timed out.
#[test]
fn endpoint_that_hangs_holds_few_calls() {
    fn hangs(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
        if endpoint == 0 { (SECOND, false) } else { healthy(endpoint, now, random) }
    }
    let calls = Setup { slots: 100, ..Setup::new(hangs) }.run();
    let (from_start, good) = (share(calls.iter(), |call| call.good), share(settled(&calls), |call| call.good));
    println!("one hangs: {from_start:.4} good from the start, {good:.4} after a second");
    assert!(from_start >= 0.98 && good >= 0.98, "{from_start} {good}");
}

#[test]
fn slow_endpoint_does_not_raise_the_tail() {
    fn slow(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
        let (took, good) = healthy(endpoint, now, random);
        (if endpoint == 0 { took * 20 } else { took }, good)
    }
    for rate in [2000.0, 3200.0] {
        let nine = Setup { endpoints: 9, rate, ..Setup::new(healthy) }.run();
        let with_slow = |policy| quantile(settled(&Setup { policy, rate, ..Setup::new(slow) }.run()), 0.99);
        let [alone, balanced, least] =
            [quantile(settled(&nine), 0.99), with_slow(Policy::Balanced), with_slow(Policy::LeastInFlight)];
        println!("20x slower, {rate}/s, p99: {alone:?} without it, {balanced:?}, least in flight {least:?}");
        assert!(balanced <= alone.mul_f64(1.5), "{rate}: {balanced:?}, {alone:?} without it");
    }
}

#[test]
fn recovered_endpoint_regains_its_share() {
    fn recovers(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
        if now < 5 * SECOND { fails_fast(endpoint, now, random) } else { healthy(endpoint, now, random) }
    }
    let calls = Setup { lasts: 20 * SECOND, ..Setup::new(recovers) }.run();
    let late = calls.iter().filter(|call| call.begun > 12 * SECOND);
    let regained = share(late, |call| call.endpoint == 0);
    println!("recovered: {regained:.4} of the calls");
    assert!((0.07..0.13).contains(&regained), "{regained}");
}

#[test]
fn endpoints_that_fail_alike_keep_their_shares() {
    fn fails(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
        (healthy(endpoint, now, random).0, random.f64() >= 0.3)
    }
    let calls = Setup { lasts: 20 * SECOND, ..Setup::new(fails) }.run();
    let shares: Vec<_> = (0..10).map(|i| share(settled(&calls), |call| call.endpoint == i)).collect();
    println!("all fail 30 %: {shares:.3?}");
    assert!(shares.iter().all(|share| (0.07..0.13).contains(share)), "{shares:?}");
}

#[test]
fn cold_endpoint_costs_few_calls() {
    fn cold(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
        let (took, good) = healthy(endpoint, now, random);
        let cold = endpoint == 0 && now > 2 * SECOND && now < 7 * SECOND;
        (if cold { took * 10 } else { took }, good)
    }
    let setup = Setup { endpoints: 4, rate: 800.0, lasts: 10 * SECOND, started: 2 * SECOND, ..Setup::new(cold) };
    let in_time = |policy| share(settled(&Setup { policy, ..setup }.run()), |call| call.latency < 100 * MS);
    let [balanced, random] = [in_time(Policy::Balanced), in_time(Policy::Random)];
    println!("one of four restarts cold: {balanced:.4} in 100 ms, random {random:.4}");
    assert!(balanced >= 0.94, "{balanced}");
}

/// Clients that share no knowledge, with two calls in flight each, do not all choose the same endpoint.
#[test]
fn independent_clients_do_not_herd() {
    let setup = Setup { clients: 20, rate: 3600.0, ..Setup::new(healthy) };
    let p99 = |policy| quantile(settled(&Setup { policy, ..setup }.run()), 0.99);
    let [balanced, least, random] = [Policy::Balanced, Policy::LeastInFlight, Policy::Random].map(p99);
    println!("20 clients at 90 %: p99 {balanced:?}, least in flight {least:?}, random {random:?}");
    assert!(balanced < random);
}

/// With calls in flight and noisy estimates, weights hold as far as whole numbers of calls allow.
#[test]
fn weights_hold_among_calls_in_flight() {
    for (rate, clients, reports) in
        [(5.0, 1, false), (100.0, 1, false), (800.0, 1, false), (3000.0, 1, false), (3000.0, 20, true)]
    {
        let lasts = Duration::from_secs_f64(10_000.0 / rate);
        let setup =
            Setup { endpoints: 4, slots: 40, weight: 3.0, rate, lasts, clients, reports, ..Setup::new(healthy) };
        let heavy = share(settled(&setup.run()), |call| call.endpoint == 0);
        println!("half of the weight, {rate}/s, {clients} clients: {heavy:.3} of the calls");
        assert!((0.46..=0.56).contains(&heavy), "{rate}: {heavy}");
    }
}

/// Of 20 clients each knows a twentieth of the calls at an endpoint, unless the endpoints report all of them. It matters most where an
/// endpoint differs from the others for a while.
#[test]
fn reported_load_is_better_than_what_one_client_sees() {
    fn slow_in_turn(endpoint: usize, now: Duration, random: &mut fastrand::Rng) -> (Duration, bool) {
        let is_slow = (endpoint * 7 + now.as_secs() as usize * 3) % 5 == 0;
        (exponential(if is_slow { 30 * MS } else { 10 * MS }, random), true)
    }
    // 90 % of the capacity each.
    for (behaviour, rate, at_most) in [(slow_in_turn as Behaviour, 3120.0, 0.75), (healthy, 3600.0, 1.0)] {
        let p99 = |clients, reports| {
            let setup = Setup { clients, rate, reports, lasts: 20 * SECOND, ..Setup::new(behaviour) };
            (0..4).map(|seed| quantile(settled(&Setup { seed, ..setup }.run()), 0.99)).sum::<Duration>() / 4
        };
        let (local, reported, alone) = (p99(20, false), p99(20, true), p99(1, false));
        println!("20 clients at {rate}/s: p99 {local:?}, with reports {reported:?}, one client alone {alone:?}");
        assert!(reported < local.mul_f64(at_most), "{rate}/s: {local:?}, with reports {reported:?}");
    }
}
