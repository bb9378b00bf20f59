#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod hostile;
mod joined;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{HeaderMap, Response};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::sleep;
use tower::BoxError;

use super::*;
use crate::ground::error::{Reason, rejection};
use crate::ground::layer_id::{LayerId, LayerKind};
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, SealedGuard};
use crate::http::ByStatus;

const SECOND: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_millis(11);

/// How the call ended for the guard, and how long the dependency was waited for.
type Told = Arc<Mutex<Vec<(Option<Verdict>, Duration)>>>;

struct Recorder {
    told: Told,
    waited: Duration,
    expiry: Expiry,
    settled: Option<Verdict>,
}

impl SealedGuard for Recorder {}

impl Guard for Recorder {
    fn settle(mut self, verdict: Verdict) {
        self.settled = Some(verdict);
    }

    fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.told.lock().unwrap().push((self.settled, self.waited));
    }
}

#[derive(Debug)]
enum Step {
    Frame(Frame<Bytes>),
    Fails,
    Waits(Duration),
}

/// Runs its steps, then ends. Counts the live scripts.
struct Script {
    steps: VecDeque<Step>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    alive: Arc<AtomicUsize>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Step::Fails) => return Poll::Ready(Some(Err("reset".into()))),
                Some(Step::Waits(time)) => self.wait = Some(Box::pin(sleep(time))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.wait.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(
            self.steps
                .iter()
                .map(|step| {
                    if let Step::Frame(frame) = step { frame.data_ref().map_or(0, |data| data.len() as u64) } else { 0 }
                })
                .sum(),
        )
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Scene {
    told: Told,
    alive: Arc<AtomicUsize>,
    start: Instant,
}

impl Scene {
    fn new() -> Self {
        Self { told: Told::default(), alive: Arc::default(), start: time::now() }
    }

    /// A response with these steps, held until two seconds after the start.
    fn held(&self, steps: impl IntoIterator<Item = Step>) -> Response<HeldBody<Script, Recorder>> {
        self.held_with(Response::new(()), None, ByStatus::default(), steps)
    }

    fn held_with<J: Judge>(
        &self,
        head: Response<()>,
        idle: Option<Duration>,
        judge: J,
        steps: impl IntoIterator<Item = Step>,
    ) -> Response<HeldBody<Script, Recorder, J>> {
        self.alive.fetch_add(1, Ordering::Relaxed);
        let alive = Arc::clone(&self.alive);
        let response = head.map(|()| Script { steps: steps.into_iter().collect(), wait: None, alive });
        let expiry = Expiry {
            idle,
            ..Expiry::new(LayerId::nameless(LayerKind::Deadline), self.start + 2 * SECOND, Reason::DeadlineExceeded)
        };
        let guard = Recorder { told: Arc::clone(&self.told), waited: Duration::ZERO, expiry, settled: None };
        let verdict = judge.of_head(&response);
        hold(response, verdict, guard, judge)
    }

    /// How the call ended, if it has, and how long the dependency kept its reader waiting. At most one guard has been
    /// settled.
    #[track_caller]
    fn end(&self) -> Option<(Option<Verdict>, Duration)> {
        let told = self.told.lock().unwrap();
        assert!(told.len() <= 1, "settled once: {told:?}");
        told.first().copied()
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }
}

fn data(text: &'static str) -> Step {
    Step::Frame(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers(name: &'static str, value: &'static str) -> Step {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, value.parse().unwrap());
    Step::Frame(Frame::trailers(trailers))
}

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
async fn parked_body_is_cut_and_next_poll_is_refused() {
    let scene = Scene::new();
    let mut body = scene.held([data("one"), data("two")]).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    sleep(2 * SECOND - LATE).await;
    assert_eq!((scene.alive(), scene.end()), (1, None));
    sleep(2 * LATE).await;
    assert_eq!((scene.alive(), scene.end()), (0, Some((None, Duration::ZERO))), "abandoned: nobody waited for it");
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().upper(), None);
    let error = body.frame().await.unwrap().unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!((rejected.layer(), rejected.reason()), ("deadline", Reason::DeadlineExceeded));
    assert!(body.frame().await.is_none());
    drop(body);
    assert!(scene.end().is_some());
}

/// A reader that reads steadily has not parked its body, and its time between two polls is not charged to the
/// dependency.
#[tokio::test(start_paused = true)]
async fn cut_between_two_polls_is_no_timeout() {
    let scene = Scene::new();
    let steps = (0..9).flat_map(|_| [Step::Waits(SECOND / 4), data(".")]);
    let mut body = scene.held(steps).into_body();
    for _ in 0..4 {
        assert!(body.frame().await.unwrap().is_ok());
        sleep(SECOND / 4).await;
    }
    sleep(LATE).await;
    assert_eq!((scene.alive(), scene.end()), (0, Some((None, SECOND))));
    assert!(rejection(&body.frame().await.unwrap().unwrap_err()).is_some());
}

#[tokio::test(start_paused = true)]
async fn cut_wakes_a_waiting_reader_and_is_a_timeout() {
    let scene = Scene::new();
    let mut body = scene.held([data("one"), Step::Waits(60 * SECOND)]).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    sleep(SECOND).await;
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(rejection(&error).is_some());
    assert!(time::now().since(scene.start) < 2 * SECOND + LATE);
    let (verdict, waited) = scene.end().unwrap();
    assert_eq!(verdict, Some(Verdict::TimedOut));
    assert!(SECOND <= waited && waited < SECOND + LATE);
}

#[tokio::test(start_paused = true)]
async fn dripping_body_is_cut_at_the_deadline() {
    let scene = Scene::new();
    let mut body = scene.held((0..1000).flat_map(|_| [data("."), Step::Waits(SECOND / 100)])).into_body();
    let mut frames = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => frames += 1,
            Err(error) => break error,
        }
    };
    assert!(rejection(&error).is_some());
    assert!((190..=202).contains(&frames), "{frames}");
    assert_eq!(scene.alive(), 0);
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
async fn idle_dependency_is_cut_and_idle_reader_is_not() {
    let scene = Scene::new();
    let steps = [data("one"), data("two"), Step::Waits(60 * SECOND)];
    let mut body = scene.held_with(Response::new(()), Some(SECOND / 4), ByStatus::default(), steps).into_body();
    assert!(body.frame().await.unwrap().is_ok());
    sleep(SECOND).await;
    assert!(body.frame().await.unwrap().is_ok(), "who does not ask for more is not kept waiting");
    let error = body.frame().await.unwrap().unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!(rejected.reason(), Reason::IdleTimeout);
    let numbers = rejected.numbers();
    assert!(numbers.given().is_some() && numbers.elapsed() >= numbers.given(), "{rejected}");
    let idle = time::now()
        .since(scene.start)
        .checked_sub(5 * SECOND / 4)
        .expect("a quarter of a second after the second frame");
    assert!(idle < 2 * LATE, "{idle:?}");
    assert_eq!(scene.end().unwrap().0, Some(Verdict::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn drip_faster_than_the_idle_timeout_is_not_idle() {
    let scene = Scene::new();
    let steps = (0..15).flat_map(|_| [Step::Waits(SECOND / 10), data(".")]);
    let body = scene.held_with(Response::new(()), Some(SECOND / 4), ByStatus::default(), steps).into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 15);
}

#[tokio::test(start_paused = true)]
async fn long_lived_response_lasts_for_its_own_timeout() {
    let scene = Scene::new();
    let head = Response::builder().extension(LongLived::new(60 * SECOND)).body(()).unwrap();
    let steps = (0..100).flat_map(|_| [Step::Waits(SECOND), data(".")]);
    let body = scene.held_with(head, Some(SECOND / 4), ByStatus::default(), steps).into_body();
    let error = body.collect().await.unwrap_err();
    assert!(rejection(&error).is_some());
    assert!(time::now().since(scene.start + 60 * SECOND) < LATE);
}

#[tokio::test(start_paused = true)]
async fn body_is_polled_in_the_context_of_its_call() {
    /// Records the context that it is polled in.
    struct Looks(Arc<Mutex<Vec<scope::Context>>>);
    impl Body for Looks {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            self.0.lock().unwrap().push(scope::current());
            Poll::Ready(None)
        }
    }
    let scene = Scene::new();
    let seen = Arc::default();
    let expiry =
        Expiry::new(LayerId::nameless(LayerKind::Deadline), scene.start + 2 * SECOND, Reason::DeadlineExceeded);
    let guard = Recorder { told: Arc::clone(&scene.told), waited: Duration::ZERO, expiry, settled: None };
    let call = scope::current().with_deadline(Some(scene.start + SECOND)).with_attempt(2);
    let mut body = {
        let _entered = scope::enter(call);
        hold(Response::new(Looks(Arc::clone(&seen))), Verdict::Success, guard, ByStatus::default()).into_body()
    };
    assert!(body.frame().await.is_none());
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].attempt(), seen[0].deadline), (2, Some(expiry.at)));
    assert_eq!(scope::current().attempt(), 0);
}

/// A protocol whose trailers decide.
#[derive(Clone)]
struct ByTrailer;

impl SealedJudge for ByTrailer {}

impl Judge for ByTrailer {
    fn of_head<B>(&self, _: &Response<B>) -> Verdict {
        Verdict::Success
    }

    fn is_decided<B>(&self, _: &Response<B>) -> bool {
        false
    }

    fn at_end(&self, _: Verdict, trailers: Option<&HeaderMap>) -> Verdict {
        trailers.map_or(
            Verdict::Failed,
            |trailers| if trailers["status"] == "0" { Verdict::Success } else { Verdict::Transient },
        )
    }
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
