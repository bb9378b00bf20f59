//! The laws of bodies: until the deadline a reader sees what it would see without any layer. At the deadline the body
//! ends, whether it is read or not.
#![cfg(feature = "http")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule, Matching};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use seawall::fallback::{self, FallbackConfig, FallbackLayer};
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::quorum::{self, QuorumConfig, QuorumLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use tokio::time::{Instant, Sleep, sleep};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::drive::Driven;
use crate::inner::{Broken, assert_no_lock_is_held};
use crate::subject::Gauges;

/// Makes a test of each law for each layer, so that a failure names both.
macro_rules! every_http_layer {
    ($($law:ident),+ $(,)?) => { $(
        mod $law {
            every_http_layer!(@ $law deadline retry hedge quorum circuit_breaker bulkhead rate_limit throttle load_shed balance quarantine fallback chaos client_stack server_stack);
        }
    )+ };
    (@ $law:ident $($layer:ident)+) => { $(
        #[tokio::test(start_paused = true)]
        async fn $layer() {
            super::$law(super::$layer).await;
        }
    )+ };
}

every_http_layer!(
    reader_sees_every_frame,
    error_of_the_body_is_returned_unchanged,
    empty_body_is_at_its_end,
    endless_body_is_cut_in_time,
    body_dropped_at_any_poll_releases_everything,
    reader_is_woken_once_per_frame,
);

const MOMENT: Duration = Duration::from_millis(10);
/// How late a cut may be.
const LATE: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Data(&'static str),
    Trailers,
    Waits,
    Fails,
    NeverAgain,
}

const WHOLE: [Step; 6] = [Step::Data("one"), Step::Waits, Step::Data("two"), Step::Waits, Step::Waits, Step::Trailers];

/// Runs these steps, then ends. `_alive` counts it while it lives.
struct Script {
    steps: VecDeque<Step>,
    wait: Option<Pin<Box<Sleep>>>,
    _alive: Arc<()>,
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        assert_no_lock_is_held();
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.steps.front() {
                None => return Poll::Ready(None),
                Some(Step::NeverAgain) => return Poll::Pending,
                Some(Step::Waits) => self.wait = Some(Box::pin(sleep(MOMENT))),
                Some(Step::Fails) => return Poll::Ready(Some(Err(Broken::InCall(7)))),
                Some(Step::Data(data)) => {
                    let frame = Frame::data(Bytes::from_static(data.as_bytes()));
                    self.steps.pop_front();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Step::Trailers) => {
                    self.steps.pop_front();
                    return Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new()))));
                }
            }
            self.steps.pop_front();
        }
    }

    fn is_end_stream(&self) -> bool {
        assert_no_lock_is_held();
        self.steps.is_empty() && self.wait.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        assert_no_lock_is_held();
        let data = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        SizeHint::with_exact(self.steps.iter().map(data).sum())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        assert_no_lock_is_held();
    }
}

type Held = UnsyncBoxBody<Bytes, BoxError>;

/// A layer around a service that answers with bodies.
struct Subject {
    calls: BoxCloneService<Request<Empty<Bytes>>, Response<Held>, BoxError>,
    gauges: Box<dyn Fn() -> Gauges>,
    /// Counts the bodies that are alive.
    alive: Arc<()>,
    /// How long a response can last at most; `None` if nothing is held for it, so that nothing has to end.
    longest: Option<Duration>,
}

impl Subject {
    fn new<B>(
        service: impl Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static,
        alive: Arc<()>,
        longest: Option<Duration>,
        gauges: impl Fn() -> Gauges + 'static,
    ) -> Self
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let calls = service
            .map_response(|response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync()))
            .boxed_clone();
        Self { calls, gauges: Box::new(gauges), alive, longest }
    }

    async fn body(&self) -> Held {
        self.calls.clone().oneshot(Request::new(Empty::new())).await.unwrap().into_body()
    }

    /// The number of inner bodies that are alive.
    fn alive(&self) -> usize {
        // The subject holds one reference, and so does the service.
        Arc::strong_count(&self.alive) - 2
    }
}

const HOLD: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(2);

/// The service, which is generic in its request body: a retry sends another type.
macro_rules! callee {
    ($steps:expr, $alive:expr) => {{
        let (steps, alive) = ($steps, Arc::clone(&$alive));
        service_fn(move |_: Request<_>| {
            let script = Script { steps: steps.iter().copied().collect(), wait: None, _alive: Arc::clone(&alive) };
            async move { Ok::<_, BoxError>(Response::new(script)) }
        })
    }};
}

fn deadline(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = DeadlineLayer::http(DEADLINE).unwrap();
    Subject::new(layer.layer(callee!(steps, alive)), alive, Some(DEADLINE), Vec::new)
}

fn retry(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = RetryLayer::http(RetryConfig::default()).unwrap();
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, Vec::new)
}

fn hedge(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let config = HedgeConfig { delay: HedgeDelay::Fixed(MOMENT), ..HedgeConfig::default() };
    let layer = HedgeLayer::http(config).unwrap();
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, Vec::new)
}

/// By default it reads the bodies to compare them. Here it compares the heads, and the caller gets the body of an answer that agreed.
fn quorum(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let by_status = quorum::from_fn(|response: &Response<Script>| response.status());
    let layer = QuorumLayer::http(QuorumConfig::default()).unwrap().with_agreement(by_status);
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, Vec::new)
}

fn circuit_breaker(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let handle = layer.handle();
    let gauges = move || vec![("in flight", handle.snapshot().in_flight as usize)];
    Subject::new(layer.layer(callee!(steps, alive)), alive, Some(HOLD), gauges)
}

fn bulkhead(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let handle = layer.handle();
    let gauges = move || vec![("in flight", handle.in_flight())];
    Subject::new(layer.layer(callee!(steps, alive)), alive, Some(HOLD), gauges)
}

fn balance(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer =
        BalanceLayer::http(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("callee")]).unwrap();
    let handle = layer.handle();
    let gauges = move || vec![("in flight", handle.in_flight()), ("waiting", handle.waiting())];
    // The client of an endpoint is made once. The closure keeps none, which would count as alive.
    let callee = Mutex::new(Some(callee!(steps, alive)));
    let service = layer.service(move |_| callee.lock().unwrap().take().unwrap());
    Subject::new(service, alive, Some(HOLD), gauges)
}

fn rate_limit(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = RateLimitLayer::new(RateLimitConfig::default()).unwrap();
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, Vec::new)
}

fn throttle(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = ThrottleLayer::http(ThrottleConfig::default()).unwrap();
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, Vec::new)
}

fn load_shed(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = LoadShedLayer::http(LoadShedConfig::default()).unwrap();
    let handle = layer.handle();
    let gauges = move || vec![("in flight", handle.in_flight())];
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, gauges)
}

/// With a suspect, so that the call has the turn.
fn quarantine(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let layer = QuarantineLayer::http(QuarantineConfig::default()).unwrap();
    let handle = layer.handle();
    let loses = layer.layer(service_fn(|_: Request<Empty<Bytes>>| async {
        Err::<Response<Empty<Bytes>>, _>(BoxError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
    }));
    assert!(loses.oneshot(Request::new(Empty::new())).now_or_never().unwrap().is_err());
    assert_eq!(handle.suspects(), 1);
    let gauges = move || vec![("waiting", handle.waiting())];
    Subject::new(layer.layer(callee!(steps, alive)), alive, Some(HOLD), gauges)
}

fn fallback(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let answer = fallback::value(Response::new(Empty::<Bytes>::new()));
    let layer = FallbackLayer::http(FallbackConfig::default(), answer).unwrap();
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, Vec::new)
}

/// With a rule that matches no call.
fn chaos(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let matching = Matching { path_prefix: "/none".into(), ..Matching::default() };
    let rules = vec![ChaosRule { matching, ..ChaosRule::new(ChaosFault::Stall { after: 0 }) }];
    let layer = ChaosLayer::http(ChaosConfig { enabled: true, rules, ..ChaosConfig::default() }).unwrap();
    let handle = layer.handle();
    let gauges = move || vec![("active", handle.active() as usize)];
    Subject::new(layer.layer(callee!(steps, alive)), alive, None, gauges)
}

fn client_stack(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let handle = bulkhead.handle();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::http(DEADLINE).unwrap())
        .layer(RetryLayer::http(RetryConfig::default()).unwrap())
        .layer(bulkhead)
        .layer(CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap())
        .service(callee!(steps, alive));
    Subject::new(stack, alive, Some(DEADLINE), move || vec![("in flight", handle.in_flight())])
}

fn server_stack(steps: &'static [Step]) -> Subject {
    let alive = Arc::new(());
    let shed = LoadShedLayer::http(LoadShedConfig::default()).unwrap();
    let handle = shed.handle();
    let stack =
        ServiceBuilder::new().layer(DeadlineLayer::http(DEADLINE).unwrap()).layer(shed).service(callee!(steps, alive));
    Subject::new(stack, alive, Some(DEADLINE), move || vec![("in flight", handle.in_flight())])
}

async fn reader_sees_every_frame(layer: fn(&'static [Step]) -> Subject) {
    let subject = layer(&WHOLE);
    let alive = Arc::new(());
    let mut bare = Script { steps: WHOLE.into_iter().collect(), wait: None, _alive: alive };
    let mut body = subject.body().await;
    loop {
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (bare.size_hint().exact(), bare.is_end_stream()));
        let (there, expected) = futures::join!(body.frame(), bare.frame());
        match (there, expected) {
            (None, None) => break,
            (Some(Ok(there)), Some(Ok(expected))) => {
                assert_eq!(there.data_ref(), expected.data_ref());
                assert_eq!(there.trailers_ref(), expected.trailers_ref());
            }
            (there, expected) => panic!("{there:?} instead of {expected:?}"),
        }
    }
    assert!(body.is_end_stream());
    assert_eq!((subject.gauges)(), (layer(&[]).gauges)(), "a body that was read to its end holds nothing");
}

async fn error_of_the_body_is_returned_unchanged(layer: fn(&'static [Step]) -> Subject) {
    let subject = layer(&[Step::Data("one"), Step::Waits, Step::Fails]);
    let mut body = subject.body().await;
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<Broken>(), Some(&Broken::InCall(7)), "{error}");
    assert_eq!((subject.gauges)(), (layer(&[]).gauges)(), "the call is over");
}

async fn empty_body_is_at_its_end(layer: fn(&'static [Step]) -> Subject) {
    let subject = layer(&[]);
    let before = (subject.gauges)();
    let body = subject.body().await;
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)));
    assert_eq!((subject.gauges)(), before);
}

async fn endless_body_is_cut_in_time(layer: fn(&'static [Step]) -> Subject) {
    for (steps, reads) in [
        (&[Step::NeverAgain] as &[_], true),
        (&[Step::NeverAgain], false),
        (&[Step::Data("one"), Step::NeverAgain], true),
        (&[Step::Data("one"), Step::Data("two")], false),
    ] {
        let subject = layer(steps);
        let before = (subject.gauges)();
        let Some(longest) = subject.longest else { return };
        let start = Instant::now();
        let mut body = subject.body().await;
        assert_eq!(subject.alive(), 1);
        if reads {
            let error = loop {
                if let Err(error) = body.frame().await.unwrap() {
                    break error;
                }
            };
            assert!(start.elapsed() >= longest && start.elapsed() <= longest + LATE, "{:?}", start.elapsed());
            assert!(rejection(&error).is_some(), "{error}");
            assert_eq!((subject.alive(), (subject.gauges)()), (0, before));
        } else {
            sleep(longest - MOMENT).await;
            assert_eq!(subject.alive(), 1);
            sleep(MOMENT + LATE).await;
            assert_eq!((subject.alive(), (subject.gauges)()), (0, before));
            let error = body.frame().await.unwrap().unwrap_err();
            assert!(rejection(&error).is_some(), "{error}");
        }
    }
}

async fn body_dropped_at_any_poll_releases_everything(layer: fn(&'static [Step]) -> Subject) {
    for polls in 0..10 {
        let subject = layer(&WHOLE);
        let before = (subject.gauges)();
        let mut body = subject.body().await;
        let mut read = Driven::new(async move { while let Some(Ok(_)) = body.frame().await {} });
        for _ in 0..polls {
            if read.poll().is_ready() {
                break;
            }
            sleep(MOMENT).await;
        }
        drop(read);
        assert_eq!((subject.alive(), (subject.gauges)()), (0, before), "after {polls} polls");
    }
}

async fn reader_is_woken_once_per_frame(layer: fn(&'static [Step]) -> Subject) {
    let subject = layer(&[Step::Waits, Step::Data("one"), Step::NeverAgain]);
    let mut body = subject.body().await;
    let mut read = Driven::new(async move { while let Some(Ok(_)) = body.frame().await {} });
    assert!(read.poll().is_pending());
    sleep(DEADLINE / 2).await;
    assert_eq!(read.wakes(), 1, "for the frame that came");
    read.move_to_another_task();
    assert!(read.poll().is_pending());
    if let Some(longest) = subject.longest {
        read.finish().await;
        assert!(read.age() <= longest + LATE, "the cut wakes the present reader");
    }
}
