//! The rows that are counted.

use std::time::Duration;

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Window};
use seawall_benches::calls::{Calls, Echo};
use seawall_benches::http::{Answers, OverHttp};
use seawall_benches::layers::{self, CONCURRENCY, TIMEOUT};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceBuilder};

use crate::refusals;

/// One row. Its service is made only if the row is requested.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) make: Make,
}

type Make = Box<dyn FnOnce(&Runtime) -> Box<dyn Calls>>;

/// How many keys the keyed rows have.
const KEYS: u64 = 100;

pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, yields) in [("ready", false), ("yield", true)] {
        add_layers(&mut Rows { case, rows: &mut rows }, Echo { yields });
        add_http(&mut Rows { case, rows: &mut rows }, Answers { yields });
    }
    add_refusals(&mut Rows { case: "refused", rows: &mut rows });
    rows
}

struct Rows<'a> {
    case: &'static str,
    rows: &'a mut Vec<Row>,
}

impl Rows<'_> {
    fn add<C: Calls + 'static>(&mut self, name: &str, make: impl FnOnce() -> C + 'static) {
        self.add_on(name, |runtime| {
            // Some of tower's layers can only be made on a runtime.
            let _entered = runtime.enter();
            Box::new(make())
        });
    }

    fn add_on(&mut self, name: &str, make: impl FnOnce(&Runtime) -> Box<dyn Calls> + 'static) {
        let name = format!("{name}.{}", self.case);
        self.rows.push(Row { name, make: Box::new(make) });
    }
}

fn add_layers(rows: &mut Rows<'_>, echo: Echo) {
    let tower = ServiceBuilder::new;

    rows.add("bare", move || echo);
    rows.add("deadline", move || layers::deadline().layer(echo));
    rows.add("retry", move || layers::retry().layer(echo));
    rows.add("bulkhead", move || layers::bulkhead().layer(echo));
    rows.add("load_shed", move || layers::load_shed().layer(echo));
    rows.add("circuit_breaker", move || layers::circuit_breaker().layer(echo));
    rows.add("rate_limit", move || layers::rate_limit().layer(echo));

    rows.add("hedge", move || layers::hedge().layer(echo));
    rows.add("quorum_of_3", move || layers::quorum().layer(echo));
    rows.add("fallback", move || layers::fallback().layer(echo));
    rows.add("chaos_off", move || layers::chaos().layer(echo));
    rows.add("balance_10", move || layers::balance(10, echo));
    rows.add("balance_1000", move || layers::balance(1000, echo));

    let key = |request: &u64| request % KEYS;
    rows.add("circuit_breaker_keyed", move || timeless_breaker().keyed_by(key).layer(echo));
    rows.add("rate_limit_keyed", move || layers::rate_limit().keyed_by(key).layer(echo));

    rows.add("client", move || layers::client(echo));
    rows.add("stack", move || layers::stack(echo));

    rows.add("tower_timeout", move || tower().timeout(TIMEOUT).service(echo));
    rows.add("tower_concurrency_limit", move || tower().concurrency_limit(CONCURRENCY as usize).service(echo));
    rows.add("tower_stack", move || layers::tower_stack(echo));
}

/// A breaker whose window has no bucket that ends meanwhile, and which does not check for hanging calls. With one
/// breaker per key, these checks would fall into a share of all calls, and into a larger share on a slower machine.
fn timeless_breaker() -> CircuitBreakerLayer {
    let long = Duration::from_secs(3600);
    let config =
        CircuitBreakerConfig { window: Window::Time(long), slow_floor: long, ..CircuitBreakerConfig::default() };
    CircuitBreakerLayer::new(config).expect("valid settings")
}

/// Requests and responses have short bodies, and the response bodies are read to their end.
fn add_http(rows: &mut Rows<'_>, answers: Answers) {
    rows.add("http_bare", move || OverHttp(answers));
    rows.add("http_client", move || OverHttp(layers::http_client().service(answers)));
    rows.add("http_balanced_unhedged", move || OverHttp(layers::http_balanced(false).service(move |_| answers)));
    rows.add("http_balanced", move || OverHttp(layers::http_balanced(true).service(move |_| answers)));
    rows.add("http_server", move || OverHttp(layers::http_server().service(answers)));
}

fn add_refusals(rows: &mut Rows<'_>) {
    rows.add_on("circuit_breaker_open", refusals::open);
    rows.add_on("circuit_breaker_half_open", refusals::half_open);
    rows.add_on("bulkhead_full", refusals::bulkhead_full);
    rows.add_on("load_shed_full", refusals::load_shed_full);
    rows.add_on("rate_limit_empty", refusals::rate_limit_empty);
}
