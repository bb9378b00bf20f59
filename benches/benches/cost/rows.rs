//! The rows: an inner service that does nothing, and the layers around it.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::stack::{self, ClientConfig};
use tokio::task::coop::unconstrained;
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, RetryLayer as TowerRetryLayer};
use tower::{BoxError, Layer, Service, ServiceBuilder};

use crate::http::{Answers, OverHttp};

/// How the inner service and the callers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// The answer is ready at the first poll.
    Ready,
    /// The answer is ready at the second poll.
    Yield,
    /// As before, with two threads that call through clones of one service.
    Contended,
}

impl Case {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Yield => "yield",
            Self::Contended => "contended",
        }
    }
}

/// One row of the measurement.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) case: Case,
    /// The row of tower's layer that does the same or comes closest.
    pub(crate) counterpart: Option<&'static str>,
    /// One caller, or two if contended, which share the state of the layers.
    pub(crate) callers: Vec<Box<dyn Calls>>,
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
pub(crate) trait Calls: Send {
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl<S> Calls for S
where
    S: Service<u64, Response = u64> + Send,
{
    fn make(&mut self, calls: u64) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        // Without this, tokio's cooperative budget would run out after 128 polls of a timer or semaphore, and the
        // measurement would change from there on.
        Box::pin(unconstrained(async move {
            for request in 0..calls {
                let is_ready = std::future::poll_fn(|cx| self.poll_ready(cx)).await.is_ok();
                let mut call = pin!(self.call(black_box(request)));
                let check = |answer: Result<u64, S::Error>| answer.is_ok_and(|answer| black_box(answer) == request);
                // Polled again at once: the cost of the runtime's scheduler does not belong to a layer. The answer is
                // checked in place, as `?` does: moving it would be our own cost.
                let is_right = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
                    Poll::Ready(answer) => Poll::Ready(check(answer)),
                    Poll::Pending => call.as_mut().poll(cx).map(check),
                });
                assert!(is_right.await && is_ready, "a call was refused");
            }
        }))
    }
}

/// The inner service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub(crate) yields: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    request: u64,
    yields: bool,
}

impl Service<u64> for Echo {
    type Response = u64;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Answer {
        Answer { request, yields: self.yields }
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

/// The usual policy around tower's budget: every success deposits, every failure withdraws.
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

/// Large enough that no limit is ever reached.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const CONCURRENCY: u32 = 1000;
const PER_SECOND: u32 = 1_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// Our layer, and the closest one in tower.
const COUNTERPARTS: [(&str, &str); 7] = [
    ("deadline", "tower.timeout"),
    ("retry", "tower.retry"),
    ("bulkhead", "tower.concurrency_limit"),
    ("rate_limit", "tower.rate_limit"),
    ("load_shed", "tower.load_shed"),
    ("client", "tower.client"),
    ("stack", "tower.stack"),
];

/// All rows; rows that are compared stand together, tower's first.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, yields) in [(Case::Ready, false), (Case::Yield, true), (Case::Contended, true)] {
        add_rows(&mut Rows { case, rows: &mut rows }, Echo { yields });
    }
    rows
}

struct Rows<'a> {
    case: Case,
    rows: &'a mut Vec<Row>,
}

impl Rows<'_> {
    fn add<S>(&mut self, name: &'static str, service: S)
    where
        S: Service<u64, Response = u64> + Clone + Send + 'static,
    {
        self.add_calls(name, service);
    }

    fn add_calls(&mut self, name: &'static str, calls: impl Calls + Clone + 'static) {
        match self.case {
            Case::Ready | Case::Yield => self.push(name, vec![Box::new(calls)]),
            Case::Contended => self.push(name, vec![Box::new(calls.clone()), Box::new(calls)]),
        }
    }

    /// A service that cannot be cloned cannot be contended.
    fn add_single<S>(&mut self, name: &'static str, service: S)
    where
        S: Service<u64, Response = u64> + Send + 'static,
    {
        if self.case != Case::Contended {
            self.push(name, vec![Box::new(service)]);
        }
    }

    fn push(&mut self, name: &'static str, callers: Vec<Box<dyn Calls>>) {
        let counterpart = COUNTERPARTS.iter().find(|(ours, _)| *ours == name).map(|(_, tower)| *tower);
        self.rows.push(Row { name, case: self.case, counterpart, callers });
    }
}

fn add_rows(rows: &mut Rows<'_>, echo: Echo) {
    let tower = ServiceBuilder::new;
    let tower_retry = || TowerRetryLayer::new(Budgeted(Arc::new(TpsBudget::default())));
    let retry = || RetryLayer::new(RetryConfig::default()).expect("valid defaults");
    let deadline = || DeadlineLayer::new(TIMEOUT).expect("a valid timeout");
    let circuit_breaker = || CircuitBreakerLayer::new(CircuitBreakerConfig::default()).expect("valid defaults");
    let bulkhead = || {
        let config = BulkheadConfig { max_concurrent: CONCURRENCY, ..BulkheadConfig::default() };
        BulkheadLayer::new(config).expect("a valid limit")
    };
    let rate_limit = || {
        let config = RateLimitConfig { permits: PER_SECOND, per: SECOND, ..RateLimitConfig::default() };
        RateLimitLayer::new(config).expect("a valid limit")
    };
    let load_shed = || {
        let config = LoadShedConfig { max_in_flight: CONCURRENCY, ..LoadShedConfig::default() };
        LoadShedLayer::new(config).expect("a valid limit")
    };

    rows.add(BARE, echo);

    rows.add("tower.timeout", tower().timeout(TIMEOUT).service(echo));
    rows.add("deadline", deadline().layer(echo));

    rows.add("tower.retry", tower().layer(tower_retry()).service(echo));
    rows.add("retry", retry().layer(echo));

    rows.add("tower.concurrency_limit", tower().concurrency_limit(CONCURRENCY as usize).service(echo));

    rows.add("bulkhead", bulkhead().layer(echo));

    rows.add("circuit_breaker", circuit_breaker().layer(echo));

    rows.add_single("tower.rate_limit", tower().rate_limit(PER_SECOND.into(), SECOND).service(echo));

    rows.add("rate_limit", rate_limit().layer(echo));

    // tower's load shed alone has no limit; it sheds what the limit inside makes wait.
    rows.add("tower.load_shed", tower().load_shed().concurrency_limit(CONCURRENCY as usize).service(echo));

    rows.add("load_shed", load_shed().layer(echo));

    rows.add(
        "tower.client",
        tower().timeout(TIMEOUT).layer(tower_retry()).concurrency_limit(CONCURRENCY as usize).service(echo),
    );

    // One layer more than tower has: tower has no circuit breaker.
    rows.add(
        "client",
        tower().layer(deadline()).layer(retry()).layer(bulkhead()).layer(circuit_breaker()).service(echo),
    );

    rows.add_single(
        "tower.stack",
        tower()
            .load_shed()
            .rate_limit(PER_SECOND.into(), SECOND)
            .concurrency_limit(CONCURRENCY as usize)
            .timeout(TIMEOUT)
            .layer(tower_retry())
            .service(echo),
    );

    // The same five, with the deadline outermost, so that it is the only timer.
    rows.add(
        "stack",
        tower().layer(deadline()).layer(load_shed()).layer(rate_limit()).layer(bulkhead()).layer(retry()).service(echo),
    );

    // The difference between these two is the cost of the client's layers.
    let answers = Answers { yields: echo.yields };
    rows.add_calls("http.bare", OverHttp(answers));
    let config = ClientConfig { deadline: TIMEOUT.into(), ..ClientConfig::default() };
    rows.add_calls("http.client", OverHttp(stack::client(&config).expect("valid defaults").service(answers)));
}
