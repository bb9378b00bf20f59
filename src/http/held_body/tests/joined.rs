//! Layers that hold the same body: they share one slot and one entry in the reaper's schedule, and each guard records
//! what it would record with a slot of its own.

use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;
use crate::admission::reaper;
use crate::ground::time;
use crate::http::settled::SettledBody;

/// Records the order in which bodies are dropped and guards are settled.
struct Logs {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
    expiry: Expiry,
}

impl SealedGuard for Logs {}

impl Guard for Logs {
    fn settle(self, verdict: Verdict) {
        self.log.lock().unwrap().push(format!("{} {verdict:?}", self.name));
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

/// One frame, and then pending for ever.
struct Stalls {
    log: Arc<Mutex<Vec<String>>>,
    begun: bool,
}

impl Body for Stalls {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"one")))))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.log.lock().unwrap().push("body".to_owned());
    }
}

/// A foreign wrapper around a body.
#[pin_project::pin_project]
struct Wrapped<B>(#[pin] B);

impl<B: Body> Body for Wrapped<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn expiry(start: Instant, after: Duration, reason: Reason) -> Expiry {
    Expiry::new(LayerId::nameless(LayerKind::Deadline), start + after, reason)
}

#[tokio::test(start_paused = true)]
async fn client_stack_has_one_entry_in_the_reapers_schedule() {
    let layer = crate::stack::client(&crate::stack::ClientConfig::default()).unwrap();
    let service = layer.layer(service_fn(|_: ::http::Request<crate::http::ReplayBody<Full<Bytes>>>| async {
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(b"an answer"))))
    }));
    let call = || service.clone().oneshot(::http::Request::new(Full::new(Bytes::from_static(b"a question"))));
    // The breaker has one entry of its own for all calls in flight.
    let _in_flight = call().await.unwrap();
    let before = reaper::watched();
    let response = call().await.unwrap();
    assert_eq!(reaper::watched(), before + 1);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "an answer");
    assert_eq!(reaper::watched(), before);
}

/// Also with more layers than fit into one slot.
#[tokio::test(start_paused = true)]
async fn guards_settle_from_inside_to_outside_after_the_body() {
    for (reads, drops) in [(false, true), (true, true), (false, false), (true, false)] {
        let (start, log) = (time::now(), Arc::new(Mutex::new(Vec::new())));
        let guard =
            |name| Logs { name, log: Arc::clone(&log), expiry: expiry(start, SECOND, Reason::DeadlineExceeded) };
        let hold_by = |name| (guard(name), Verdict::Success);
        let ((a, ok), (b, _), (c, _), (d, _), (e, _), (f, _)) =
            (hold_by("a"), hold_by("b"), hold_by("c"), hold_by("d"), hold_by("e"), hold_by("f"));
        let by = ByStatus::default;
        let response = hold(Response::new(Stalls { log: Arc::clone(&log), begun: false }), ok, a, by());
        let response = hold(hold(response, ok, b, by()).map(SettledBody::unread), ok, c, by());
        let response = hold(hold(hold(response, ok, d, by()), ok, e, by()), ok, f, by());
        assert_eq!(reaper::watched(), 2);
        let mut body = response.into_body();
        if reads {
            assert!(body.frame().await.unwrap().is_ok());
            assert!(futures::poll!(body.frame()).is_pending());
        }
        if drops {
            drop(body);
        } else {
            sleep(SECOND + LATE).await;
        }
        let log = std::mem::take(&mut *log.lock().unwrap());
        let order: Vec<_> = log.iter().map(|entry| entry.split(' ').next().unwrap()).collect();
        let settled = reads != drops;
        assert_eq!(order, if settled { vec!["body", "a", "b", "c", "d", "e", "f"] } else { vec!["body"] }, "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guard_that_joins_a_cut_body_is_settled_at_once() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let held = inner.held([data("one")]);
    sleep(2 * SECOND + LATE).await;
    assert!(inner.end().is_some());
    let guard = hostile::recorder(&outer, 60 * SECOND);
    let mut body = hold(held, Verdict::Success, guard, ByStatus::default()).into_body();
    assert_eq!(outer.end().unwrap().0.filter(|verdict| *verdict != Verdict::Abandoned), None);
    assert!(rejection(&body.frame().await.unwrap().unwrap_err()).is_some());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn wrapper_between_two_layers_gets_a_slot_of_its_own() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let held = inner.held([data("one"), Step::Waits(60 * SECOND)]).map(Wrapped);
    let guard = hostile::recorder(&outer, SECOND);
    let mut body = hold(held, Verdict::Success, guard, ByStatus::default()).into_body();
    assert_eq!(reaper::watched(), 2);
    assert!(body.frame().await.unwrap().is_ok());
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(rejection(&error).unwrap().reason(), Reason::HoldExceeded);
    assert_eq!(outer.end().unwrap().0, Some(Verdict::TimedOut));
    assert_eq!((inner.end().unwrap().0, inner.alive()), (None, 0));
}

/// The wait of a reader that waits already counts for the layers that were there when it began.
#[tokio::test(start_paused = true)]
async fn body_that_is_waited_for_gets_a_slot_of_its_own() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let mut held = inner.held([Step::Waits(SECOND), data("one")]);
    assert!(futures::poll!(held.body_mut().frame()).is_pending());
    let guard = hostile::recorder(&outer, 2 * SECOND);
    let body = hold(held, Verdict::Success, guard, ByStatus::default()).into_body();
    assert_eq!(reaper::watched(), 2);
    sleep(SECOND / 2).await;
    assert!(body.collect().await.is_ok());
    assert_eq!((inner.end().unwrap().1, outer.end().unwrap().1), (SECOND, SECOND / 2));
}

#[tokio::test(start_paused = true)]
async fn body_at_another_pace_gets_a_slot_of_its_own() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let mut guard = hostile::recorder(&outer, SECOND);
    guard.expiry.pace = crate::ground::verdict::Pace::Connection;
    let held = hold(inner.held([data("one")]), Verdict::Success, guard, ByStatus::default());
    assert_eq!(reaper::watched(), 2);
    drop(held);
}

/// The bounds of one body, by layer: the end, and the longest wait.
#[derive(Clone, Copy, Debug)]
struct Bounds(u64, Option<u64>);

/// The behaviour of a reader.
#[derive(Clone, Copy, Debug)]
enum Reads {
    /// Reads everything at once.
    All,
    /// Reads one frame, and the next after this many tenths of a second.
    AllAfter(u64),
    /// Reads one frame, and drops the body this many tenths of a second later, while it waits or does not.
    DropsAt(u64, bool),
    /// Reads nothing for this many tenths of a second.
    Parks(u64),
}

const TENTH: Duration = Duration::from_millis(100);

/// What both guards record, and why the reader is refused.
async fn told<J: Judge>(
    joins: bool,
    bounds: [Bounds; 2],
    judge: J,
    steps: Vec<Step>,
    reads: Reads,
) -> ([(Option<Verdict>, Duration); 2], Option<(Reason, Duration)>) {
    // Aligns the start, so that the reaper visits at the same offset each time.
    let now = time::now();
    tokio::time::advance(reaper::rounded_up(now).since(now)).await;
    let (inner, outer) = (Scene::new(), Scene::new());
    let guard = |scene: &Scene, Bounds(at, idle), reason| Recorder {
        told: Arc::clone(&scene.told),
        waited: Duration::ZERO,
        settled: None,
        expiry: Expiry {
            idle: idle.map(|idle| u32::try_from(idle).unwrap() * TENTH),
            ..expiry(inner.start, u32::try_from(at).unwrap() * TENTH, reason)
        },
    };
    let guards = [guard(&inner, bounds[0], Reason::HoldExceeded), guard(&outer, bounds[1], Reason::DeadlineExceeded)];
    let [first, second] = guards;
    inner.alive.fetch_add(1, Ordering::Relaxed);
    let script = Script { steps: steps.into(), wait: None, alive: Arc::clone(&inner.alive) };
    let held = hold(Response::new(script), Verdict::Success, first, judge.clone());
    let refusal = if joins {
        read(hold(held, Verdict::Success, second, judge).into_body(), reads, inner.start).await
    } else {
        read(hold(held.map(Wrapped), Verdict::Success, second, judge).into_body(), reads, inner.start).await
    };
    let end = |scene: &Scene| {
        let (verdict, waited) = scene.end().expect("settled");
        (verdict.filter(|verdict| *verdict != Verdict::Abandoned), waited)
    };
    assert_eq!(inner.alive(), 0);
    ([end(&inner), end(&outer)], refusal)
}

async fn read(
    body: impl Body<Data = Bytes, Error = BoxError>,
    reads: Reads,
    start: Instant,
) -> Option<(Reason, Duration)> {
    let mut body = std::pin::pin!(body);
    let tenths = |tenths: u64| u32::try_from(tenths).unwrap() * TENTH;
    let waits = match reads {
        Reads::All => false,
        Reads::Parks(time) => {
            sleep(tenths(time)).await;
            return None;
        }
        Reads::AllAfter(time) => {
            let _ = body.frame().await?;
            sleep(tenths(time)).await;
            false
        }
        Reads::DropsAt(time, waits) => {
            let _ = body.frame().await?;
            if !waits {
                sleep(tenths(time)).await;
                return None;
            }
            let until = sleep(tenths(time));
            tokio::select! {
                biased;
                frame = body.frame() => {
                    let error = frame?.err()?;
                    return Some((rejection(&error)?.reason(), time::now().since(start)));
                }
                () = until => return None,
            }
        }
    };
    assert!(!waits);
    while let Some(frame) = body.frame().await {
        if let Err(error) = frame {
            return Some((rejection(&error)?.reason(), time::now().since(start)));
        }
    }
    None
}

/// Each guard records what it would record with a slot of its own, and the reader is refused for the same reason at the
/// same time.
#[tokio::test(start_paused = true)]
async fn joined_guards_record_the_same_as_separate_ones() {
    let scripts: [fn() -> Vec<Step>; 6] = [
        || vec![data("one"), data("two")],
        || vec![data("one"), Step::Waits(3 * TENTH), trailers("status", "14")],
        || vec![data("one"), Step::Waits(3 * TENTH), data("two"), Step::Waits(3 * TENTH)],
        || vec![data("one"), Step::Waits(2 * TENTH), Step::Fails],
        || vec![data("one"), Step::Waits(100 * SECOND)],
        || (0..40).flat_map(|_| [data("."), Step::Waits(TENTH)]).collect(),
    ];
    let bounds = [Bounds(4, None), Bounds(10, None), Bounds(20, Some(2)), Bounds(20, Some(5)), Bounds(20, None)];
    let reads = [
        Reads::All,
        Reads::AllAfter(3),
        Reads::AllAfter(15),
        Reads::DropsAt(1, true),
        Reads::DropsAt(1, false),
        Reads::DropsAt(30, true),
        Reads::DropsAt(30, false),
        Reads::Parks(1),
        Reads::Parks(30),
    ];
    for (number, script) in scripts.iter().enumerate() {
        for (inner, outer) in bounds.iter().flat_map(|inner| bounds.iter().map(move |outer| (*inner, *outer))) {
            for reads in reads {
                let bounds = [inner, outer];
                let case = format!("script {number}, {bounds:?}, {reads:?}");
                // With separate slots, the outermost layer whose bound has passed by then refuses the reader, and not
                // the first.
                let first = |refusal: Option<(Reason, Duration)>| {
                    refusal.map(|(reason, at)| (if at > 14 * TENTH { None } else { Some(reason) }, at))
                };
                let (guards, refusal) = told(false, bounds, ByStatus::default(), script(), reads).await;
                let joined = told(true, bounds, ByStatus::default(), script(), reads).await;
                assert_eq!((joined.0, first(joined.1)), (guards, first(refusal)), "by status: {case}");
                let (guards, refusal) = told(false, bounds, ByTrailer, script(), reads).await;
                let joined = told(true, bounds, ByTrailer, script(), reads).await;
                assert_eq!((joined.0, first(joined.1)), (guards, first(refusal)), "by trailer: {case}");
            }
        }
    }
}

/// The reaper has visited the body already, and would return only after the idle timeout.
#[tokio::test(start_paused = true)]
async fn layer_that_joins_late_is_cut_in_time() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let expiry = Expiry { idle: Some(30 * SECOND), ..expiry(inner.start, 300 * SECOND, Reason::HoldExceeded) };
    let guard = Recorder { told: Arc::clone(&inner.told), waited: Duration::ZERO, settled: None, expiry };
    inner.alive.fetch_add(1, Ordering::Relaxed);
    let steps = [data("one"), Step::Waits(1000 * SECOND)].into();
    let script = Script { steps, wait: None, alive: Arc::clone(&inner.alive) };
    let held = hold(Response::new(script), Verdict::Success, guard, ByStatus::default());
    sleep(31 * SECOND).await;
    let body = hold(held, Verdict::Success, hostile::recorder(&outer, 32 * SECOND), ByStatus::default());
    sleep(SECOND + 2 * LATE).await;
    assert_eq!(inner.alive(), 0);
    drop(body);
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn body_first_held_outside_a_runtime_is_cut() {
    let (inner, outer) = (Scene::new(), Scene::new());
    let held = inner.held([data("one"), Step::Waits(1000 * SECOND)]);
    paused().block_on(async {
        let body = hold(held, Verdict::Success, hostile::recorder(&outer, 3 * SECOND), ByStatus::default());
        sleep(10 * SECOND).await;
        assert_eq!(inner.alive(), 0);
        drop(body);
    });
}

#[test]
fn layer_that_joins_in_another_runtime_keeps_the_first_entry() {
    let long = paused();
    let (inner, outer) = (Scene::new(), Scene::new());
    let held = long.block_on(async { inner.held([data("one"), Step::Waits(1000 * SECOND)]) });
    let body = paused()
        .block_on(async { hold(held, Verdict::Success, hostile::recorder(&outer, SECOND), ByStatus::default()) });
    long.block_on(async { sleep(10 * SECOND).await });
    assert_eq!(inner.alive(), 0);
    drop(body);
}
