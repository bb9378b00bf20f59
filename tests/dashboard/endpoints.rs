//! What the page says about layers with several endpoints: balancers, hedges and quorums.

use std::future::pending;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint, EndpointMode};
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::dashboard::Dashboard;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::quorum::{QuorumConfig, QuorumLayer};
use seawall::registry::Registry;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::{ask, browser, payments};

const SECOND: Duration = Duration::from_secs(1);

/// What `scenario` returns, in virtual time.
fn play<F: Future>(scenario: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(scenario)
}

/// The first component, as the page gets it.
async fn look(dashboard: &Dashboard) -> Value {
    let (_, document) = ask(dashboard, Request::get("/live").body(Full::default()).unwrap()).await;
    let document: Value = serde_json::from_slice(&document).unwrap();
    document["components"][0].clone()
}

/// A balancer of this many endpoints, whose breakers open at the first failure, for a minute.
struct Set {
    layer: BalanceLayer,
    dashboard: Dashboard,
}

impl Set {
    fn of(endpoints: usize) -> Self {
        let registry = Registry::new();
        let circuit_breaker = CircuitBreakerConfig {
            consecutive_failures: Some(1),
            break_duration: 60 * SECOND,
            max_break: 60 * SECOND,
            jitter: 0.0,
            ..Default::default()
        };
        let config = BalanceConfig { circuit_breaker, ..Default::default() };
        let mut layer = BalanceLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
        if endpoints > 0 {
            let endpoints = (0..endpoints).map(|number| Endpoint::new(number.to_string()));
            layer = layer.with_endpoints(endpoints).unwrap();
        }
        Self { layer, dashboard: Dashboard::new(registry) }
    }

    /// Calls until as many have failed as endpoints are down: the first ones.
    async fn open(&self, down: usize) {
        let service = self.service(down);
        let mut failed = 0;
        while failed < down {
            failed += usize::from(service.clone().oneshot(()).await.is_err());
        }
    }

    fn service(&self, down: usize) -> impl Service<(), Response = (), Error = BoxError, Future: Send> + Clone {
        self.layer.service(move |endpoint: &Endpoint| {
            let is_down = endpoint.address().parse::<usize>().unwrap() < down;
            service_fn(move |()| async move { if is_down { Err(BoxError::from("down")) } else { Ok(()) } })
        })
    }
}

fn usable() -> Value {
    play(async {
        let set = Set::of(10);
        set.open(0).await;
        look(&set.dashboard).await
    })
}

fn some_open() -> Value {
    play(async {
        let set = Set::of(10);
        set.open(2).await;
        assert!(set.layer.handle().set_mode("9", EndpointMode::Draining));
        // Long after the last failed call.
        sleep(20 * SECOND).await;
        look(&set.dashboard).await
    })
}

/// All are open, and no call comes.
fn all_open() -> Value {
    play(async {
        let set = Set::of(3);
        set.open(3).await;
        sleep(20 * SECOND).await;
        look(&set.dashboard).await
    })
}

fn refusing() -> Value {
    play(async {
        let set = Set::of(3);
        set.open(3).await;
        set.service(3).oneshot(()).await.unwrap_err();
        sleep(2 * SECOND).await;
        look(&set.dashboard).await
    })
}

/// What a snapshot of many endpoints says, of which it lists a hundred.
fn many(ejected: usize, open: usize) -> Value {
    let listed = json!({ "ejected": false, "mode": "serving", "breaker": "closed" });
    let condition = json!({ "endpoints": 500, "ejected": ejected, "open": open, "by_hand": 0, "in_flight": 0, "waiting": 0,
        "limit": 10, "listed": vec![listed; 100] });
    json!({ "name": "payments", "layer": "balance", "condition": { "balance": condition }, "last_minute": {} })
}

fn all_ejected() -> Value {
    let listed = json!({ "ejected": true, "mode": "serving", "breaker": "closed" });
    let condition = json!({ "endpoints": 2, "ejected": 2, "open": 0, "by_hand": 0, "in_flight": 0, "waiting": 0,
        "limit": 10, "listed": [listed, listed] });
    json!({ "name": "payments", "layer": "balance", "condition": { "balance": condition }, "last_minute": {} })
}

fn no_endpoints() -> Value {
    play(async { look(&Set::of(0).dashboard).await })
}

/// One call of twenty is hedged, and its hedge answers.
fn hedging() -> Value {
    play(async {
        let registry = Registry::new();
        let config = HedgeConfig { delay: HedgeDelay::Fixed(SECOND / 100), ..HedgeConfig::default() };
        let layer = HedgeLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
        let dashboard = Dashboard::new(registry);
        look(&dashboard).await;
        sleep(SECOND / 2).await;
        let service = layer.layer(service_fn(|hangs: bool| async move {
            if hangs && seawall::context::attempt() == 1 {
                pending::<()>().await;
            }
            Ok::<_, BoxError>(())
        }));
        for number in 0..20 {
            service.clone().oneshot(number == 0).await.unwrap();
        }
        sleep(2 * SECOND).await;
        look(&dashboard).await
    })
}

/// Three endpoints that never agree.
fn disagreeing() -> Value {
    play(async {
        let registry = Registry::new();
        let layer = QuorumLayer::new(QuorumConfig::default()).unwrap().named_in(&registry, "payments").unwrap();
        let dashboard = Dashboard::new(registry);
        look(&dashboard).await;
        sleep(SECOND / 2).await;
        let endpoints = (0..3).map(|number| service_fn(move |()| async move { Ok::<_, BoxError>(number) }));
        layer.over(endpoints).unwrap().oneshot(()).await.unwrap_err();
        sleep(2 * SECOND).await;
        look(&dashboard).await
    })
}

/// A page that shows only what a test gives it.
fn page() -> Option<(browser::Browser, impl Sized)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (dashboard, kept) = payments();
    let url = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback_service(dashboard)).into_future());
        format!("http://{address}/")
    });
    let mut browser = browser()?;
    browser.viewport(1200, 900, false);
    browser.open(&url);
    browser.wait_for("a row", "document.querySelectorAll('.row').length === 2");
    // Nothing is requested while the page is hidden, so that what is shown stays.
    browser.eval("Object.defineProperty(document, 'hidden', { get: () => true }); 0");
    browser.eval("document.dispatchEvent(new Event('visibilitychange')); 0");
    browser.eval("clearTimeout(timer); if (asking) asking.abort(); asking = null; 0");
    Some((browser, (runtime, kept)))
}

#[test]
fn page_judges_a_balancer_by_its_endpoints() {
    let Some((mut browser, _kept)) = page() else { return };
    let mut said = |component: Value| browser.eval(&format!("judge({component})"));
    assert_eq!(said(usable()), json!([0, "Fine", "All 10 endpoints are usable"]));
    assert_eq!(said(some_open()), json!([2, "Some unusable", "7 of 10 endpoints usable: 2 open, 1 set by hand"]));
    assert_eq!(
        said(all_open()),
        json!([3, "None usable", "0 of 3 endpoints usable: 3 open. Calls are refused until a probe succeeds"])
    );
    assert_eq!(said(refusing())[0], 3);
    let ejected = said(all_ejected());
    let words = "0 of 2 endpoints usable: 2 ejected. Calls go to ejected or draining ones, for want of others";
    assert_eq!(ejected, json!([3, "None usable", words]));
    assert_eq!(said(no_endpoints()), json!([3, "No endpoints", "The set is empty: all calls are refused"]));
    assert_eq!(
        said(many(100, 40)),
        json!([2, "Some unusable", "At most 400 of 500 endpoints usable: 100 ejected, 40 open"]),
        "those that are not listed may be both"
    );
    assert_eq!(said(many(0, 0)), json!([0, "Fine", "All 500 endpoints are usable"]));
}

#[test]
fn page_judges_hedges_and_quorums() {
    let Some((mut browser, _kept)) = page() else { return };
    let mut said = |component: &Value| browser.eval(&format!("judge({component})"));
    let hedging = hedging();
    assert_eq!(said(&hedging), json!([1, "Hedging", "After 10 ms, 2 attempts at most"]));
    let mut off = hedging.clone();
    off["condition"]["hedge"]["enabled"] = json!(false);
    assert_eq!(said(&off), json!([1, "Off", "No call is hedged"]));
    let mut broke = hedging;
    broke["condition"]["hedge"]["budget_left"] = json!(0);
    assert_eq!(said(&broke), json!([1, "Out of budget", "No hedges until the budget fills up"]));
    let quorum = disagreeing();
    assert_eq!(said(&quorum), json!([3, "No quorum", "No call lately: 2 of 3 endpoints have to agree"]));
    let mut fine = quorum;
    fine["last_minute"] = json!({ "good": [3] });
    assert_eq!(said(&fine), json!([0, "Fine", "2 of 3 endpoints have to agree"]));
    fine["last_minute"] = json!({ "good": [3], "refused": [1] });
    assert_eq!(said(&fine), json!([2, "Some without a quorum", "2 of 3 endpoints have to agree"]));
}

#[test]
fn page_draws_endpoints_hedges_and_quorums() {
    let Some((mut browser, _kept)) = page() else { return };
    let components = json!([disagreeing(), hedging(), some_open()]);
    browser.eval(&format!("show({{ components: {components}, controls: false }}); 0"));
    let rows = "[...document.querySelectorAll('.row h3')].map((row) => row.textContent)";
    assert_eq!(browser.eval(rows), json!(["Hedge", "Quorum", "Balance"]), "in call order");
    let mut shown = |layer: &str, part: &str| {
        let nodes = format!("[...document.querySelectorAll('[data-layer={layer}] {part}')]");
        let told = browser.eval(&format!("{nodes}.map((node) => node.innerText.replace(/\\s+/g, ' ').trim())"));
        serde_json::from_value::<Vec<String>>(told).unwrap()
    };
    let has = |texts: Vec<String>, text: &str| assert!(texts.iter().any(|t| t.contains(text)), "{text}: {texts:?}");
    has(shown("balance", ".cell"), "Endpoints usable 7 of 10 2 open, 1 set by hand");
    has(shown("balance", ".cell"), "In flight 0");
    has(shown("hedge", ".cell"), "Hedged, won 1, 1 Delay 10 ms");
    has(shown("quorum", ".cell"), "Have to agree 2 of 3");
    has(shown("quorum", ".note"), "too few endpoints gave the same answer");
    has(shown("quorum", ".note"), "Look at the votes in the error");

    let out = "[...document.querySelectorAll('.cell *')].filter((n) => n.scrollWidth > n.clientWidth + 1 && \
        getComputedStyle(n).display !== 'inline').map((n) => n.textContent)";
    for (width, mobile) in [(360, true), (768, true), (1200, false)] {
        browser.viewport(width, 900, mobile);
        assert_eq!(browser.eval(out), json!([]), "a figure is cut off: {width}");
    }

    let refusing = refusing();
    browser.eval(&format!("show({{ components: [{refusing}], controls: false }}); 0"));
    let note = browser.eval("document.querySelector('[data-layer=balance] .note').textContent");
    let note = note.as_str().unwrap();
    let words = "there is no endpoint, or none takes calls now (endpoints 3, open 3, ejected 0, next probe in";
    assert!(note.contains(words) && note.contains("Look at the endpoints"), "{note}");
    assert_eq!(browser.complaints(), [""; 0]);
}
