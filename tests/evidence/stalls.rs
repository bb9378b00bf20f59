//! The process stands still while the dependency answers: that is not time of the dependency.

use std::sync::{Arc, Mutex};
use std::thread;

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer, State, Window};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower::service_fn;

use super::*;

const CALLS: usize = 12;

/// A dependency that answers on command, from a thread of its own.
#[derive(Clone, Default)]
struct Dependency(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Dependency {
    async fn serve(self, _: Request<String>) -> Result<Response<Full<Bytes>>, BoxError> {
        let (answer, answered) = oneshot::channel();
        self.0.lock().unwrap().push(answer);
        answered.await?;
        Ok(Response::default())
    }

    /// Answers all calls after 5 ms, and blocks the process for 700 ms around that: nothing else runs meanwhile.
    fn answers_during_a_stall(&self) {
        pass(5 * MS);
        let (answers, here) = (std::mem::take(&mut *self.0.lock().unwrap()), Handle::current());
        assert_eq!(answers.len(), CALLS, "all calls have reached the dependency");
        let answering = thread::spawn(move || {
            // The clock belongs to the runtime.
            let _inside = here.enter();
            answers.into_iter().for_each(|answer| answer.send(()).unwrap());
        });
        answering.join().unwrap();
        pass(695 * MS);
    }
}

/// Advances the clock without yielding.
fn pass(time: Duration) {
    let (now, mut passing) = (tokio::time::Instant::now(), Box::pin(tokio::time::advance(time)));
    let _ = futures::FutureExt::now_or_never(&mut passing);
    assert_eq!(now.elapsed(), time);
}

fn layer() -> CircuitBreakerLayer<seawall::http::ByStatus> {
    let slow_after = Some(500 * MS);
    let config = CircuitBreakerConfig { window: Window::Time(SECOND), slow_after, ..CircuitBreakerConfig::default() };
    CircuitBreakerLayer::http(config).unwrap()
}

/// A breaker around a dependency.
macro_rules! client {
    ($layer:expr, $dependency:expr) => {{
        let dependency = $dependency.clone();
        $layer.layer(service_fn(move |request| dependency.clone().serve(request)))
    }};
}

fn assert_untouched(breaker: &CircuitBreakerHandle) {
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.slow, seen.failures), (State::Closed, 0, 0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn runtime_stall_is_no_time_of_the_dependency() {
    let (layer, dependency) = (layer(), Dependency::default());
    let client = client!(layer, dependency);
    let calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(client.clone().oneshot(Request::default()))).collect();
    tokio::time::sleep(MS).await;
    dependency.answers_during_a_stall();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_untouched(&layer.handle());
}

/// The counter-test: the breaker opens if the answers come after the stall.
#[tokio::test(start_paused = true)]
async fn answer_after_the_stall_is_time_of_the_dependency() {
    let (layer, dependency) = (layer(), Dependency::default());
    let client = client!(layer, dependency);
    let calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(client.clone().oneshot(Request::default()))).collect();
    tokio::time::sleep(MS).await;
    pass(700 * MS);
    dependency.answers_during_a_stall();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_ne!(layer.handle().state(), State::Closed);
}

/// The other branch of a `join!` blocks, in the same task as the calls.
#[tokio::test(start_paused = true)]
async fn task_stall_is_no_time_of_the_dependency() {
    let (layer, dependency) = (layer(), Dependency::default());
    let client = client!(layer, dependency);
    let calls = futures::future::join_all((0..CALLS).map(|_| client.clone().oneshot(Request::default())));
    let blocks = async {
        tokio::time::sleep(MS).await;
        dependency.answers_during_a_stall();
    };
    let (answers, ()) = futures::join!(calls, blocks);
    assert!(answers.iter().all(Result::is_ok));
    assert_untouched(&layer.handle());
}

#[tokio::test(start_paused = true)]
async fn worker_stall_is_no_time_of_the_dependency() {
    let (layer, dependency) = (layer(), Dependency::default());
    let client = client!(layer, dependency);
    let calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(client.clone().oneshot(Request::default()))).collect();
    tokio::time::sleep(2 * MS).await;
    let blocks = tokio::spawn(async move { dependency.answers_during_a_stall() });
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    blocks.await.unwrap();
    assert_untouched(&layer.handle());
}

/// A call that was answered in time and is dropped after the stall was not abandoned for slowness.
#[tokio::test(start_paused = true)]
async fn call_dropped_after_a_stall_is_timed_until_its_wake() {
    let (layer, dependency) = (layer(), Dependency::default());
    let client = client!(layer, dependency);
    {
        let mut calls: Vec<_> = (0..CALLS).map(|_| Box::pin(client.clone().oneshot(Request::default()))).collect();
        for call in &mut calls {
            assert!(futures::poll!(call).is_pending());
        }
        dependency.answers_during_a_stall();
    }
    assert_untouched(&layer.handle());
}

/// The time of the dependency starts with the first poll of a call.
#[tokio::test(start_paused = true)]
async fn time_before_the_first_poll_is_not_of_the_dependency() {
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
