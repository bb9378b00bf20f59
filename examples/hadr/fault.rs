//! The faults: what happens to the predictors at steady load, and what a run with it is like.

use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;

use crate::Error;
use crate::deployment::Deployment;
use crate::ramp::rate;
use crate::topology::{Pace, Topology, USER_CYCLE};
use crate::users::{Call, Users};

/// What happens to a predictor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// It is killed, and started again.
    Kill,
    /// It is stopped (SIGSTOP): connections still succeed, and nothing answers.
    Stop,
    /// It takes ten times as long.
    Slow,
    /// It answers 500 at once.
    Fail,
    /// All predictors are drained and started again, one after the other.
    Upgrade,
}

/// The parts of a run, in service times.
const STEADY: f64 = 6.0;
const LASTS: f64 = 10.0;
/// The share of the calls that must not be sent twice, in the runs in which a predictor is killed.
const POSTS: f64 = 0.5;
/// How long the kill waits for such a call at the predictor.
const POST_WITHIN: f64 = 4.0;
/// How long before and after the kill a call may be under way to the predictor that is killed, without being counted there.
const IN_TRANSIT: f64 = 0.1;
/// How long a predictor that is upgraded is down.
const UPGRADE: f64 = 4.0;
/// From its return to the next one's upgrade.
const BETWEEN_UPGRADES: f64 = 3.0;
/// From the end of the fault to the check of all slots: breakers close, warm-ups end, and the balancer forgets what calls cost after 5 s
/// without any, however fast the run goes.
const AFTER: f64 = 30.0;
/// Before the check of all slots: is the standby out of use?
pub(crate) const CALM: f64 = 6.0;
/// More users than the slots can serve come, and after a while all slots must be busy for a while.
const FILLING: f64 = 4.0;
const FULL: f64 = 6.0;
/// How long each call waits for a slot then.
const WAIT_WHEN_FULL: f64 = 0.8;

impl Fault {
    pub(crate) const ALL: [Self; 5] = [Self::Kill, Self::Stop, Self::Slow, Self::Fail, Self::Upgrade];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Slow => "slow",
            Self::Fail => "fail",
            Self::Upgrade => "upgrade",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Kill => "one predictor is killed",
            Self::Stop => "one predictor is stopped",
            Self::Slow => "one predictor is ten times slower",
            Self::Fail => "one predictor answers 500",
            Self::Upgrade => "all are upgraded in turn",
        }
    }

    /// How long the fault lasts.
    fn lasts(self, topology: Topology) -> f64 {
        match self {
            Self::Upgrade => (UPGRADE + BETWEEN_UPGRADES + 1.0) * topology.tiers().len() as f64,
            _ => LASTS,
        }
    }
}

/// A run with a fault, as the users saw it.
#[derive(Debug)]
pub(crate) struct FaultRun {
    pub(crate) topology: Topology,
    pub(crate) fault: Fault,
    pub(crate) calls: Vec<Call>,
    pub(crate) begins: Duration,
    pub(crate) ends: Duration,
    /// When the first predictor is well again.
    pub(crate) returns: Duration,
    /// When more users come, to see whether all slots are still there.
    pub(crate) fills: Duration,
    /// The answers a second of all slots at the end.
    pub(crate) rate_when_full: f64,
    /// The kill, if there was one.
    pub(crate) kill: Option<Kill>,
}

/// A predictor that was killed.
#[derive(Debug)]
pub(crate) struct Kill {
    /// The calls that must not be sent twice, and that may have been there: those that the predictor had, and those under way.
    pub(crate) posts: usize,
    /// No call that began later was there.
    pub(crate) over: Duration,
}

/// How long a run takes, about.
pub(crate) fn length(pace: Pace, topology: Topology, fault: Fault) -> Duration {
    pace.times(STEADY + fault.lasts(topology) + AFTER + FILLING + FULL + 2.0)
}

/// Runs the fault. The first predictor has it: an active one.
pub(crate) async fn run(topology: Topology, fault: Fault, pace: Pace, defaults: bool) -> Result<FaultRun, Error> {
    let mut deployment = Deployment::start(topology, pace, defaults).await?;
    let posts = if fault == Fault::Kill { POSTS } else { 0.0 };
    let mut users = Users::new(deployment.router(), pace).with_posts(posts);
    users.come(topology.steady_users());
    users.sleep_until(pace.times(STEADY)).await;

    let mut posts_there = 0;
    if fault == Fault::Kill {
        let last = users.now() + pace.times(POST_WITHIN);
        while posts_there == 0 && users.now() < last {
            users.sleep_until(users.now() + pace.times(0.01)).await;
            posts_there = deployment.posts(0).await?;
        }
    }
    let begins = users.now();
    let (mut upgraded, mut kill) = (None, None);
    match fault {
        Fault::Kill => {
            deployment.kill(0)?;
            kill = Some((posts_there, users.now()));
        }
        Fault::Stop => deployment.signal(0, Signal::STOP)?,
        Fault::Slow | Fault::Fail => deployment.command(0, fault.name()).await?,
        Fault::Upgrade => upgraded = upgrade(&mut deployment, &users, topology, pace).await?,
    }
    if fault != Fault::Upgrade {
        users.sleep_until(begins + pace.times(LASTS)).await;
    }
    match fault {
        Fault::Kill => deployment.restart(0).await?,
        Fault::Stop => deployment.signal(0, Signal::CONT)?,
        Fault::Slow | Fault::Fail => deployment.command(0, "heal").await?,
        Fault::Upgrade => {}
    }
    let ends = users.now();
    let fills = ends + pace.times(AFTER);
    users.sleep_until(fills).await;

    let enough = (f64::from(topology.slots()) * (USER_CYCLE + WAIT_WHEN_FULL)) as usize;
    users.come(enough.saturating_sub(users.count()));
    let full = fills + pace.times(FILLING);
    let end = full + pace.times(FULL);
    users.sleep_until(end).await;
    let calls = users.leave().await?;
    let rate_when_full = rate(&calls, full, end);
    let returns = upgraded.unwrap_or(ends);
    let kill = kill.map(|(posts, killed)| Kill::of(posts, begins, killed, &calls, pace));
    Ok(FaultRun { topology, fault, calls, begins, ends, returns, fills, rate_when_full, kill })
}

impl Kill {
    /// The predictor had `posts` after `asked`, and was gone before `killed`.
    fn of(posts: usize, asked: Duration, killed: Duration, calls: &[Call], pace: Pace) -> Self {
        let over = killed + pace.times(IN_TRANSIT);
        let transit = asked.saturating_sub(pace.times(IN_TRANSIT))..over;
        let under_way = calls.iter().filter(|call| call.is_post && transit.contains(&call.at)).count();
        Self { posts: posts + under_way, over }
    }
}

/// Drains each predictor, starts it again, and gives it calls. Returns when the first one had that behind it.
async fn upgrade(
    deployment: &mut Deployment,
    users: &Users,
    topology: Topology,
    pace: Pace,
) -> Result<Option<Duration>, Error> {
    let mut returned = None;
    for node in 0..topology.tiers().len() {
        deployment.drain(node).await?;
        users.sleep_until(users.now() + pace.times(UPGRADE)).await;
        deployment.restart(node).await?;
        deployment.serve(node).await?;
        returned.get_or_insert(users.now());
        users.sleep_until(users.now() + pace.times(BETWEEN_UPGRADES)).await;
    }
    Ok(returned)
}
