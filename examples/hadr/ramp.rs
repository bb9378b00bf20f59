//! The ramp: one more user at a time, until the first failure that a user sees.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::spawn;

use crate::Error;
use crate::deployment::Deployment;
use crate::topology::{Pace, Topology, USER_CYCLE};
use crate::users::{Call, Users};

/// Over how many service times before the first failure the answers are counted.
const WINDOW: f64 = 6.0;

/// A ramp, as the users saw it.
#[derive(Debug)]
pub(crate) struct Ramp {
    pub(crate) topology: Topology,
    /// How many users there were at the first failure.
    pub(crate) users: usize,
    /// Answers a second just before the first failure.
    pub(crate) rate: f64,
    /// The rate by what all slots can serve.
    pub(crate) share_of_theory: f64,
    /// The median latency that the router adds at ease, in service times.
    pub(crate) added: f64,
    pub(crate) first_failure: Duration,
    pub(crate) reason: String,
    pub(crate) calls: Vec<Call>,
}

/// The longest ramp: with twice the users that keep all slots busy, some user must see a failure.
pub(crate) fn length(pace: Pace, topology: Topology) -> Duration {
    pace.user_step.mul_f64(2.0 * f64::from(topology.slots()) * USER_CYCLE)
}

pub(crate) async fn run(topology: Topology, pace: Pace, defaults: bool) -> Result<Ramp, Error> {
    let deployment = Deployment::start(topology, pace, defaults).await?;
    let mut users = Users::new(deployment.router(), pace);
    let end = length(pace, topology);
    // With half of the users that keep all slots busy, hardly a call waits.
    let at_ease = end / 4;
    let direct =
        spawn(directly(deployment.predictor(topology.tiers().len() - 1).ok_or("no predictor")?, pace, at_ease));
    let mut next = Duration::ZERO;
    while users.look(|calls| calls.iter().all(|call| call.answer.is_ok())) {
        if next > end {
            return Err(format!("{}: {} users have seen no failure", topology.title(), users.count()).into());
        }
        users.come(1);
        next += pace.user_step;
        users.sleep_until(next).await;
    }
    let number = users.count();
    let calls = users.leave().await?;
    let first = calls.iter().filter(|call| call.answer.is_err()).min_by_key(|call| call.end());
    let Some(Call { answer: Err(reason), .. }) = first else { return Err("the first failure is gone".into()) };
    let (first_failure, reason) = (first.map(Call::end).unwrap_or_default(), reason.clone());
    let rate = rate(&calls, first_failure.saturating_sub(pace.times(WINDOW)), first_failure);
    let share_of_theory = rate / pace.theory(topology.slots());
    let added = at_ease_median(&calls, at_ease, pace) - direct.await??;
    Ok(Ramp { topology, users: number, rate, share_of_theory, added, first_failure, reason, calls })
}

/// Good answers a second in a period.
pub(crate) fn rate(calls: &[Call], from: Duration, to: Duration) -> f64 {
    let answered = calls.iter().filter(|call| call.answer.is_ok() && (from..to).contains(&call.end())).count();
    answered as f64 / (to - from).as_secs_f64()
}

/// How many users call a predictor directly, to see what a call takes without the router. They keep two of its slots busy.
const DIRECT_USERS: usize = 8;

/// The median time of calls that go past the router, in service times. A busy machine adds to it too. The last call ends a service time
/// after `until`.
async fn directly(predictor: SocketAddr, pace: Pace, until: Duration) -> Result<f64, Error> {
    let mut users = Users::new(predictor, pace);
    users.come(DIRECT_USERS);
    users.sleep_until(until).await;
    Ok(at_ease_median(&users.leave().await?, Duration::MAX, pace))
}

/// The median time of the calls that ended before `until`, in service times.
fn at_ease_median(calls: &[Call], until: Duration, pace: Pace) -> f64 {
    let at_ease = calls.iter().filter(|call| call.answer.is_ok() && call.end() < until);
    let mut latencies: Vec<Duration> = at_ease.map(|call| call.latency).collect();
    latencies.sort();
    latencies.get(latencies.len() / 2).map_or(1.0, |median| pace.services(*median))
}
