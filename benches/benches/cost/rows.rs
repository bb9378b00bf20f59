//! The rows: an inner service that does nothing, and the layers around it.

use seawall_benches::calls::{Calls, Echo};
use seawall_benches::http::{Answers, OverHttp};
use seawall_benches::layers::{self, CONCURRENCY, PER_SECOND, SECOND, TIMEOUT};
use tower::{Layer, Service, ServiceBuilder};

use crate::decisions::{self, Limited};

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

    rows.add(BARE, echo);

    rows.add("tower.timeout", tower().timeout(TIMEOUT).service(echo));
    rows.add("deadline", layers::deadline().layer(echo));

    rows.add("tower.retry", tower().layer(layers::tower_retry()).service(echo));
    rows.add("retry", layers::retry().layer(echo));

    rows.add("tower.concurrency_limit", tower().concurrency_limit(CONCURRENCY as usize).service(echo));

    rows.add("bulkhead", layers::bulkhead().layer(echo));

    rows.add("circuit_breaker", layers::circuit_breaker().layer(echo));

    rows.add("one_endpoint", layers::one_endpoint(echo));
    rows.add("one_endpoint_of_10", layers::one_of(10, echo));
    rows.add("balance_10", layers::balance(10, echo));
    rows.add("one_endpoint_of_1000", layers::one_of(1000, echo));
    rows.add("balance_1000", layers::balance(1000, echo));

    rows.add_single("tower.rate_limit", tower().rate_limit(PER_SECOND.into(), SECOND).service(echo));

    rows.add("rate_limit", layers::rate_limit().layer(echo));

    rows.add("throttle", layers::throttle().layer(echo));

    rows.add("fallback", layers::fallback().layer(echo));

    rows.add("quarantine", layers::quarantine().layer(echo));

    rows.add("chaos_off", layers::chaos().layer(echo));

    if rows.case == Case::Ready {
        // The decision alone.
        rows.add_single("rate_limit.by_hand", Limited::new(decisions::by_hand));
        rows.add_single("rate_limit.by_governor", Limited::new(decisions::by_governor));
    }

    // tower's load shed alone has no limit; it sheds what the limit inside makes wait.
    rows.add("tower.load_shed", tower().load_shed().concurrency_limit(CONCURRENCY as usize).service(echo));

    rows.add("load_shed", layers::load_shed().layer(echo));

    rows.add(
        "tower.client",
        tower().timeout(TIMEOUT).layer(layers::tower_retry()).concurrency_limit(CONCURRENCY as usize).service(echo),
    );

    // One layer more than tower has: it has no circuit breaker.
    rows.add("client", layers::client(echo));

    rows.add_single("tower.stack", layers::tower_stack(echo));

    rows.add("stack", layers::stack(echo));

    // The difference between these two is the cost of the client's layers.
    let answers = Answers { yields: echo.yields };
    rows.add_calls("http.bare", OverHttp(answers));
    rows.add_calls("http.client", OverHttp(layers::http_client().service(answers)));
    rows.add_calls("http.balanced_unhedged", OverHttp(layers::http_balanced(false).service(move |_| answers)));
    rows.add_calls("http.balanced", OverHttp(layers::http_balanced(true).service(move |_| answers)));
}
