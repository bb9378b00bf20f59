use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use seawall::balance::AtEndpoint;

use super::*;

/// Addresses of IPv6. One without brackets is refused, and never taken for another host.
#[tokio::test(start_paused = true)]
async fn addresses_of_ipv6_are_kept() {
    for (address, expected) in [
        ("[::1]:8080", Some("http://[::1]:8080/status")),
        ("[2001:db8::7]", Some("http://[2001:db8::7]/status")),
        ("https://[2001:db8::7]:8443", Some("https://[2001:db8::7]:8443/status")),
        ("::1", None),
        ("2001:db8::7", None),
        ("::1:8080", None),
    ] {
        let layer = BalanceLayer::new(BalanceConfig::default()).unwrap();
        let layer = layer.with_endpoints([Endpoint::new(address)]).unwrap();
        let client = service_fn(|request: Request<()>| async move { Ok::<_, BoxError>(request.uri().to_string()) });
        let service = layer.service(move |endpoint| AtEndpoint::new(endpoint, client));
        let uri = service.oneshot(Request::get("http://orders.internal/status").body(()).unwrap()).await.ok();
        assert_eq!(uri.as_deref(), expected, "{address}");
    }
}

/// How many of these calls, one each 5 ms, go to the endpoint that is called `a`.
async fn calls_of_a<S, B>(service: &S, number: usize) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..number {
        let call = service.clone().oneshot(Request::new(Empty::new()));
        calls.spawn(async {
            let (head, body) = call.await.unwrap().into_parts();
            body.collect().await.unwrap();
            head.headers["endpoint"] == "a"
        });
        sleep(5 * MS).await;
    }
    calls.join_all().await.into_iter().filter(|is_a| *is_a).count()
}

/// An endpoint reports a thousand calls of others once, and then none or nothing. It gets its share back.
#[tokio::test(start_paused = true)]
async fn old_report_of_load_is_forgotten() {
    for later in [Some("TEXT named_metrics.in_flight=0"), None] {
        seawall::seed(1);
        let is_busy = Arc::new(AtomicBool::new(true));
        let layer = BalanceLayer::http(BalanceConfig::default()).unwrap();
        let layer = layer.with_endpoints(["a", "b"].map(Endpoint::new)).unwrap();
        let busy = Arc::clone(&is_busy);
        let service = layer.service(move |endpoint| {
            let (is_a, busy) = (endpoint.key() == "a", Arc::clone(&busy));
            service_fn(move |_: Request<Empty<Bytes>>| {
                let report = match (is_a, busy.load(Ordering::SeqCst)) {
                    (true, true) => Some("TEXT named_metrics.in_flight=1000"),
                    (true, false) => later,
                    (false, _) => Some("TEXT named_metrics.in_flight=0"),
                };
                async move {
                    sleep(10 * MS).await;
                    let mut response = Response::builder().header("endpoint", if is_a { "a" } else { "b" });
                    if let Some(report) = report {
                        response = response.header("endpoint-load-metrics", report);
                    }
                    Ok::<_, BoxError>(response.body(Full::new(Bytes::from("hello")))?)
                }
            })
        });
        let avoided = calls_of_a(&service, 400).await;
        assert!(avoided < 130, "{avoided} of 400 while it is busy");
        is_busy.store(false, Ordering::SeqCst);
        calls_of_a(&service, 2000).await;
        let calls = calls_of_a(&service, 400).await;
        assert!((140..=260).contains(&calls), "{calls} of 400, then {later:?}");
    }
}
