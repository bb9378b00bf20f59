//! Responses to readers of the page.

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

#[tokio::test(start_paused = true)]
async fn responses_forbid_caching_and_framing() {
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

#[tokio::test(start_paused = true)]
async fn unknown_methods_and_paths_are_refused() {
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

#[tokio::test(start_paused = true)]
async fn page_works_with_and_without_a_stripped_prefix() {
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

#[tokio::test(start_paused = true)]
async fn responses_have_a_content_length() {
    let response = payments().0.oneshot(request(Method::GET, "/")).await.unwrap();
    let exact = http_body::Body::size_hint(response.body()).exact();
    assert_eq!(exact, Some(response.into_body().collect().await.unwrap().to_bytes().len() as u64));
}

/// A page of another site whose name resolves to this server (DNS rebinding) has the same origin for the browser.
#[tokio::test(start_paused = true)]
async fn unknown_host_names_get_421() {
    let (dashboard, _payments) = payments();
    let dashboard = dashboard.with_controls(|_| true).with_hosts(["ops.example"]);
    for (host, expected) in [
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("localhost", 200),
        ("OPS.example:80", 200),
    ] {
        for (method, path) in [(Method::GET, "/"), (Method::GET, "/live"), (Method::POST, "/control")] {
            let mut request = request(method.clone(), path);
            request.headers_mut().insert("host", host.parse().unwrap());
            request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
            let status = ask(&dashboard, request).await.0.status().as_u16();
            let expected = if method == Method::POST && expected == 200 { 403 } else { expected };
            assert_eq!(status, expected, "{host} {path}");
        }
    }
    // In HTTP/2 the name is in the URI; if a `host` header is present too, both must agree.
    let (evil, _) = ask(&dashboard, request(Method::GET, "http://evil.example/live")).await;
    assert_eq!(evil.status(), 421);
    let mut two = request(Method::GET, "/live");
    two.headers_mut().append("host", "localhost".parse().unwrap());
    two.headers_mut().append("host", "evil.example".parse().unwrap());
    assert_eq!(ask(&dashboard, two).await.0.status(), 421);
}

#[tokio::test(start_paused = true)]
async fn data_is_compressed_for_readers_that_accept_it() {
    use std::io::Read;
    let (dashboard, _payments) = payments();
    let (plain, body) = ask(&dashboard, request(Method::GET, "/live")).await;
    assert_eq!((header(&plain, "content-encoding"), header(&plain, "vary")), ("", "accept-encoding"));
    for (accepts, is_compressed) in [("gzip, deflate, br", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false)] {
        let mut request = request(Method::GET, "/live");
        request.headers_mut().insert("accept-encoding", accepts.parse().unwrap());
        let (response, got) = ask(&dashboard, request).await;
        assert_eq!(header(&response, "content-encoding"), if is_compressed { "gzip" } else { "" });
        let mut text = Vec::new();
        match is_compressed {
            true => drop(flate2::read::GzDecoder::new(&got[..]).read_to_end(&mut text).unwrap()),
            false => text = got.to_vec(),
        }
        assert!(!is_compressed || got.len() < body.len(), "{} of {}", got.len(), body.len());
        let components = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap()["components"].clone();
        assert_eq!(components(&text), components(&body));
    }
}

/// The data of a second is built once for all readers, and readers that read nothing do not fill the memory.
#[tokio::test(start_paused = true)]
async fn readers_that_read_nothing_are_bounded() {
    let (dashboard, _payments) = payments();
    let live = || dashboard.clone().oneshot(request(Method::GET, "/live"));
    let mut kept = Vec::new();
    let refused = loop {
        let response = live().await.unwrap();
        match response.status() {
            StatusCode::OK => kept.push(response),
            _ => break response,
        }
        assert!(kept.len() <= 1000, "no bound");
    };
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (503, "1"));
    drop(kept);
    assert_eq!(live().await.unwrap().status(), StatusCode::OK);
}
