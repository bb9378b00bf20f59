//! Calls with short deadlines to a dependency that honours the propagated deadline: it answers before our own deadline
//! that there was not enough time. The time that it was given decides the verdict, whichever side reports the timeout.

use std::error::Error;
use std::future::pending;

use futures::future::join_all;
use seawall::circuit_breaker::State;
use seawall::context;
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection_in};

use super::*;

/// 100 ms of work.
async fn work() {
    tokio::time::sleep(100 * MS).await;
}

fn within(timeout: Duration) -> DeadlineLayer<seawall::http::ByStatus, seawall::http::ByExtension> {
    DeadlineLayer::http(timeout).unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_with_short_deadlines_over_http_do_not_open_it() {
    let to = serve(Router::new().fallback(|| async { work().await }));
    let (client, layers) = http_client(&ClientConfig::default());
    for _ in 0..12 {
        assert_eq!(get(&client, to).await.unwrap(), 200);
    }
    let hurried = (0..40).map(|_| async {
        let request = Request::get(format!("http://{to}/")).body(Full::default()).unwrap();
        match within(30 * MS).layer(client.clone()).oneshot(request).await {
            Ok(response) => response.status().as_u16(),
            Err(error) => rejection_in(error.as_ref()).map(|_| 0).expect("a cut by our deadline"),
        }
    });
    // The server itself may refuse because too little time is left.
    let statuses = join_all(hurried).await;
    assert!(statuses.iter().all(|status| [0, 503, 504].contains(status)), "{statuses:?}");
    assert_eq!(layers.circuit_breaker().state(), State::Closed, "{:?}", layers.circuit_breaker().snapshot());
    assert_eq!(get(&client, to).await.unwrap(), 200);
}

#[tokio::test(start_paused = true)]
async fn calls_with_short_deadlines_over_grpc_do_not_open_it() {
    let to = serve_grpc(Answering(|| async {
        work().await;
        Ok(())
    }));
    let (client, layers) = grpc_client(&ClientConfig::default(), to);
    for _ in 0..12 {
        check(&client).await.unwrap();
    }
    let hurried = (0..40).map(|_| {
        let mut client = client.clone();
        async move {
            let mut request = tonic::Request::new(HealthCheckRequest::default());
            request.set_timeout(30 * MS);
            client.check(request).await.map(drop)
        }
    });
    assert!(join_all(hurried).await.into_iter().all(|answer| answer.is_err()));
    assert_eq!(layers.circuit_breaker().state(), State::Closed, "{:?}", layers.circuit_breaker().snapshot());
    check(&client).await.unwrap();
}

/// The channel's own timer for the propagated deadline fires before ours.
#[tokio::test(start_paused = true)]
async fn channel_timeout_at_our_deadline_is_our_cut() {
    let mut listener = PipeListener::bind();
    let to = listener.address();
    // A listener that accepts and never answers.
    tokio::spawn(async move {
        let mut sockets = Vec::new();
        loop {
            let socket = listener.accept().await;
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let silent = hyper::service::service_fn(|_| pending::<Result<Response<Full<Bytes>>, BoxError>>());
            sockets.push(tokio::spawn(server.serve_connection(hyper_util::rt::TokioIo::new(socket), silent)));
        }
    });
    // Long enough that the allowance makes the channel's timer fire some milliseconds before ours.
    let config = ClientConfig { deadline: (300 * MS).into(), ..ClientConfig::default() };
    let (client, _) = grpc_client(&config, to);
    let status = check(&client).await.unwrap_err();
    let rejected = rejection_in(&status).expect("the rejection is found");
    assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded));
    let mut causes = std::iter::successors(status.source(), |&error| error.source());
    let channels =
        causes.find(|error| error.to_string() == "Timeout expired").expect("the channel's timer is the first");
    assert!(channels.source().is_none(), "the channel's own error is at the end of the chain");
}

/// A gateway that times out long before the deadline reports a failure of its own.
#[tokio::test(start_paused = true)]
async fn timeout_answer_long_before_the_deadline_opens_it() {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let client = layers.service(tower::service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
        assert!(context::time_left().is_some_and(|left| left > SECOND));
        tokio::time::sleep(50 * MS).await;
        Ok::<_, BoxError>(answer(504, &[]))
    }));
    for _ in 0..20 {
        let _ = client.clone().oneshot(Request::get("http://gateway/").body(Full::default()).unwrap()).await;
    }
    assert_ne!(layers.circuit_breaker().state(), State::Closed);
}

/// If there was time for an answer, a timeout is a failure, whichever side reports it.
#[tokio::test(start_paused = true)]
async fn hang_until_a_deadline_past_the_slow_threshold_opens_it() {
    for reports in [true, false] {
        let config = ClientConfig { deadline: (2 * SECOND).into(), ..ClientConfig::default() };
        let layers = stack::client(&config).unwrap();
        let client = layers.service(tower::service_fn(move |_: Request<ReplayBody<Full<Bytes>>>| async move {
            let left = context::time_left().unwrap();
            tokio::time::sleep(if reports { left - 5 * MS } else { 2 * left }).await;
            Ok::<_, BoxError>(answer(504, &[]))
        }));
        let call = || client.clone().oneshot(Request::get("http://hung/").body(Full::default()).unwrap());
        let _ = join_all((0..20).map(|_| call())).await;
        assert_ne!(layers.circuit_breaker().state(), State::Closed, "reports {reports}");
    }
}
