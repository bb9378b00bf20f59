//! Another caller's short deadline or early hang-up is no evidence against a dependency that answers other calls.

use std::convert::Infallible;

use seawall::circuit_breaker::State;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::service_fn;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum OtherCaller {
    /// Asks for an answer within 20 ms.
    InAHurry,
    /// Closes its connection after this time.
    Leaves(Duration),
}

/// Sends 50 quick calls a second, and 200 calls a second of another caller for work that takes 300 ms. Returns how
/// many of 1000 quick calls were served, and how often the breaker was seen not closed.
async fn others_served(stranger: OtherCaller) -> (u32, u32) {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let breaker = layers.circuit_breaker();
    let dependency = layers.service(service_fn(|request: Request<ReplayBody<Full<Bytes>>>| async move {
        sleep(if request.uri().path() == "/report" { 300 * MS } else { 5 * MS }).await;
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    }));
    let server =
        stack::server(&ServerConfig::default()).unwrap().service(service_fn(move |request: Request<Full<Bytes>>| {
            let uri = format!("http://dependency{}", request.uri().path());
            let call = dependency.clone().oneshot(Request::get(uri).body(Full::default()).unwrap());
            async move { Ok::<_, BoxError>(Response::new(call.await?.into_body())) }
        }));
    let (start, asked) = (Instant::now(), server.clone());
    tokio::task::spawn_local(async move {
        for i in 0..3000 {
            sleep_until(start + 5 * SECOND + 5 * MS * i).await;
            let mut request = Request::get("/report");
            if stranger == OtherCaller::InAHurry {
                request = request.header("x-request-timeout-ms", "20");
            }
            let call = asked.clone().oneshot(request.body(Full::default()).unwrap());
            let leaves = if let OtherCaller::Leaves(after) = stranger { after } else { 60 * SECOND };
            tokio::task::spawn_local(async move { timeout(leaves, call).await.is_ok() });
        }
    });
    let (mut served, mut not_closed) = (0, 0);
    for i in 0..1000 {
        sleep_until(start + 20 * MS * i).await;
        not_closed += u32::from(breaker.state() != State::Closed);
        let request = Request::get("/quick").body(Full::default()).unwrap();
        let response: Result<_, Infallible> = server.clone().oneshot(request).await;
        served += u32::from(response.unwrap().status().is_success());
    }
    (served, not_closed)
}

#[tokio::test(start_paused = true)]
async fn caller_with_short_deadlines_opens_nothing_for_others() {
    for stranger in [
        OtherCaller::InAHurry,
        OtherCaller::Leaves(20 * MS),
        OtherCaller::Leaves(100 * MS),
        OtherCaller::Leaves(250 * MS),
    ] {
        let (served, not_closed) = tokio::task::LocalSet::new().run_until(others_served(stranger)).await;
        assert!(
            served > 990 && not_closed == 0,
            "{stranger:?}: {served} of 1000 served, not closed at {not_closed} samples"
        );
    }
}
