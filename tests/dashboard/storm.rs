//! A small outage on real sockets, seen in a real browser.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::dashboard::Dashboard;
use seawall::registry::Registry;
use seawall::stack::{self, ClientConfig};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::interval;
use tower::ServiceExt;

use crate::browser;

/// A dependency that can be told to fail, a client that calls it fifty times a second, and the page.
pub(crate) struct Storm {
    pub(crate) page: String,
    pub(crate) is_down: Arc<AtomicBool>,
    pub(crate) registry: Registry,
    runtime: Runtime,
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

impl Storm {
    pub(crate) fn begin() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (registry, is_down) = (Registry::new(), Arc::new(AtomicBool::new(false)));
        let page = runtime.block_on(async {
            let down = Arc::clone(&is_down);
            let pay = move || async move {
                if down.load(Ordering::Relaxed) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
            };
            let dependency = serve(Router::new().route("/pay", get(pay))).await;
            let config = ClientConfig {
                deadline: Duration::from_secs(1).into(),
                // A short window, so that old failures expire soon.
                circuit_breaker: CircuitBreakerConfig { max_break: Duration::from_secs(2), ..Default::default() },
                ..Default::default()
            };
            let client = stack::client(&config)
                .unwrap()
                .named_in(&registry, "payments")
                .unwrap()
                .service(Client::builder(TokioExecutor::new()).build_http());
            tokio::spawn(async move {
                let mut ticks = interval(Duration::from_millis(20));
                loop {
                    ticks.tick().await;
                    let request = Request::get(format!("http://{dependency}/pay")).body(Empty::<Bytes>::new()).unwrap();
                    let client = client.clone();
                    tokio::spawn(async move {
                        if let Ok(response) = client.oneshot(request).await {
                            let _ = response.into_body().collect().await;
                        }
                    });
                }
            });
            let dashboard = Dashboard::new(registry.clone()).with_controls(|_| true);
            format!("http://{}/ops/seawall", serve(Router::new().nest_service("/ops/seawall", dashboard)).await)
        });
        Self { page, is_down, registry, runtime }
    }

    /// Ends the service together with its page.
    pub(crate) fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// An expression that is true while the breaker of `payments` is shown in this state.
fn shown(state: &str) -> String {
    format!(
        "[...document.querySelectorAll('section[aria-label=payments] [data-layer=circuit_breaker] .chip')]\
         .some((chip) => chip.textContent.endsWith('{state}'))"
    )
}

#[test]
fn page_shows_a_breaker_open_and_close() {
    let storm = Storm::begin();
    let Some(mut browser) = browser() else { return };
    browser.viewport(1200, 900, false);
    browser.open(&storm.page);
    browser.wait_for("calls go through a closed breaker", &shown("Closed"));
    let rows = "[...document.querySelectorAll('section[aria-label=payments] .row')].map((r) => r.dataset.layer).join()";
    assert_eq!(browser.eval(rows), "deadline,retry,throttle,bulkhead,circuit_breaker", "in call order");
    let drawn = "document.querySelector('[data-layer=circuit_breaker] .chart .good').getAttribute('d').length > 40";
    browser.wait_for("a curve", drawn);

    storm.is_down.store(true, Ordering::Relaxed);
    browser.wait_for("the breaker opens", &shown("Open"));
    let said =
        |what: &str| format!("/{what}/.test(document.querySelector('[data-layer=circuit_breaker] .note').textContent)");
    let why = r"the circuit is open: .* \(\d+ failed .*open for .*, (next probe in|probing now).*\)\. Look at the dependency's errors";
    browser.wait_for("the page says why calls are refused, and what to do", &said(why));
    browser
        .wait_for("the summary", "document.getElementById('summary').textContent.startsWith('In trouble: payments')");
    let band = "document.querySelectorAll('[data-layer=circuit_breaker] .band .s2').length > 0";
    browser.wait_for("the band", band);

    storm.is_down.store(false, Ordering::Relaxed);
    browser.wait_for("the breaker closes when the dependency recovers", &shown("Closed"));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn breaker_is_forced_open_after_confirmation_and_released() {
    let storm = Storm::begin();
    let Some(mut browser) = browser() else { return };
    browser.viewport(1200, 900, false);
    browser.open(&format!("{}/", storm.page));
    browser.wait_for("the breaker", &shown("Closed"));
    let press = |text: &str| {
        format!("[...document.querySelectorAll('button')].find((b) => b.textContent === '{text}').click()")
    };
    browser.eval(&press("Force open…"));
    assert_eq!(browser.eval("document.getElementById('ask').open"), true);
    assert_eq!(browser.eval("document.activeElement.id"), "ask-no");
    browser.eval(&press("Leave it"));
    assert_eq!(browser.eval("document.getElementById('ask').open"), false);

    browser.eval(&press("Force open…"));
    browser.eval(&press("Force open"));
    browser.wait_for("the breaker is forced open", &shown("Forced open"));
    browser.eval(&press("Let it decide"));
    browser.wait_for("the breaker is released", &shown("Closed"));

    let set = "document.querySelector('[data-layer=bulkhead] input').value = '7'";
    browser.eval(set);
    browser.eval(&press("Set limit"));
    browser.wait_for("the limit", "document.querySelector('[data-layer=bulkhead]').textContent.includes('of 7')");
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(storm.registry.find("payments").len(), 5);
}

#[test]
fn page_reports_a_lost_service() {
    let storm = Storm::begin();
    let Some(mut browser) = browser() else { return };
    browser.open(&storm.page);
    browser.wait_for("the breaker", &shown("Closed"));
    assert_eq!(browser.eval("document.getElementById('lost').hidden"), true);
    storm.end();
    let lost = "!document.getElementById('lost').hidden && \
        /^Connection lost since \\d\\d:\\d\\d:\\d\\d\\.$/.test(document.getElementById('lost-since').textContent)";
    browser.wait_for("the banner", lost);
    browser.wait_for("the page retries", "document.getElementById('lost').textContent.includes('Next try in')");
    assert_eq!(browser.eval("document.querySelectorAll('.row').length > 0"), true, "the last data stays visible");
}
