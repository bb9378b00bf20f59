//! What is measured: an inner service that does nothing, and what can be put around it.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::deadline::DeadlineLayer;
use tokio::task::coop::unconstrained;
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer as TowerRetryLayer};
use tower::{BoxError, Layer, Service, ServiceBuilder};

/// Whether the inner service's answer is there at once, or only when it is polled a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    Ready,
    Yield,
}

impl Inner {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Yield => "yield",
        }
    }
}

/// One thing to measure.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) inner: Inner,
    /// The row of tower's that does the same or comes nearest to it.
    pub(crate) counterpart: Option<&'static str>,
    pub(crate) calls: Box<dyn Calls>,
}

pub(crate) const BARE: &str = "bare";

impl Row {
    pub(crate) fn is_bare(&self) -> bool {
        self.name == BARE
    }

    pub(crate) fn is_asked_for(&self, only: Option<&str>) -> bool {
        let asked = |name: &str| only.is_none_or(|only| name.contains(only));
        self.is_bare()
            || asked(self.name)
            || COUNTERPARTS.iter().any(|(ours, tower)| *tower == self.name && asked(ours))
    }
}

/// A service that can be called many times over.
pub(crate) trait Calls {
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl<S> Calls for S
where
    S: Service<u64, Response = u64>,
{
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        // Without this, tokio's cooperative budget would end after 128 polls of a timer or semaphore, and what is
        // measured from then on would be something else.
        Box::pin(unconstrained(async move {
            for request in 0..calls {
                let is_ready = std::future::poll_fn(|cx| self.poll_ready(cx)).await.is_ok();
                let mut call = pin!(self.call(black_box(request)));
                // Polled again on the spot: what the runtime's scheduler costs is no layer's doing.
                let answer = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Pending => call.as_mut().poll(cx),
                    answer => answer,
                });
                let answer = answer.await;
                assert!(is_ready && answer.is_ok_and(|answer| black_box(answer) == request), "a call was refused");
            }
        }))
    }
}

/// The inner service.
#[derive(Clone, Copy, Debug)]
struct Echo<const YIELDS: bool>;

#[derive(Debug)]
struct Answer {
    request: u64,
    yields: bool,
}

impl<const YIELDS: bool> Service<u64> for Echo<YIELDS> {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        Answer { request, yields: black_box(YIELDS) }
    }
}

impl Future for Answer {
    type Output = Result<u64, BoxError>;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.yields {
            self.yields = false;
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.request))
    }
}

/// The usual policy around tower's budget: every success deposits, every failure asks.
#[derive(Clone, Debug)]
struct Budgeted(Arc<TpsBudget>);

impl Policy<u64, u64, BoxError> for Budgeted {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _request: &mut u64, result: &mut Result<u64, BoxError>) -> Option<Self::Future> {
        if result.is_ok() {
            self.0.deposit();
            return None;
        }
        self.0.withdraw().then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// Long, high and far: no limit is ever reached.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONCURRENCY: usize = 1000;
const PER_SECOND: u64 = 1_000_000_000;

/// Ours, and what comes nearest to it in tower.
const COUNTERPARTS: [(&str, &str); 1] = [("deadline", "tower.timeout")];

/// All rows; those to be compared stand together, tower's first.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = of_inner(Inner::Ready, Echo::<false>);
    rows.extend(of_inner(Inner::Yield, Echo::<true>));
    rows
}

fn of_inner<const YIELDS: bool>(inner: Inner, echo: Echo<YIELDS>) -> Vec<Row> {
    let second = Duration::from_secs(1);
    let tower_retry = || TowerRetryLayer::new(Budgeted(Arc::new(TpsBudget::default())));
    let deadline = || DeadlineLayer::new(TIMEOUT).expect("a valid timeout");
    let mut rows = Vec::new();
    let mut row = |name: &'static str, calls: Box<dyn Calls>| {
        let counterpart = COUNTERPARTS.iter().find(|(ours, _)| *ours == name).map(|(_, tower)| *tower);
        rows.push(Row { name, inner, counterpart, calls });
    };

    row(BARE, Box::new(echo));
    row("tower.timeout", Box::new(ServiceBuilder::new().timeout(TIMEOUT).service(echo)));
    row("deadline", Box::new(deadline().layer(echo)));
    row("tower.retry", Box::new(tower_retry().layer(echo)));
    row("tower.concurrency_limit", Box::new(ServiceBuilder::new().concurrency_limit(CONCURRENCY).service(echo)));
    row("tower.rate_limit", Box::new(ServiceBuilder::new().rate_limit(PER_SECOND, second).service(echo)));
    row("tower.load_shed", Box::new(ServiceBuilder::new().load_shed().concurrency_limit(CONCURRENCY).service(echo)));
    row(
        "tower.client",
        Box::new(
            ServiceBuilder::new().timeout(TIMEOUT).layer(tower_retry()).concurrency_limit(CONCURRENCY).service(echo),
        ),
    );
    row(
        "tower.stack",
        Box::new(
            ServiceBuilder::new()
                .load_shed()
                .rate_limit(PER_SECOND, second)
                .concurrency_limit(CONCURRENCY)
                .timeout(TIMEOUT)
                .layer(tower_retry())
                .service(echo),
        ),
    );
    rows
}
