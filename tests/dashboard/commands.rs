//! Who may change which state by hand, and how commands are answered.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use seawall::circuit_breaker::State;
use seawall::dashboard::{Dashboard, DashboardConfig};
use seawall::registry::Registry;
use serde_json::Value;
use tower::ServiceExt;

use crate::{Payments, ask, payments};

const FORCE_OPEN: &str = r#"{"name":"payments","layer":"circuit_breaker","command":"force_open"}"#;

/// A command as the page sends it.
fn command(body: &str) -> Request<Full<Bytes>> {
    Request::post("/control")
        .header("host", "localhost:8080")
        .header("content-type", "application/json")
        .header("x-seawall-control", "1")
        .body(Full::from(body.to_owned()))
        .unwrap()
}

async fn status(dashboard: &Dashboard, request: Request<Full<Bytes>>) -> u16 {
    ask(dashboard, request).await.0.status().as_u16()
}

fn open_to_all() -> (Dashboard, Payments) {
    let (dashboard, payments) = payments();
    (dashboard.with_controls(|_| true), payments)
}

#[tokio::test(start_paused = true)]
async fn unauthorized_reader_gets_no_controls() {
    let (looking, payments) = payments();
    assert_eq!(status(&looking, command(FORCE_OPEN)).await, 404);

    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let for_ops = looking.clone().with_controls(move |parts| {
        counted.fetch_add(1, Ordering::Relaxed);
        parts.headers.get("x-user").is_some_and(|user| user == "ops")
    });
    let live = |user: &'static str| Request::get("/live").header("x-user", user).body(Full::default()).unwrap();
    for (user, allowed) in [("ops", true), ("guest", false)] {
        let (_, body) = ask(&for_ops, live(user)).await;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["controls"], allowed);
        let mut command = command(FORCE_OPEN);
        command.headers_mut().insert("x-user", user.parse().unwrap());
        assert_eq!(status(&for_ops, command).await, if allowed { 200 } else { 403 });
        assert_eq!(payments.1.handle().state(), if allowed { State::ForcedOpen } else { State::Closed });
        payments.1.handle().enforce();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4, "at each page and at each command");
}

#[tokio::test(start_paused = true)]
async fn command_is_applied_and_answered_with_its_outcome() {
    let (dashboard, payments) = open_to_all();
    let breaker = payments.1.handle();
    for (name, state, word) in [
        ("force_open", State::ForcedOpen, "forced_open"),
        ("enforce", State::Closed, "closed"),
        ("disable", State::Disabled, "disabled"),
        ("observe", State::Closed, "closed"),
        ("reset", State::Closed, "closed"),
    ] {
        let body = FORCE_OPEN.replace("force_open", name);
        let (response, answer) = ask(&dashboard, command(&body)).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        let component: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((&component["name"], &component["layer"]), (&"payments".into(), &"circuit_breaker".into()));
        assert_eq!(component["condition"]["circuit_breaker"]["state"], word);
        assert_eq!(breaker.state(), state, "{name}");
    }
    let set = r#"{"name":"payments","layer":"bulkhead","command":{"set_limit":7}}"#;
    let (_, answer) = ask(&dashboard, command(set)).await;
    let component: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(component["condition"]["bulkhead"]["limit"], 7);
}

#[tokio::test(start_paused = true)]
async fn invalid_commands_are_refused_with_an_error() {
    let (dashboard, _payments) = open_to_all();
    for (body, expected) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ("\u{0}\u{1}", 400),
        (r#"{"name":"payments"}"#, 400),
        (r#"{"name":7,"layer":"circuit_breaker","command":"reset"}"#, 400),
        (r#"{"name":"unknown","layer":"circuit_breaker","command":"force_open"}"#, 404),
        (r#"{"name":"payments","layer":"__proto__","command":"force_open"}"#, 404),
        (r#"{"name":"payments","layer":"circuit_breaker","command":"explode"}"#, 422),
        (r#"{"name":"payments","layer":"circuit_breaker","command":{"set_limit":5}}"#, 422),
        (r#"{"name":"payments","layer":"bulkhead","command":{"set_limit":0}}"#, 422),
        (r#"{"name":"payments","layer":"bulkhead","command":{"set_limit":-1}}"#, 422),
        (r#"{"name":"payments","layer":"bulkhead","command":{"set_limit":4294967296}}"#, 422),
        (r#"{"name":"payments","layer":"bulkhead","command":{"set_limit":1.5}}"#, 422),
        (r#"{"name":"payments","layer":"bulkhead","command":{"set_limit":5,"reset":1}}"#, 422),
        (r#"{"name":"payments","layer":"bulkhead","command":"force_open"}"#, 422),
    ] {
        let (response, answer) = ask(&dashboard, command(body)).await;
        assert_eq!(response.status().as_u16(), expected, "{body}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["error"].is_string(), "{body}: {answer}");
    }
    let nested = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    assert_eq!(status(&dashboard, command(&nested)).await, 400);
    let mut get = command("");
    *get.method_mut() = http::Method::GET;
    let (response, _) = ask(&dashboard, get).await;
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn cross_site_commands_are_refused() {
    let (dashboard, _payments) = open_to_all();
    let with = |headers: &[(&'static str, &str)]| {
        let mut command = command(FORCE_OPEN);
        for (name, value) in headers {
            if value.is_empty() {
                command.headers_mut().remove(*name);
            } else {
                command.headers_mut().insert(*name, value.parse().unwrap());
            }
        }
        command
    };
    for (headers, expected) in [
        (&[("x-seawall-control", "")][..], 403),
        (&[("x-seawall-control", "0")], 403),
        (&[("content-type", "")], 415),
        (&[("content-type", "text/plain")], 415),
        (&[("content-type", "application/x-www-form-urlencoded")], 415),
        (&[("content-type", "application/jsonp")], 415),
        (&[("content-type", "Application/JSON; charset=utf-8")], 200),
        (&[("origin", "http://localhost:8080")], 200),
        (&[("origin", "https://localhost:8080")], 200),
        (&[("origin", "http://LOCALHOST:8080")], 200),
        (&[("origin", "http://localhost")], 403),
        (&[("origin", "http://evil.test")], 403),
        (&[("origin", "http://localhost:8080.evil.test")], 403),
        (&[("origin", "http://localhost:8080"), ("host", "")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "same-origin")], 200),
        (&[("sec-fetch-site", "same-origin"), ("origin", "https://behind-a-proxy.test")], 200),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8080")], 403),
        (&[("sec-fetch-site", "none")], 403),
    ] {
        assert_eq!(status(&dashboard, with(headers)).await, expected, "{headers:?}");
    }
    let mut twice = with(&[("sec-fetch-site", "same-origin")]);
    twice.headers_mut().append("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(status(&dashboard, twice).await, 403);
}

#[tokio::test(start_paused = true)]
async fn configured_limits_hold() {
    let (dashboard, _payments) = open_to_all();
    let timeout = Duration::from_millis(100);
    let config =
        DashboardConfig { max_responses: 1, max_command_bytes: 10, command_timeout: timeout, ..Default::default() };
    let dashboard = dashboard.with_config(config).unwrap();
    assert_eq!(status(&dashboard, command("12345678901")).await, 413);
    assert_eq!(status(&dashboard, command("1234567890")).await, 400);

    let begun = tokio::time::Instant::now();
    let silent = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let response = dashboard.clone().oneshot(command("").map(|_| StreamBody::new(silent))).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(begun.elapsed() <= timeout + Duration::from_millis(10), "{:?}", begun.elapsed());

    let live = || Request::get("/live").header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
    let unread = dashboard.clone().oneshot(live()).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    assert_eq!(status(&dashboard, live()).await, 503);
    drop(unread);
    assert_eq!(status(&dashboard, live()).await, 200);
}

#[test]
fn limits_are_read_from_files_and_validated() {
    let read: DashboardConfig = serde_json::from_str(r#"{"max_responses": 2, "command_timeout": "1s"}"#).unwrap();
    let expected =
        DashboardConfig { max_responses: 2, command_timeout: Duration::from_secs(1), ..DashboardConfig::default() };
    assert_eq!(read, expected);
    let zeros = DashboardConfig {
        max_responses: 0,
        max_documents_in_progress: 0,
        max_command_bytes: 0,
        command_timeout: Duration::ZERO,
    };
    let invalid = Dashboard::new(Registry::new()).with_config(zeros).unwrap_err();
    let faults: Vec<_> = invalid.faults().iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "max_responses: must be at least 1",
            "max_documents_in_progress: must be at least 1",
            "max_command_bytes: must be at least 1",
            "command_timeout: must be more than zero",
        ]
    );
}

/// A body that must never be polled.
struct Untouched;

impl http_body::Body for Untouched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body was polled")
    }
}

#[tokio::test(start_paused = true)]
async fn body_of_an_unauthorized_command_is_not_read() {
    let denied = payments().0.with_controls(|_| false);
    let response = denied.oneshot(command("").map(|_| Untouched)).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn command_body_is_bounded_in_size_and_time() {
    let (dashboard, _payments) = open_to_all();
    let large = format!(r#"{{"name":"{}""#, "x".repeat(4096));
    assert_eq!(status(&dashboard, command(&large)).await, 413);
    let padded = format!("{FORCE_OPEN:4096}");
    assert_eq!(status(&dashboard, command(&padded)).await, 200);

    let endless = futures::stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"  "))));
    let response = dashboard.clone().oneshot(command("").map(|_| StreamBody::new(endless))).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let begun = tokio::time::Instant::now();
    let silent = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let response = dashboard.clone().oneshot(command("").map(|_| StreamBody::new(silent))).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(begun.elapsed() <= Duration::from_millis(5010), "{:?}", begun.elapsed());

    let broken = futures::stream::iter([Err::<Frame<Bytes>, _>("gone")]);
    let response = dashboard.oneshot(command("").map(|_| StreamBody::new(broken))).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&answer[..], br#"{"error":"the body broke off"}"#);
}
