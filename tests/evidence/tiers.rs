//! A chain of tiers, each with a client stack and a server stack, above a dead last tier. Only the breaker next to the
//! dead tier opens. The tiers above receive its refusals, which come from a live dependency.

use seawall::circuit_breaker::{Snapshot, State};
use seawall::error::rejection;

use super::*;

type Breaker = Box<dyn Fn() -> Snapshot>;

const CALLS: usize = 300;

fn seen<C, R, P, L>(layers: &stack::ClientLayer<C, R, P, L>) -> Breaker {
    let breaker = layers.circuit_breaker();
    Box::new(move || breaker.snapshot())
}

fn assert_only_the_last_opened(breakers: &[Breaker]) {
    for (tier, breaker) in breakers.iter().enumerate() {
        let (seen, last) = (breaker(), tier + 1 == breakers.len());
        assert_eq!(seen.state != State::Closed, last, "tier {tier}: {seen:?}");
    }
}

/// A tier that calls the next one and passes on its status and its retry headers, as a proxy does.
fn http_tier(below: SocketAddr) -> (SocketAddr, Breaker) {
    let (client, layers) = http_client(&ClientConfig::default());
    let app = Router::new().fallback(move || {
        let client = client.clone();
        async move {
            match get(&client, below).await {
                Ok(status) => Ok(status),
                // Refusals of the stack become responses of the stack.
                Err(error) => match rejection(&error) {
                    Some(rejected) => {
                        let wait = rejected.retry_after().unwrap_or(SECOND).as_secs().max(1);
                        Err((StatusCode::SERVICE_UNAVAILABLE, [("retry-after", wait.to_string())]))
                    }
                    None => Err((StatusCode::BAD_GATEWAY, [("x-tier", "no answer".to_owned())])),
                },
            }
        }
    });
    (serve(app), seen(&layers))
}

#[tokio::test(start_paused = true)]
async fn tiers_above_an_open_breaker_stay_closed_over_http() {
    let d = pipes::unused_address();
    let (c, of_d) = http_tier(d);
    let (b, of_c) = http_tier(c);
    let (client, layers) = http_client(&ClientConfig::default());
    for _ in 0..CALLS {
        assert!(get(&client, b).await.unwrap().is_server_error());
    }
    assert_only_the_last_opened(&[seen(&layers), of_c, of_d]);
}

/// The same through a service without handlers in between: the server stack around the client stack.
#[tokio::test(start_paused = true)]
async fn tiers_above_an_open_breaker_stay_closed_in_proxies() {
    fn tier(below: SocketAddr) -> (SocketAddr, Breaker) {
        let (client, layers) = http_client(&ClientConfig::default());
        let service = stack::server(&ServerConfig::default()).unwrap().service(tower::service_fn(
            move |_: Request<hyper::body::Incoming>| {
                let request = Request::get(format!("http://{below}/")).body(Full::default()).unwrap();
                client.clone().oneshot(request)
            },
        ));
        let service = hyper_util::service::TowerToHyperService::new(service);
        let mut listener = PipeListener::bind();
        let address = listener.address();
        tokio::spawn(async move {
            loop {
                let socket = hyper_util::rt::TokioIo::new(listener.accept().await);
                let service = service.clone();
                tokio::spawn(async move {
                    hyper::server::conn::http1::Builder::new().serve_connection(socket, service).await
                });
            }
        });
        (address, seen(&layers))
    }
    let (c, of_d) = tier(pipes::unused_address());
    let (b, of_c) = tier(c);
    let (client, layers) = http_client(&ClientConfig::default());
    for _ in 0..CALLS {
        assert!(get(&client, b).await.unwrap().is_server_error());
    }
    assert_only_the_last_opened(&[seen(&layers), of_c, of_d]);
}

#[tokio::test(start_paused = true)]
async fn tiers_above_an_open_breaker_stay_closed_over_grpc() {
    fn tier(below: SocketAddr) -> (SocketAddr, Breaker) {
        let (client, layers) = grpc_client(&ClientConfig::default(), below);
        let address = serve_grpc(Answering(move || {
            let client = client.clone();
            async move { check(&client).await }
        }));
        (address, seen(&layers))
    }
    let (c, of_d) = tier(pipes::unused_address());
    let (b, of_c) = tier(c);
    let (client, layers) = grpc_client(&ClientConfig::default(), b);
    for _ in 0..CALLS {
        assert!(check(&client).await.is_err());
    }
    assert_only_the_last_opened(&[seen(&layers), of_c, of_d]);
}
