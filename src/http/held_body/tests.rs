#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod cuts;
mod ends;
mod hostile;
mod joined;
mod runtimes;

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
