//! Our own process stands still while the dependency answers: that is not the dependency's time.

use std::thread;

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer, State, Window};
use tower::service_fn;

use super::*;

/// Answers after 5 ms, from a thread of its own, whatever our runtime does.
async fn quick(_: Request<String>) -> Result<Response<Full<Bytes>>, BoxError> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        thread::sleep(5 * MS);
        answer.send(())
    });
    answered.await?;
    Ok(Response::default())
}

fn layer() -> CircuitBreakerLayer<seawall::http::ByStatus> {
    let config = CircuitBreakerConfig { window: Window::Time(SECOND), ..CircuitBreakerConfig::default() };
    CircuitBreakerLayer::http(config).unwrap()
}

fn assert_untouched(breaker: &CircuitBreakerHandle) {
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.slow, seen.failures), (State::Closed, 0, 0), "{seen:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn stall_of_the_runtime_is_not_the_dependency_s_time() {
    let layer = layer();
    let client = layer.layer(service_fn(quick));
    let calls: Vec<_> = (0..12).map(|_| tokio::spawn(client.clone().oneshot(Request::default()))).collect();
    tokio::time::sleep(MS).await;
    thread::sleep(700 * MS);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_untouched(&layer.handle());
}

/// The other branch of a `join!` does the blocking, in the very task of the calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stall_of_the_task_is_not_the_dependency_s_time() {
    let layer = layer();
    let client = layer.layer(service_fn(quick));
    let calls = futures::future::join_all((0..12).map(|_| client.clone().oneshot(Request::default())));
    let blocks = async {
        tokio::time::sleep(MS).await;
        thread::sleep(700 * MS);
    };
    let (answers, ()) = futures::join!(calls, blocks);
    assert!(answers.iter().all(Result::is_ok));
    assert_untouched(&layer.handle());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn stall_of_the_only_worker_is_not_the_dependency_s_time() {
    let layer = layer();
    let client = layer.layer(service_fn(quick));
    let calls: Vec<_> = (0..12).map(|_| tokio::spawn(client.clone().oneshot(Request::default()))).collect();
    tokio::time::sleep(2 * MS).await;
    let blocks = tokio::spawn(async { thread::sleep(700 * MS) });
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    blocks.await.unwrap();
    assert_untouched(&layer.handle());
}

/// What was answered in time and is dropped after the stall was not given up for slowness.
#[tokio::test(flavor = "current_thread")]
async fn call_dropped_after_a_stall_was_waited_for_until_its_wake() {
    let layer = layer();
    let client = layer.layer(service_fn(quick));
    {
        let mut calls: Vec<_> = (0..12).map(|_| Box::pin(client.clone().oneshot(Request::default()))).collect();
        for call in &mut calls {
            assert!(futures::poll!(call).is_pending());
        }
        thread::sleep(700 * MS);
    }
    assert_untouched(&layer.handle());
}

/// A call is with the dependency from its first poll.
#[tokio::test(start_paused = true)]
async fn time_before_the_first_poll_is_not_the_dependency_s() {
    let layer = layer();
    let client = layer.layer(service_fn(|_: Request<String>| async {
        tokio::time::sleep(5 * MS).await;
        Ok::<_, BoxError>(Response::<Full<Bytes>>::default())
    }));
    for _ in 0..12 {
        let call = tower::Service::call(&mut client.clone(), Request::default());
        tokio::time::sleep(700 * MS).await;
        call.await.unwrap();
    }
    assert_untouched(&layer.handle());
}
