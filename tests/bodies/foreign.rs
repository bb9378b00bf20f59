//! Bodies that take locks of their own, as those of h2 do, and bodies that hang: no lock of ours is held while their
//! code runs.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::runtime::{Builder, Runtime};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::client::{Calls, boxed};

/// No step takes this long, however busy the machine is.
const FOR_EVER: Duration = Duration::from_secs(300);

/// The state that h2 keeps behind its lock.
#[derive(Default)]
struct Stream {
    waker: Mutex<Option<Waker>>,
    /// How often the code of the body ran.
    asked: AtomicUsize,
}

impl Stream {
    /// While the code of the body runs, another thread wakes its reader; the code returns after that.
    fn wakes_meanwhile(self: &Arc<Self>) {
        assert!(seawall::locks_held() == 0 || thread::panicking());
        self.asked.fetch_add(1, SeqCst);
        let (stream, (done, is_done)) = (Arc::clone(self), mpsc::channel());
        thread::spawn(move || {
            let waker = stream.waker.lock().unwrap();
            if let Some(waker) = &*waker {
                waker.wake_by_ref();
            }
            drop(waker);
            let _ = done.send(());
        });
        let woken = is_done.recv_timeout(FOR_EVER);
        assert!(woken.is_ok() || thread::panicking(), "the wake-up blocks on the code of the body");
    }
}

/// Never has a frame, and is woken whenever its code runs.
struct Remote(Arc<Stream>);

impl http_body::Body for Remote {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        self.0.wakes_meanwhile();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.0.wakes_meanwhile();
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.0.wakes_meanwhile();
        SizeHint::with_exact(7)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.0.wakes_meanwhile();
    }
}

/// Each layer that holds bodies, and all of them together.
fn layers(deadline: Duration, body: impl Fn() -> Remote + Clone + Send + Sync + 'static) -> Vec<(&'static str, Calls)> {
    fn callee<B, R>(
        body: R,
    ) -> impl Service<Request<B>, Response = Response<Remote>, Error = BoxError, Future: Send> + Clone
    where
        R: Fn() -> Remote + Clone,
    {
        service_fn(move |_| std::future::ready(Ok(Response::new(body()))))
    }
    let within = || DeadlineLayer::http(deadline).unwrap();
    let bulkhead = || BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let breaker = || CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let shed = || LoadShedLayer::http(LoadShedConfig::default()).unwrap();
    let retry = || {
        let config = RetryConfig { attempt_timeout: Some(deadline), max_hold: 2 * deadline, ..RetryConfig::default() };
        RetryLayer::http(config).unwrap()
    };
    let all = ServiceBuilder::new().layer(within()).layer(shed()).layer(retry()).layer(bulkhead()).layer(breaker());
    vec![
        ("deadline", boxed(within().layer(callee(body.clone())))),
        ("retry", boxed(retry().layer(callee(body.clone())))),
        ("bulkhead", boxed(within().layer(bulkhead().layer(callee(body.clone()))))),
        ("circuit_breaker", boxed(within().layer(breaker().layer(callee(body.clone()))))),
        ("all", boxed(all.service(callee(body)))),
    ]
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// A waker that checks that no lock is held.
#[derive(Default)]
struct Reader(AtomicUsize);

impl Wake for Reader {
    fn wake(self: Arc<Self>) {
        assert_eq!(seawall::locks_held(), 0);
        self.0.fetch_add(1, SeqCst);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        assert!(seawall::locks_held() == 0 || thread::panicking());
    }
}

#[test]
fn body_can_be_woken_while_its_own_code_runs() {
    let runtime = runtime();
    let _inside = runtime.enter();
    for (name, calls) in layers(FOR_EVER, || Remote(Arc::default())) {
        let mut body = runtime.block_on(calls.oneshot(Request::new(Empty::new()))).unwrap().into_body();
        let reader = Arc::new(Reader::default());
        let waker = Waker::from(Arc::clone(&reader));
        for polls in 1..4 {
            assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker)).is_pending(), "{name}");
            assert_eq!(reader.0.load(SeqCst), polls, "{name}: woken once for each poll, during the poll");
            assert!(!body.is_end_stream(), "{name}");
            assert_eq!(body.size_hint().exact(), Some(7), "{name}");
        }
        drop(body);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum In {
    PollFrame,
    IsEndStream,
    SizeHint,
    Drop,
    Wake,
}

/// Where foreign code hangs once this is armed, until the other end of the channel is dropped.
struct Hang {
    at: In,
    armed: AtomicBool,
    until: Mutex<mpsc::Receiver<()>>,
}

impl Hang {
    fn new(at: In) -> (Arc<Self>, mpsc::Sender<()>) {
        let (release, until) = mpsc::channel();
        (Arc::new(Self { at, armed: AtomicBool::new(false), until: Mutex::new(until) }), release)
    }

    fn pass(&self, at: In) {
        if self.at == at && self.armed.load(SeqCst) {
            let _ = self.until.lock().unwrap().recv();
        }
    }
}

impl Wake for Hang {
    fn wake(self: Arc<Self>) {
        self.pass(In::Wake);
    }
}

struct Hanging(Option<Arc<Hang>>, #[expect(dead_code, reason = "counted")] Arc<()>);

impl Hanging {
    fn pass(&self, at: In) {
        if let Some(hang) = &self.0 {
            hang.pass(at);
        }
    }
}

impl http_body::Body for Hanging {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.pass(In::PollFrame);
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.pass(In::IsEndStream);
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.pass(In::SizeHint);
        SizeHint::default()
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.pass(In::Drop);
    }
}

fn error_of(polled: Poll<Option<Result<Frame<Bytes>, BoxError>>>) -> Option<BoxError> {
    match polled {
        Poll::Pending => None,
        Poll::Ready(frame) => Some(frame.expect("the body was cut").unwrap_err()),
    }
}

/// Other bodies are parked until the same deadline, before and after it in the schedule, and until a later one.
fn others_are_cut_while_one_hangs(at: In) {
    let runtime = runtime();
    let park = |deadline, hang: Option<&Arc<Hang>>| {
        let (alive, hang) = (Arc::new(()), hang.map(Arc::clone));
        let body = Arc::new(Mutex::new(Some(Hanging(hang, Arc::clone(&alive)))));
        let callee = service_fn(move |_: Request<()>| {
            let body = body.lock().unwrap().take().unwrap();
            async move { Ok::<_, BoxError>(Response::new(body)) }
        });
        let call = DeadlineLayer::http(deadline).unwrap().layer(callee).oneshot(Request::new(()));
        let held = runtime.block_on(call).unwrap().into_body();
        (held, alive)
    };
    let (soon, later) = (Duration::from_millis(100), Duration::from_millis(300));
    let (hang, release) = Hang::new(at);
    let before = park(soon, None);
    let (mut hangs, alive) = park(soon, Some(&hang));
    let after = [park(soon, None), park(later, None)];
    // On a very busy machine the deadline may have passed; then a poll finds the error.
    let mut error = None;
    if at == In::Wake {
        let waker = Waker::from(Arc::clone(&hang));
        error = error_of(Pin::new(&mut hangs).poll_frame(&mut Context::from_waker(&waker)));
    }
    hang.armed.store(true, SeqCst);
    let reader = thread::spawn(move || {
        match at {
            In::PollFrame => error = error_of(Pin::new(&mut hangs).poll_frame(&mut Context::from_waker(Waker::noop()))),
            In::IsEndStream => drop(hangs.is_end_stream()),
            In::SizeHint => drop(hangs.size_hint()),
            In::Drop | In::Wake => {}
        }
        (hangs, error)
    });
    let start = Instant::now();
    for (_, alive) in [&before].into_iter().chain(&after) {
        while Arc::strong_count(alive) > 1 {
            assert!(start.elapsed() < FOR_EVER, "{at:?}: another body was not cut");
            thread::sleep(Duration::from_millis(1));
        }
    }
    // The hanging body itself is cut as soon as its code returns.
    drop(release);
    let (mut hangs, error) = reader.join().unwrap();
    let error = error.unwrap_or_else(|| runtime.block_on(hangs.frame()).unwrap().unwrap_err());
    assert!(rejection(&error).is_some());
    while Arc::strong_count(&alive) > 1 {
        assert!(start.elapsed() < FOR_EVER, "{at:?}: the hanging body was not cut");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn body_hanging_in_poll_stops_no_other_cut() {
    others_are_cut_while_one_hangs(In::PollFrame);
}

#[test]
fn body_hanging_in_a_query_stops_no_other_cut() {
    others_are_cut_while_one_hangs(In::IsEndStream);
    others_are_cut_while_one_hangs(In::SizeHint);
}

#[test]
fn body_hanging_in_drop_stops_no_other_cut() {
    others_are_cut_while_one_hangs(In::Drop);
}

#[test]
fn waker_that_hangs_stops_no_other_cut() {
    others_are_cut_while_one_hangs(In::Wake);
}
