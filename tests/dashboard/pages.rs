//! What is answered to those who look.

use axum::Router;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

use crate::{ask, payments};

fn request(method: Method, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).body(Full::default()).unwrap()
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_is_kept_by_nobody_and_framed_by_nobody() {
    let (dashboard, _payments) = payments();
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
    let (dashboard, _payments) = payments();
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
    let (dashboard, _payments) = payments();
    let nested = Router::new().nest_service("/seawall", dashboard.clone());
    let dashboard = dashboard.mounted_at("/seawall/");
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

#[tokio::test]
async fn an_answer_says_how_long_it_is() {
    let response = payments().0.oneshot(request(Method::GET, "/")).await.unwrap();
    let exact = http_body::Body::size_hint(response.body()).exact();
    assert_eq!(exact, Some(response.into_body().collect().await.unwrap().to_bytes().len() as u64));
}
