//! How a real browser renders names, sizes and colours.

use std::time::Duration;

use axum::Router;
use http::Request;
use http_body_util::Full;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::dashboard::Dashboard;
use seawall::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::{ask, browser};

/// Names that would have an effect if they were interpreted as anything but text.
fn hostile() -> Vec<String> {
    vec![
        "<script>alert(1)</script>".to_owned(),
        "<img src=x onerror=alert(1)>".to_owned(),
        "\" onmouseover=\"alert(1)".to_owned(),
        "</script><script>alert(1)".to_owned(),
        "__proto__".to_owned(),
        "constructor".to_owned(),
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} evil".to_owned(),
        "&lt;b&gt;&#0;".to_owned(),
        "W".repeat(120),
        "${alert(1)}{{alert(1)}}".to_owned(),
    ]
}

/// The page of bulkheads with these names.
fn page(names: &[String]) -> (String, impl Sized + use<>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let registry = Registry::new();
    let layer =
        |name: &String| BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(&registry, name).unwrap();
    let layers: Vec<_> = names.iter().map(layer).collect();
    let url = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dashboard = Dashboard::new(registry).with_controls(|_| true);
        tokio::spawn(axum::serve(listener, Router::new().fallback_service(dashboard)).into_future());
        format!("http://{address}/")
    });
    (url, (layers, runtime))
}

#[test]
fn names_are_rendered_as_text() {
    let names = hostile();
    let (url, _kept) = page(&names);
    let Some(mut browser) = browser() else { return };
    browser.open(&url);
    browser.wait_for("all names", &format!("document.querySelectorAll('.group').length === {}", names.len()));
    let mut shown: Vec<String> =
        serde_json::from_value(browser.eval("[...document.querySelectorAll('h2 > bdi')].map((n) => n.textContent)"))
            .unwrap();
    let mut names = names;
    names.sort();
    shown.sort();
    assert_eq!(shown, names);
    assert_eq!(browser.eval("document.querySelectorAll('script').length"), 1);
    assert_eq!(browser.eval("document.querySelectorAll('img').length"), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Without the policy, this test would see the effect.
#[test]
fn content_policy_blocks_markup_images_and_styles() {
    let (url, _kept) = page(&["payments".to_owned()]);
    let Some(mut browser) = browser() else { return };
    browser.open(&url);
    browser.wait_for("a row", "document.querySelectorAll('.row').length === 1");
    let markup =
        "(() => { try { document.body.innerHTML = '<p>'; return 'made' } catch (error) { return error.name } })()";
    assert_eq!(browser.eval(markup), "TypeError", "text never becomes markup");
    assert!(!browser.complaints().is_empty());
    for (what, attributes) in [("img", "src: '/x.png'"), ("style", "textContent: 'body { display: none }'")] {
        browser.eval(&format!(
            "document.body.append(Object.assign(document.createElement('{what}'), {{ {attributes} }})); 0"
        ));
        browser.wait_for("the page stands", "getComputedStyle(document.body).display === 'block'");
        let heard = browser.complaints();
        assert!(heard.iter().any(|complaint| complaint.contains("Content Security Policy")), "{what}: {heard:?}");
    }
}

#[test]
fn page_fits_phone_and_desktop_in_both_schemes() {
    let (url, _kept) = page(&hostile());
    let Some(mut browser) = browser() else { return };
    for (width, height, mobile) in [(360, 740, true), (768, 1024, true), (1200, 900, false), (2560, 1440, false)] {
        for scheme in ["light", "dark"] {
            browser.viewport(width, height, mobile);
            browser.color_scheme(scheme);
            browser.open(&url);
            browser.wait_for("the rows", "document.querySelectorAll('.row').length === 10");
            let wide = browser.eval("document.documentElement.scrollWidth");
            assert_eq!(wide, json!(width), "no horizontal scrolling");
            // No element sticks out of its group either.
            let out = "[...document.querySelectorAll('.group *')].filter((n) => n.getBoundingClientRect().width > 0 && \
                n.getBoundingClientRect().right > n.closest('.group').getBoundingClientRect().right + 1).length";
            assert_eq!(browser.eval(out), 0, "{width} {scheme}");
            assert_eq!(browser.eval(FAINT), json!([]), "text with too little contrast: {width} {scheme}");
        }
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

/// All text whose contrast to its background is less than 4.5 to 1, the WCAG limit of level AA.
const FAINT: &str = r#"(() => {
    const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const color = rgb(getComputedStyle(node).backgroundColor);
            if (color.length === 3 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    const faint = new Set();
    for (const node of document.querySelectorAll("body *:not(script):not(svg *)")) {
        const says = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!says || !node.checkVisibility()) continue;
        const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) faint.add(`${node.className || node.localName}: ${contrast.toFixed(2)}`);
    }
    return [...faint];
})()"#;

#[test]
fn every_drawing_has_a_text_alternative() {
    let (url, _kept) = page(&["payments".to_owned()]);
    let Some(mut browser) = browser() else { return };
    browser.open(&url);
    browser.wait_for("a row", "document.querySelectorAll('.row').length === 1");
    let unsaid =
        "[...document.querySelectorAll('svg')].filter((n) => !(n.getAttribute('aria-label') || '').length).length";
    assert_eq!(browser.eval(unsaid), 0);
    let unnamed = "[...document.querySelectorAll('button, input')].filter((n) => \
        !(n.textContent.trim() || n.getAttribute('aria-label') || n.id)).length";
    assert_eq!(browser.eval(unnamed), 0);
    assert_eq!(browser.eval("document.documentElement.lang"), "en");
}

#[test]
fn hidden_page_sends_no_requests() {
    let (url, _kept) = page(&["payments".to_owned()]);
    let Some(mut browser) = browser() else { return };
    browser.open(&url);
    browser.wait_for("a row", "document.querySelectorAll('.row').length === 1");
    // As if the tab were in the background.
    browser.eval("Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true }); 0");
    browser.eval("window.away = true; document.dispatchEvent(new Event('visibilitychange')); 0");
    browser.eval("window.asked = 0; window.fetch = ((real) => (...a) => (window.asked += 1, real(...a)))(fetch); 0");
    browser.eval("new Promise((resolve) => setTimeout(resolve, 2500))");
    assert_eq!(browser.eval("window.asked"), 0);
    browser.eval("window.away = false; document.dispatchEvent(new Event('visibilitychange')); 0");
    browser.wait_for("polling resumes", "window.asked > 1");
}

/// A breaker opened long ago, and no call has come since.
#[test]
fn page_shows_that_an_idle_open_breaker_refuses_nothing() {
    let registry = Registry::new();
    let config = CircuitBreakerConfig { consecutive_failures: Some(1), ..CircuitBreakerConfig::default() };
    let layer = CircuitBreakerLayer::new(config).unwrap().named_in(&registry, "payments").unwrap();
    let dashboard = Dashboard::new(registry);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let [opened, idle] = runtime.block_on(async {
        let down = layer.layer(service_fn(|()| async { Err::<(), _>(BoxError::from("down")) }));
        down.oneshot(()).await.unwrap_err();
        let look = async || {
            let (_, document) = ask(&dashboard, Request::get("/live").body(Full::default()).unwrap()).await;
            let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
            document["components"][0].clone()
        };
        let opened = look().await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        [opened, look().await]
    });
    assert_eq!(idle["condition"]["circuit_breaker"]["state"], "open", "{idle}");
    let (url, _kept) = page(&["any".to_owned()]);
    let Some(mut browser) = browser() else { return };
    browser.open(&url);
    browser.wait_for("the page", "typeof judge === 'function'");
    let mut said = |component| browser.eval(&format!("judge({component})"));
    let opened = said(opened);
    assert!(opened[0] == 3 && opened[2].as_str().unwrap().starts_with("Refuses calls for "), "{opened}");
    assert_eq!(
        said(idle),
        json!([1, "Open", "The break is over, and no call has come to probe with; open for 60 min"])
    );
}
