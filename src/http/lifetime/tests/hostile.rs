//! Bodies, readers and runtimes that do what nobody should.

use super::*;

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

fn recorder(scene: &Scene, after: Duration) -> Recorder {
    let expiry = Expiry::new("layer", scene.start + after, Reason::HoldExceeded);
    Recorder { told: Arc::clone(&scene.told), waited: Duration::ZERO, expiry, settled: None }
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_woken_though_the_cut_body_panics() {
    let scene = Scene::new();
    let guard = recorder(&scene, 2 * SECOND);
    let mut body = hold(Response::new(PanicsInDrop), Verdict::Success, guard, ByStatus::default()).into_body();
    let told = tokio::time::timeout(60 * SECOND, body.frame()).await.expect("woken");
    assert!(rejection(&told.unwrap().unwrap_err()).is_some());
    assert!(time::now().since(scene.start) < 3 * SECOND);
    assert!(scene.end().is_some());
}

/// Two layers, of which the one further in has the shorter bound.
#[tokio::test(start_paused = true)]
async fn a_cut_further_in_is_the_callees_fault_only_if_it_was_waited_for() {
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
