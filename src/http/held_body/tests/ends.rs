//! How a call ends with its body, and with which verdict.

use super::*;

#[tokio::test(start_paused = true)]
async fn call_ends_only_at_the_end_of_its_body() {
    let scene = Scene::new();
    let mut body = scene.held([data("one"), Step::Waits(SECOND), data("two"), Step::Waits(SECOND / 2)]).into_body();
    assert_eq!(body.size_hint().exact(), Some(6));
    assert!(body.frame().await.unwrap().is_ok());
    sleep(SECOND / 4).await;
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(scene.end(), None);
    assert!(body.frame().await.is_none());
    assert_eq!(
        scene.end(),
        Some((Some(Verdict::Success), 3 * SECOND / 2)),
        "only what was waited for the callee counts"
    );
    assert_eq!(scene.alive(), 0, "the inner body goes with its end");
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn empty_body_ends_the_call_with_the_head() {
    let scene = Scene::new();
    let body = scene.held([]).into_body();
    assert_eq!(scene.end(), Some((Some(Verdict::Success), Duration::ZERO)));
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn last_frame_ends_the_call_without_another_poll() {
    let scene = Scene::new();
    let mut body = scene.held([data("all")]).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(scene.alive(), 0, "the inner body goes with its last frame");
    assert!(body.is_end_stream() && body.frame().await.is_none());
    assert_eq!(scene.end(), Some((Some(Verdict::Success), Duration::ZERO)));
}

#[tokio::test(start_paused = true)]
async fn failed_body_is_lost() {
    let scene = Scene::new();
    let mut body = scene.held([data("one"), Step::Waits(SECOND), Step::Fails]).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "reset");
    assert_eq!(scene.end(), Some((Some(Verdict::Lost), SECOND)));
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn drop_verdict_depends_on_whether_the_reader_waited() {
    let scene = Scene::new();
    drop(scene.held([data("unread")]));
    assert_eq!(scene.end(), Some((Some(Verdict::Success), Duration::ZERO)), "the head was the answer");

    let scene = Scene::new();
    let parked = scene.held([data("unread")]);
    // An outer layer cuts a body that nothing has read.
    tokio::time::advance(2 * SECOND).await;
    drop(parked);
    assert_eq!(scene.end(), Some((None, Duration::ZERO)), "abandoned");

    let scene = Scene::new();
    let mut body = scene.held([Step::Waits(60 * SECOND)]).into_body();
    let _ = tokio::time::timeout(SECOND, body.frame()).await;
    drop(body);
    assert_eq!(scene.end(), Some((None, SECOND)), "given up");

    let scene = Scene::new();
    let mut body = scene.held([Step::Waits(60 * SECOND)]).into_body();
    // An outer layer has the same bound, and cuts first.
    assert!(futures::poll!(body.frame()).is_pending());
    tokio::time::advance(2 * SECOND).await;
    drop(body);
    assert_eq!(scene.end().unwrap().0, Some(Verdict::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn trailers_decide_where_the_head_does_not() {
    for (steps, verdict) in [
        (vec![data("one"), trailers("status", "0")], Some(Verdict::Success)),
        (vec![data("one"), trailers("status", "14")], Some(Verdict::Transient)),
        (vec![data("one")], Some(Verdict::Failed)),
        (vec![], Some(Verdict::Failed)),
    ] {
        let scene = Scene::new();
        let body = scene.held_with(Response::new(()), None, ByTrailer, steps).into_body();
        let collected = body.collect().await.unwrap();
        assert_eq!(scene.end().unwrap().0, verdict, "{:?}", collected.trailers());
    }
    let scene = Scene::new();
    drop(scene.held_with(Response::new(()), None, ByTrailer, [data("unread")]));
    assert_eq!(scene.end(), Some((None, Duration::ZERO)), "abandoned: it has said nothing");
}

#[tokio::test(start_paused = true)]
async fn panicking_body_releases_everything() {
    struct Panics;
    impl Body for Panics {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            panic!("in the body");
        }
    }
    let scene = Scene::new();
    let expiry =
        Expiry::new(LayerId::nameless(LayerKind::Deadline), scene.start + 2 * SECOND, Reason::DeadlineExceeded);
    let guard = Recorder { told: Arc::clone(&scene.told), waited: Duration::ZERO, expiry, settled: None };
    let mut body = hold(Response::new(Panics), Verdict::Success, guard, ByStatus::default()).into_body();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = futures::FutureExt::now_or_never(body.frame());
    }));
    assert!(panicked.is_err());
    assert!(scene.end().is_some());
    assert!(body.frame().await.is_none());
    sleep(3 * SECOND).await;
    assert!(scene.end().is_some());
}
