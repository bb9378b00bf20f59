//! Bodies, readers and runtimes that break the rules.

use super::*;
use crate::ground::time;

/// Waits for ever, and panics when it is dropped.
struct PanicsInDrop;

impl Body for PanicsInDrop {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Pending
    }
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in the drop of a body");
        }
    }
}

pub(super) fn recorder(scene: &Scene, after: Duration) -> Recorder {
    let expiry = Expiry::new(LayerId::nameless(LayerKind::Deadline), scene.start + after, Reason::HoldExceeded);
    Recorder { told: Arc::clone(&scene.told), waited: Duration::ZERO, expiry, settled: None }
}

#[tokio::test(start_paused = true)]
async fn reader_is_woken_when_the_cut_body_panics() {
    let scene = Scene::new();
    let guard = recorder(&scene, 2 * SECOND);
    let mut body = hold(Response::new(PanicsInDrop), Verdict::Success, guard, ByStatus::default()).into_body();
    let told = tokio::time::timeout(60 * SECOND, body.frame()).await.expect("woken");
    assert!(rejection(&told.unwrap().unwrap_err()).is_some());
    assert!(time::now().since(scene.start) < 3 * SECOND);
    assert!(scene.end().is_some());
}

/// Two layers, of which the inner one has the shorter bound.
#[tokio::test(start_paused = true)]
async fn inner_cut_is_a_timeout_only_while_a_reader_waits() {
    for (waits, verdict) in [(false, None), (true, Some(Verdict::TimedOut))] {
        let (inner, outer) = (Scene::new(), Scene::new());
        inner.alive.fetch_add(1, Ordering::Relaxed);
        let script = Script {
            steps: [data("one"), Step::Waits(60 * SECOND)].into(),
            wait: None,
            alive: Arc::clone(&inner.alive),
        };
        let held = hold(Response::new(script), Verdict::Success, recorder(&inner, 2 * SECOND), ByStatus::default());
        let mut body = hold(held, Verdict::Success, recorder(&outer, 9 * SECOND), ByStatus::default()).into_body();
        assert!(body.frame().await.unwrap().is_ok());
        if !waits {
            sleep(3 * SECOND).await;
        }
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(rejection(&error).unwrap().reason(), Reason::HoldExceeded);
        let (settled, waited) = outer.end().unwrap();
        assert_eq!(settled.filter(|settled| *settled != Verdict::Abandoned), verdict);
        assert_eq!(waited >= SECOND, waits, "{waited:?}");
    }
}

/// A failed response as a retry keeps it. Its verdict is in the trailers.
async fn kept() -> Response<crate::http::settled::SettledBody<Script>> {
    let alive = Arc::new(AtomicUsize::new(1));
    let steps = [data("regret"), trailers("status", "14")].into();
    let response = Response::new(crate::http::settled::SettledBody::unread(Script { steps, wait: None, alive }));
    crate::http::settled::Detaching::new(response).await
}

#[tokio::test(start_paused = true)]
async fn kept_response_is_judged_by_its_trailers_in_every_layer() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let held = hold(kept().await, Verdict::Success, recorder(&inner, SECOND), ByTrailer);
    let held = hold(held, Verdict::Success, recorder(&outer, SECOND), ByTrailer);
    for scene in [inner, outer] {
        assert_eq!(scene.end().unwrap().0, Some(Verdict::Transient));
    }
    sleep(2 * SECOND).await;
    assert_eq!(held.into_body().collect().await.unwrap().to_bytes(), "regret");
}

/// A proxy may send the head that it received with another body.
#[tokio::test(start_paused = true)]
async fn kept_head_does_not_decide_for_another_body() {
    let scene = Scene::new();
    let (head, _) = kept().await.into_parts();
    scene.alive.fetch_add(1, Ordering::Relaxed);
    let script = Script { steps: [data("one")].into(), wait: None, alive: Arc::clone(&scene.alive) };
    let response = Response::from_parts(head, script);
    let body = hold(response, Verdict::Success, recorder(&scene, SECOND), ByStatus::default());
    assert_eq!(scene.end(), None);
    sleep(2 * SECOND).await;
    assert!(scene.end().is_some() && scene.alive() == 0);
    drop(body);
}

/// Wakes its reader every half second without any data.
struct Restless(Pin<Box<tokio::time::Sleep>>);

impl Body for Restless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while self.0.as_mut().poll(cx).is_ready() {
            self.0 = Box::pin(sleep(SECOND / 2));
        }
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn wakes_without_data_do_not_delay_the_idle_timeout() {
    let scene = Scene::new();
    let mut guard = recorder(&scene, 60 * SECOND);
    guard.expiry.idle = Some(SECOND);
    let body = Restless(Box::pin(sleep(SECOND / 2)));
    let mut body = hold(Response::new(body), Verdict::Success, guard, ByStatus::default()).into_body();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::IdleTimeout));
    assert!(time::now().since(scene.start) < 2 * SECOND);
}
