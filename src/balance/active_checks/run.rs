//! The task that checks endpoints.

use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::future::{Either, select};
use tokio::runtime::Handle;
use tokio::task::{Id, JoinError, JoinSet};
use tower::BoxError;

use super::config::CheckConfig;
use super::history::CheckHistory;
use super::outage::OutEndpoint;
use crate::admission::timer::{Timer, until};
use crate::balance::balancer::Balancer;
use crate::balance::endpoint::Endpoint;
use crate::balance::handle::BalanceHandle;
use crate::ground::error::InvalidConfig;
use crate::ground::time::{self, Instant};
use crate::ground::validation::Validate;
use crate::telemetry;

/// How many checks run at the same time. The others wait, those first that were checked the longest ago.
const MOST_AT_ONCE: usize = 64;

/// An endpoint that is out again within so many intervals of the comparison of endpoints was brought back in vain: a slow one is ejected
/// after two of them, and those before it have few calls, because it starts slowly.
const SOON: u32 = 6;

impl BalanceHandle {
    /// Makes [active checks](super::super#active-checks) with `check`, in a task that it spawns: `Ok` says that the endpoint can serve.
    ///
    /// The task ends with the layer value and all its services, or when this is called again: then the new checks replace the former
    /// ones. A `check` that holds a service of the layer value keeps it alive.
    ///
    /// # Errors
    /// If a setting is out of its range; all faults are listed, with the path of the field. Then the former checks go on.
    ///
    /// # Panics
    /// Outside of a tokio runtime. If `check` panics, that is a failed check.
    ///
    /// ```
    /// use seawall::balance::{BalanceConfig, BalanceLayer, CheckConfig};
    /// use tokio::net::TcpStream;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
    /// let layer = BalanceLayer::new(BalanceConfig::default())?;
    /// // whether the endpoint accepts connections
    /// layer.handle().check(CheckConfig::default(), |endpoint| {
    ///     let address = endpoint.address().to_owned();
    ///     async move {
    ///         TcpStream::connect(address).await?;
    ///         Ok(())
    ///     }
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn check<F, R>(&self, config: CheckConfig, check: F) -> Result<(), InvalidConfig>
    where
        F: Fn(&Endpoint) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        config.validate()?;
        // It panics here, before the former checks are superseded.
        let runtime = Handle::current();
        let balancer = self.balancer();
        let epoch = balancer.begin(&balancer.active_checks);
        let checks = Checks {
            balancer: Arc::downgrade(balancer),
            epoch,
            config,
            check: Arc::new(check),
            history: CheckHistory::default(),
            due: Vec::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        };
        balancer.active_checks.keep(epoch, runtime.spawn(checks.run()).abort_handle());
        Ok(())
    }
}

struct Checks<F> {
    balancer: Weak<Balancer>,
    epoch: u64,
    config: CheckConfig,
    check: Arc<F>,
    history: CheckHistory,
    /// The endpoints that are to be checked in this round, the last one first.
    due: Vec<OutEndpoint>,
    /// A task for each check: one that panics or is slow does not affect the others.
    tasks: JoinSet<Result<(), BoxError>>,
    /// The endpoints that are being checked.
    running: HashMap<Id, OutEndpoint>,
}

/// The end of a check.
type Ended = Result<(Id, Result<(), BoxError>), JoinError>;

impl<F, R> Checks<F>
where
    F: Fn(&Endpoint) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    async fn run(mut self) {
        let mut timer = Timer::new();
        loop {
            let next_round = time::now() + self.config.pause();
            while let Some(ended) = poll_fn(|cx| self.poll_until(cx, &mut timer, next_round)).await {
                let Some(balancer) = self.balancer() else { return };
                self.end(&balancer, ended);
                self.begin_due();
            }
            let Some(balancer) = self.balancer() else { return };
            self.begin_round(&balancer);
        }
    }

    /// `None`: the layer value is gone, or other checks have replaced these.
    fn balancer(&self) -> Option<Arc<Balancer>> {
        self.balancer.upgrade().filter(|balancer| balancer.active_checks.is_current(self.epoch))
    }

    /// The next check that ends; `None` at the start of the next round.
    fn poll_until(&mut self, cx: &mut Context<'_>, timer: &mut Timer, next_round: Instant) -> Poll<Option<Ended>> {
        match self.tasks.poll_join_next_with_id(cx) {
            Poll::Ready(Some(ended)) => Poll::Ready(Some(ended)),
            Poll::Ready(None) | Poll::Pending => timer.poll_until(cx, next_round).map(|()| None),
        }
    }

    fn begin_round(&mut self, balancer: &Arc<Balancer>) {
        let now = time::now();
        let members: HashSet<_> = balancer.set.load().members.iter().map(|member| member.state.id).collect();
        let soon = balancer.settings.read(|config| config.ejection.interval).saturating_mul(SOON);
        self.history.forget(|id| members.contains(&id), soon, now);
        let running: HashSet<_> = self.running.values().map(OutEndpoint::id).collect();
        let mut due = Vec::new();
        for out in balancer.out_endpoints(now) {
            let checked_at = self.history.seen(out.id(), out.outage, now);
            // An endpoint that has just gone out would be back before it had any rest.
            let has_rested = now.since(out.outage.since) >= self.config.shortest_pause();
            if has_rested && !running.contains(&out.id()) {
                due.push((checked_at, out));
            }
        }
        due.sort_by_key(|(checked_at, _)| std::cmp::Reverse(*checked_at));
        self.due = due.into_iter().map(|(_, out)| out).collect();
        self.begin_due();
    }

    fn begin_due(&mut self) {
        while self.tasks.len() < MOST_AT_ONCE {
            let Some(out) = self.due.pop() else { return };
            let now = time::now();
            if !out.is_still_out(now) {
                continue;
            }
            self.history.began(out.id(), now);
            let (check, endpoint, timeout) =
                (Arc::clone(&self.check), out.member.endpoint.clone(), self.config.timeout);
            let task = self.tasks.spawn(async move {
                let timeout_at = until(now + timeout);
                match select(pin!(async { check(&endpoint).await }), pin!(timeout_at)).await {
                    Either::Left((result, _)) => result,
                    Either::Right(_) => Err(format!("no answer within {timeout:?}").into()),
                }
            });
            self.running.insert(task.id(), out);
        }
    }

    fn end(&mut self, balancer: &Arc<Balancer>, ended: Ended) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(error.into())),
        };
        let Some(out) = self.running.remove(&id) else { return };
        let brings_back = self.history.ended(out.id(), out.outage, result.is_ok());
        let back = brings_back && balancer.end_outage(self.epoch, &out, time::now());
        if back {
            self.history.brought_back(out.id());
        }
        let result = result.as_ref().map(|()| back);
        telemetry::endpoint_checked(balancer.instruments(), out.member.endpoint.key(), result);
    }
}
