//! A priority travels from a handler to the services that it calls.

use seawall::context::{self, Priority};
use seawall::stack::{self, ServerConfig};

use super::*;

const NAMES: [&str; 4] = ["low", "normal", "high", "critical"];

/// A tier that answers with the priority of each request.
async fn priority_tier(max_priority: Priority) -> SocketAddr {
    let mut config = ServerConfig::default();
    config.propagation.max_priority = max_priority;
    let handler = || async { format!("{:?}", context::priority()).to_lowercase() };
    serve(Router::new().fallback(handler).layer(stack::server(&config).unwrap())).await
}

#[tokio::test(start_paused = true)]
async fn request_priority_is_capped_at_the_highest_accepted() {
    for (n, max) in [Priority::Low, Priority::Normal, Priority::High, Priority::Critical].into_iter().enumerate() {
        let address = priority_tier(max).await;
        for (m, name) in NAMES.iter().enumerate() {
            let seen = send(&bare(), address, &[("x-priority", name)]).await.unwrap().body;
            assert_eq!(seen, NAMES[n.min(m)], "{name} with {max:?} as the highest");
        }
    }
    let address = priority_tier(ServerConfig::default().propagation.max_priority).await;
    assert_eq!(send(&bare(), address, &[("x-priority", "critical")]).await.unwrap().body, "high", "by default");
}

#[tokio::test(start_paused = true)]
async fn invalid_priority_is_ignored() {
    let address = priority_tier(Priority::Critical).await;
    for nonsense in ["", "urgent", "3", "high, low", "u=0"] {
        assert_eq!(send(&bare(), address, &[("x-priority", nonsense)]).await.unwrap().body, "normal", "{nonsense:?}");
    }
    let several = [("x-priority", "critical"), ("x-priority", "low"), ("x-priority", "?")];
    assert_eq!(send(&bare(), address, &several).await.unwrap().body, "low", "the lowest of several");
    assert_eq!(send(&bare(), address, &[("x-priority", "HIGH")]).await.unwrap().body, "high");
}

#[tokio::test(start_paused = true)]
async fn client_sends_the_priority_of_its_context() {
    let address = priority_tier(Priority::Critical).await;
    let client = injecting();
    for (name, priority) in NAMES.into_iter().zip([Priority::Low, Priority::Normal, Priority::High, Priority::Critical])
    {
        assert_eq!(context::with_priority(priority, get(&client, address)).await.unwrap().body, name);
    }
    let own = context::with_priority(Priority::High, send(&client, address, &[("x-priority", "low")])).await.unwrap();
    assert_eq!(own.body, "low", "the header of the request stays");
}

#[tokio::test(start_paused = true)]
async fn handler_passes_the_priority_on() {
    let behind = priority_tier(Priority::Critical).await;
    let front = relay(injecting(), behind).await;
    assert_eq!(send(&bare(), front, &[("x-priority", "low")]).await.unwrap().body, "low");
    assert_eq!(send(&bare(), front, &[]).await.unwrap().body, "normal");
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn priority_travels_over_grpc() {
    use seawall::http::UploadBody;

    let config = stack::ClientConfig::default();
    let handler = tower::service_fn(|request: Request<UploadBody<Empty<Bytes>>>| async move {
        let name = request.headers().get("x-priority").and_then(|value| value.to_str().ok().map(str::to_owned));
        Ok::<_, BoxError>(Response::new(format!("{name:?} {:?}", context::priority())))
    });
    let client = stack::grpc::client(&config).unwrap().layer(
        tower::ServiceBuilder::new()
            .map_request(|request: Request<_>| request.map(|_| Empty::new()))
            .layer(stack::grpc::server(&ServerConfig::default()).unwrap())
            .service(handler),
    );
    let request = Request::post("http://x/a.B/C").body(Empty::<Bytes>::new()).unwrap();
    let answer = context::with_priority(Priority::Low, client.oneshot(request)).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Some(\"low\") Low");
}

#[test]
fn priority_header_name_used_twice_is_a_fault() {
    let name = http::HeaderName::from_static("x-request-timeout-ms");
    let headers = seawall::http::propagation::HeaderNames { priority: name, ..Default::default() };
    let faults = InjectLayer::http(PropagationConfig { headers, ..Default::default() }).unwrap_err();
    assert_eq!(faults.faults()[0].path(), "headers.priority");
}
