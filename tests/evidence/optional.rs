//! A handler calls an optional dependency that is dead, continues, and then fails for a reason of its own.

use std::future::Future;

use seawall::circuit_breaker::State;
use tower::service_fn;

use super::*;

type Stacked<F> = stack::Client<tower::util::ServiceFn<F>>;

/// A client stack over a dependency that always answers with this status.
fn dependency(status: u16) -> Stacked<impl Fn(Request<ReplayBody<String>>) -> Answering + Clone> {
    stack::client(&ClientConfig::default()).unwrap().service(service_fn(move |_| {
        let response = Response::builder().status(status).body(String::new()).unwrap();
        std::future::ready(Ok::<_, BoxError>(response))
    }))
}

type Answering = std::future::Ready<Result<Response<String>, BoxError>>;

fn request() -> Request<String> {
    Request::get("http://dependency/").body(String::new()).unwrap()
}

/// Whether the response of such a handler forbids retries, and the state of its caller's breaker after many calls.
async fn forbids_retries_and_state<F>(status: u16, handler: impl Fn() -> F + Clone + 'static) -> (bool, State)
where
    F: Future<Output = ()> + 'static,
{
    let answer = move |_: Request<_>| {
        // In real life the stacks are in processes of their own, and not in one another.
        let done = Box::pin(handler());
        async move {
            done.await;
            Ok::<_, BoxError>(Response::builder().status(status).body(String::new()).unwrap())
        }
    };
    let server = stack::server(&ServerConfig::default()).unwrap().layer(service_fn(answer));
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let client = layers.service(server);
    let first = client.clone().oneshot(request()).await.unwrap();
    let forbids_retries = first.headers().contains_key("x-should-retry");
    for _ in 0..300 {
        let _ = client.clone().oneshot(request()).await;
    }
    (forbids_retries, layers.circuit_breaker().state())
}

#[tokio::test(start_paused = true)]
async fn own_failure_after_optional_outage_opens() {
    assert_eq!(forbids_retries_and_state(500, || async {}).await, (false, State::Open), "without the dependency");
    let dead = dependency(503);
    let touching = move || {
        let dead = dead.clone();
        async move { drop(dead.oneshot(request()).await) }
    };
    // The response forbids the retry, and the failure counts.
    assert_eq!(forbids_retries_and_state(500, touching.clone()).await, (true, State::Open));
    // A proxy's status, as of a handler that passes on the refusal of its dependency.
    assert_eq!(forbids_retries_and_state(502, touching).await, (true, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn later_success_allows_retries_again() {
    let (dead, alive) = (dependency(503), dependency(200));
    for status in [500, 502] {
        let (dead, alive) = (dead.clone(), alive.clone());
        let handler = move || {
            let (dead, alive) = (dead.clone(), alive.clone());
            async move {
                drop(dead.oneshot(request()).await);
                drop(alive.oneshot(request()).await);
            }
        };
        assert_eq!(forbids_retries_and_state(status, handler).await, (false, State::Open), "{status}");
    }
}

/// A success of another call is no evidence about the failed one.
#[tokio::test(start_paused = true)]
async fn concurrent_success_keeps_retries_forbidden() {
    let dead = dependency(503);
    let slow = stack::client(&ClientConfig::default()).unwrap().service(service_fn(|_: Request<_>| async {
        tokio::time::sleep(5 * SECOND).await;
        Ok::<_, BoxError>(Response::new(String::new()))
    }));
    let handler = move || {
        let (dead, slow) = (dead.clone(), slow.clone());
        async move { drop(futures::join!(slow.oneshot(request()), dead.oneshot(request()))) }
    };
    assert_eq!(forbids_retries_and_state(502, handler).await, (true, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn detached_work_does_not_forbid_retries_of_the_call() {
    let dead = dependency(503);
    let handler = move || {
        let dead = dead.clone();
        async move { drop(seawall::context::detached(dead.oneshot(request())).await) }
    };
    assert_eq!(forbids_retries_and_state(502, handler).await, (false, State::Open));
}
