//! Bodies outside of a runtime, and in two of them.

use super::*;

/// No reaper cuts it there, so the poll itself does.
#[test]
fn body_outside_a_runtime_is_cut_when_polled() {
    let scene = Scene { start: time::now().minus(60 * SECOND), ..Scene::new() };
    let mut body = scene.held([data("one")]).into_body();
    let error = futures::FutureExt::now_or_never(body.frame()).unwrap().unwrap().unwrap_err();
    assert!(rejection(&error).is_some());
    assert_eq!(scene.alive(), 0);
}

#[test]
fn wait_without_any_runtime_panics_as_tokio_does() {
    let mut body = Scene::new().held([data("one"), Step::Waits(SECOND)]).into_body();
    let read = || futures::executor::block_on(async { while body.frame().await.is_some() {} });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).is_err());
}

#[test]
fn body_that_outlives_its_runtime_is_watched_by_the_next() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let scene = Scene::new();
    let first = runtime();
    let mut body = first.block_on(async { scene.held([data("one"), Step::Waits(60 * SECOND)]).into_body() });
    drop(first);
    runtime().block_on(async {
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(rejection(&error).is_some());
    });
}
