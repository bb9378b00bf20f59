//! The layers on a real axum router: one layer value has one state, however often axum applies the layer.
#![cfg(feature = "http")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use seawall::http::respond::RespondLayer;
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use tower::{ServiceBuilder, ServiceExt};

fn router_with_ten_routes_and_five_calls_an_hour() -> Router {
    let config = RateLimitConfig { permits: 5, per: Duration::from_secs(3600), burst: Some(5), ..Default::default() };
    let layers = ServiceBuilder::new().layer(RespondLayer::new()).layer(RateLimitLayer::new(config).unwrap());
    (0..10).fold(Router::new(), |router, n| router.route(&format!("/{n}"), get(|| async { "hello" }))).layer(layers)
}

/// A raw `Router`, not served by `axum::serve`, applies its layers again for each request.
#[tokio::test]
async fn raw_router_with_many_routes_has_one_limit() {
    let app = router_with_ten_routes_and_five_calls_an_hour();
    let mut served = 0;
    for n in 0..20 {
        let request = Request::builder().uri(format!("/{}", n % 10)).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        match response.status().as_u16() {
            200 => served += 1,
            status => {
                assert_eq!(status, 429);
                assert!(response.headers().contains_key("retry-after"));
            }
        }
    }
    assert_eq!(served, 5);
}
