//! What is answered to those who look.

use axum::Router;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use seawall::dashboard::Dashboard;
use serde_json::Value;
use tower::ServiceExt;

use crate::fake::{ask, dashboard};

fn request(method: Method, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::default()).unwrap()
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_framed_by_nobody() {
    let dashboard = dashboard();
    for path in ["/", "/live", "/control", "/nonsense"] {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS] {
            let (response, _) = ask(&dashboard, request(method, path)).await;
            assert_eq!(header(&response, "cache-control"), "no-store");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert_eq!(header(&response, "referrer-policy"), "no-referrer");
            let policy = header(&response, "content-security-policy");
            assert!(policy.starts_with("default-src 'none'; connect-src 'self'; style-src 'sha256-"), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'; base-uri 'none'; form-action 'none'"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert!(!response.headers().contains_key("access-control-allow-origin"));
        }
    }
}

#[tokio::test]
async fn methods_and_paths() {
    let dashboard = dashboard();
    for path in ["/", "/live"] {
        let (got, body) = ask(&dashboard, request(Method::GET, path)).await;
        assert_eq!(got.status(), StatusCode::OK);
        assert_eq!(header(&got, "content-length"), body.len().to_string());
        let (head, nothing) = ask(&dashboard, request(Method::HEAD, path)).await;
        assert_eq!((head.status(), nothing.len()), (StatusCode::OK, 0));
        assert_eq!(header(&head, "content-type"), header(&got, "content-type"));
        assert!(header(&head, "content-length").parse::<usize>().unwrap() > 0);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            let (response, _) = ask(&dashboard, request(method, path)).await;
            assert_eq!((response.status(), header(&response, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
        }
    }
    for path in ["/nonsense", "/live/", "/live/x", "/LIVE", "//", "/control", "/%6cive", "/../live"] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let (response, _) = ask(&dashboard, request(method, path)).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
    let (live, body) = ask(&dashboard, request(Method::GET, "/live?x=1")).await;
    assert_eq!(header(&live, "content-type"), "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["controls"], false);
}

#[tokio::test]
async fn it_is_mounted_with_its_prefix_taken_off_or_not() {
    let nested = Router::new().nest_service("/seawall", dashboard());
    let dashboard = dashboard().mounted_at("/seawall/");
    let routed: Router =
        Router::new().route_service("/seawall", dashboard.clone()).route_service("/seawall/{*rest}", dashboard.clone());
    let routed = routed.route_service("/seawall/", dashboard);
    for app in [nested, routed] {
        for (path, status, what) in [
            ("/seawall", 200, "text/html; charset=utf-8"),
            ("/seawall/", 200, "text/html; charset=utf-8"),
            ("/seawall/live", 200, "application/json"),
            ("/seawall/control", 404, "application/json"),
            ("/seawall/x", 404, "application/json"),
            ("/seawallx", 404, ""),
            ("/", 404, ""),
        ] {
            let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!((response.status().as_u16(), header(&response, "content-type")), (status, what), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_minute_is_kept_and_no_more() {
    let dashboard = dashboard();
    let minute = async |dashboard: &Dashboard| {
        let (_, body) = ask(dashboard, request(Method::GET, "/live")).await;
        let live: Value = serde_json::from_slice(&body).unwrap();
        live["components"][0]["last_minute"]["state"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(minute(&dashboard).await, 0);
    tokio::time::sleep(std::time::Duration::from_millis(10_500)).await;
    assert_eq!(minute(&dashboard).await, 10);
    tokio::time::sleep(std::time::Duration::from_secs(500)).await;
    assert_eq!(minute(&dashboard).await, 60);
}

#[test]
fn made_outside_a_runtime_it_begins_with_the_first_request() {
    let dashboard = dashboard();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // And again in a second runtime, when the first one has ended.
    for _ in 0..2 {
        let runtime = runtime();
        runtime.block_on(async {
            assert_eq!(runtime.metrics().num_alive_tasks(), 0);
            ask(&dashboard, request(Method::GET, "/live")).await;
            assert_eq!(runtime.metrics().num_alive_tasks(), 1);
            ask(&dashboard, request(Method::GET, "/live")).await;
            assert_eq!(runtime.metrics().num_alive_tasks(), 1, "one for all");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_clone() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let dashboard = dashboard();
    let clone = dashboard.clone().with_controls(|_| true);
    drop(dashboard);
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 1);
    drop(clone);
    tokio::task::yield_now().await;
    assert_eq!(metrics.num_alive_tasks(), 0);
}

#[tokio::test]
async fn an_answer_says_how_long_it_is() {
    let response = dashboard().oneshot(request(Method::GET, "/")).await.unwrap();
    let exact = http_body::Body::size_hint(response.body()).exact();
    assert_eq!(exact, Some(response.into_body().collect().await.unwrap().to_bytes().len() as u64));
}
