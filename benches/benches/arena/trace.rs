//! What happens in a run whatever the contestant does: arrivals, service times, failures.
//!
//! A service time is a pure function of seed, call, attempt and server. So it is as fixed before the run as a table of all of them,
//! and every contestant, the model and the optimum see the same ones. The jitter of contestants has a generator of its own.

use fastrand::Rng;

use crate::clock::Ms;

/// One call of the open loop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arrival {
    pub(crate) at: Ms,
    /// Which shard, dependency or priority it is for, as the scenario says.
    pub(crate) key: u32,
    /// Whether it is poisoned, or its response is leaked, as the scenario says.
    pub(crate) is_special: bool,
}

/// The law of service times, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Law {
    Fixed(f64),
    Exponential(f64),
    /// Exponential with `mean`; a `share` takes `slow` instead.
    Outliers {
        mean: f64,
        share: f64,
        slow: f64,
    },
}

impl Law {
    pub(crate) fn mean(self) -> f64 {
        match self {
            Self::Fixed(time) | Self::Exponential(time) => time,
            Self::Outliers { mean, share, slow } => (1.0 - share) * mean + share * slow,
        }
    }

    fn draw(self, rng: &mut Rng) -> f64 {
        let exponential = |mean: f64, rng: &mut Rng| -mean * (1.0 - rng.f64()).ln();
        match self {
            Self::Fixed(time) => time,
            Self::Exponential(mean) => exponential(mean, rng),
            Self::Outliers { mean, share, slow } => {
                if rng.f64() < share {
                    slow
                } else {
                    exponential(mean, rng)
                }
            }
        }
    }
}

/// One attempt of one call at one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) call: u32,
    /// How many attempts of this call the server saw before.
    pub(crate) number: u32,
    pub(crate) server: u32,
}

/// All that is random in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    seed: u64,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A trace that is independent of this one.
    pub(crate) fn of_part(self, part: u64) -> Self {
        Self { seed: mix(self.seed ^ mix(part + 1)) }
    }

    /// A generator for what is drawn in order before the run.
    pub(crate) fn generator(self) -> Rng {
        Rng::with_seed(mix(self.seed))
    }

    /// Poisson arrivals at `rate` calls per millisecond.
    pub(crate) fn arrivals(self, rate: f64, until: Ms) -> Vec<Arrival> {
        let mut rng = self.generator();
        let mut at = 0.0;
        let gaps = std::iter::from_fn(|| {
            at += -(1.0 - rng.f64()).ln() / rate;
            Some(at as Ms)
        });
        gaps.take_while(|at| *at < until).map(|at| Arrival { at, ..Arrival::default() }).collect()
    }

    /// The time that an attempt takes to serve, in milliseconds.
    pub(crate) fn service(self, law: Law, attempt: Attempt) -> f64 {
        law.draw(&mut self.at(attempt, 1))
    }

    /// A number in `0.0..1.0` by which an attempt fails or not.
    pub(crate) fn chance(self, attempt: Attempt) -> f64 {
        self.at(attempt, 2).f64()
    }

    fn at(self, Attempt { call, number, server }: Attempt, purpose: u64) -> Rng {
        let place = u64::from(call) | u64::from(number) << 32 | u64::from(server) << 44 | purpose << 56;
        Rng::with_seed(mix(self.seed ^ mix(place)))
    }
}

/// Whole milliseconds, and at least one.
pub(crate) fn whole(time: f64) -> Ms {
    time.round().max(1.0) as Ms
}

/// The finaliser of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
