//! The stack over several endpoints hedges slow calls.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Mutex;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use seawall::context;
use seawall::hedge::{HedgeConfig, HedgeDelay};
use seawall::http::{ByMethod, Idempotent, LongLived, ReplayBody};
use seawall::registry::{Condition, HedgeCondition, Registry};
use seawall::retry::{Backoff, BudgetConfig, RetryConfig};
use seawall::stack::{self, BalancedClientConfig, BalancedClientLayer};

use super::*;

const DELAY: Duration = Duration::from_millis(10);

/// What an endpoint got: its number, the number of the attempt by the context and by the header, and the body.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    endpoint: usize,
    attempt: (u32, String),
    body: Bytes,
}

/// How the endpoint with this number answers its nth attempt of all.
type Script = Arc<dyn Fn(usize, usize) -> (Duration, StatusCode) + Send + Sync>;

/// Endpoints over HTTP that answer by a script.
#[derive(Clone)]
struct Fleet {
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
    begun: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
}

struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fleet {
    fn new(script: impl Fn(usize, usize) -> (Duration, StatusCode) + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), seen: Arc::default(), begun: Arc::default(), running: Arc::default() }
    }

    /// The first attempt of all takes a minute, further ones a millisecond.
    fn slow_once() -> Self {
        Self::new(|_, n| (if n == 0 { 60 * SECOND } else { MS }, StatusCode::OK))
    }

    /// Makes the client of an endpoint.
    fn connect<B: 'static>(&self) -> impl Fn(&Endpoint) -> HttpEndpoint<B> + Send + Sync + 'static {
        let fleet = self.clone();
        move |endpoint| {
            let number = endpoint.address().parse().unwrap();
            HttpEndpoint { fleet: fleet.clone(), number, body: std::marker::PhantomData }
        }
    }

    fn attempts(&self) -> Vec<(usize, u32)> {
        self.seen.lock().unwrap().iter().map(|seen| (seen.endpoint, seen.attempt.0)).collect()
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

struct HttpEndpoint<B> {
    fleet: Fleet,
    number: usize,
    body: std::marker::PhantomData<fn(B)>,
}

impl<B> Clone for HttpEndpoint<B> {
    fn clone(&self) -> Self {
        Self { fleet: self.fleet.clone(), ..*self }
    }
}

/// The type of the body is that of a stack without hedges.
impl<B> Service<Request<ReplayBody<B>>> for HttpEndpoint<B>
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReplayBody<B>>) -> Self::Future {
        let (fleet, endpoint, attempt) = (self.fleet.clone(), self.number, context::attempt());
        let n = fleet.begun.fetch_add(1, Ordering::SeqCst);
        fleet.running.fetch_add(1, Ordering::SeqCst);
        let at_work = AtWork(Arc::clone(&fleet.running));
        let header = request.headers().get("x-envoy-attempt-count");
        let header = header.map_or("1", |value| value.to_str().unwrap()).to_owned();
        Box::pin(async move {
            let _at_work = at_work;
            let body = request.into_body().collect().await?.to_bytes();
            fleet.seen.lock().unwrap().push(Seen { endpoint, attempt: (attempt, header), body });
            let (after, status) = (fleet.script)(endpoint, n);
            sleep(after).await;
            Ok(Response::builder().status(status).body(Full::new(Bytes::from(endpoint.to_string())))?)
        })
    }
}

fn config() -> BalancedClientConfig {
    BalancedClientConfig {
        retry: RetryConfig { backoff: Backoff::constant(5 * MS), ..RetryConfig::default() },
        hedge: HedgeConfig { delay: HedgeDelay::Fixed(DELAY), ..HedgeConfig::default() },
        ..BalancedClientConfig::default()
    }
}

fn layers(config: &BalancedClientConfig, endpoints: usize) -> BalancedClientLayer {
    let endpoints = (0..endpoints).map(|number| Endpoint::new(number.to_string()));
    stack::balanced_client(config).unwrap().with_endpoints(endpoints).unwrap()
}

fn request(method: Method) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri("http://orders.test/").body(Full::default()).unwrap()
}

/// The status of one call, once its body is read, and how long that took.
async fn call<B>(layers: &BalancedClientLayer, fleet: &Fleet, request: Request<B>) -> (StatusCode, Duration)
where
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (start, client) = (Instant::now(), layers.service(fleet.connect::<B>()));
    let response = client.oneshot(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    (status, start.elapsed())
}

fn hedge_of(registry: &Registry, name: &str) -> HedgeCondition {
    let snapshot = registry.snapshot();
    let hedge = snapshot.of(name).find_map(|component| match &component.condition {
        Condition::Hedge(hedge) => Some(hedge.clone()),
        _ => None,
    });
    hedge.expect("the stack has a hedge")
}

#[tokio::test(start_paused = true)]
async fn slow_read_is_hedged_at_another_endpoint() {
    for _ in 0..20 {
        let fleet = Fleet::slow_once();
        let layers = layers(&config(), 2);
        let ((status, took), report) = seawall::retry::report(call(&layers, &fleet, request(Method::GET))).await;
        assert_eq!(status, StatusCode::OK);
        assert!((DELAY..2 * DELAY).contains(&took), "{took:?}");
        let [first, second] = &fleet.seen.lock().unwrap()[..] else { panic!("{:?}", fleet.attempts()) };
        assert_ne!(first.endpoint, second.endpoint);
        assert_eq!((&first.attempt, &second.attempt), (&(1, "1".to_owned()), &(2, "2".to_owned())));
        let report = report.expect("the retry reports");
        assert_eq!((report.attempts, report.endpoints.len()), (1, 2), "{report:?}");
        assert_eq!(
            (layers.balance().in_flight(), fleet.running.load(Ordering::SeqCst)),
            (0, 0),
            "the loser is dropped"
        );
        assert_eq!(layers.budget().balance(), 9, "the budget of the retries has paid");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_hedged_once_the_delay_is_learned() {
    let fleet = Fleet::new(|_, n| (if n == 200 { 60 * SECOND } else { 20 * MS }, StatusCode::OK));
    let config = BalancedClientConfig { hedge: HedgeConfig::default(), ..BalancedClientConfig::default() };
    let layers = layers(&config, 3);
    assert_eq!(layers.hedge_delay(), None);
    for _ in 0..200 {
        call(&layers, &fleet, request(Method::GET)).await;
    }
    let delay = layers.hedge_delay().expect("there are enough samples");
    assert!((20 * MS..25 * MS).contains(&delay), "{delay:?}");
    let (status, took) = call(&layers, &fleet, request(Method::GET)).await;
    assert_eq!((status, fleet.begun()), (StatusCode::OK, 202));
    assert!(took < 60 * MS, "{took:?}");
}

/// A report takes long at every endpoint, and a hedge of it is useless. The delay is that of the lookups before it.
#[tokio::test(start_paused = true)]
async fn reports_among_lookups_are_hardly_hedged() {
    let fleet = Fleet::new(|_, n| (if n >= 200 { 3 * SECOND } else { 5 * MS }, StatusCode::OK));
    let registry = Registry::new();
    let layers = layers(&BalancedClientConfig::default(), 3).named_in(&registry, "search").unwrap();
    for _ in 0..200 {
        call(&layers, &fleet, request(Method::GET)).await;
    }
    for _ in 0..20 {
        call(&layers, &fleet, request(Method::GET)).await;
    }
    // A second of time that is there without calls, a tenth of a second each second, and a twentieth of what first attempts take.
    let (hedges, affordable) = (fleet.begun() - 220, 1 + (6.0 + 0.05 * 60.0) as usize / 3);
    assert!((1..=affordable).contains(&hedges), "{hedges}");
    let hedge = hedge_of(&registry, "search");
    // The first ten. Then more than one call in twenty takes long, and so does the delay.
    assert!(hedge.not_hedged.iter().any(|(why, n)| *why == "time_ratio" && *n >= 5), "{hedge:?}");
}

/// A hedge runs beside the first attempt, so it asks for more than a retry does.
#[tokio::test(start_paused = true)]
async fn only_requests_that_may_run_beside_themselves_are_hedged() {
    let idempotent = |method: Method, told: bool| {
        let mut request = request(method);
        request.extensions_mut().insert(Idempotent(told));
        request
    };
    let with = |method: Method, header: &'static str| {
        let mut request = request(method);
        request.headers_mut().insert(header, http::HeaderValue::from_static("x"));
        request
    };
    for (name, request, attempts) in [
        ("get", request(Method::GET), 2),
        ("head", request(Method::HEAD), 2),
        ("options", request(Method::OPTIONS), 2),
        ("trace", request(Method::TRACE), 2),
        ("put", request(Method::PUT), 1),
        ("delete", request(Method::DELETE), 1),
        ("post", request(Method::POST), 1),
        ("patch", request(Method::PATCH), 1),
        ("post with a key", with(Method::POST, "idempotency-key"), 1),
        ("idempotent post", idempotent(Method::POST, true), 2),
        ("idempotent put", idempotent(Method::PUT, true), 2),
        ("get that is not idempotent", idempotent(Method::GET, false), 1),
        ("upgrade", with(Method::GET, "upgrade"), 1),
        ("connect", request(Method::CONNECT), 1),
    ] {
        let fleet = Fleet::new(|_, _| (50 * MS, StatusCode::OK));
        assert_eq!(call(&layers(&config(), 2), &fleet, request).await.0, StatusCode::OK);
        assert_eq!(fleet.begun(), attempts, "{name}");
    }
}

/// A long poll is not slow, whatever bounds its attempts.
#[tokio::test(start_paused = true)]
async fn long_lived_call_is_not_hedged() {
    for attempt_timeout in [None, Some(SECOND)] {
        let fleet = Fleet::new(|_, _| (50 * MS, StatusCode::OK));
        let mut config = config();
        config.retry.attempt_timeout = attempt_timeout;
        let layers = layers(&config, 2);
        let mut poll = request(Method::GET);
        poll.extensions_mut().insert(LongLived::new(60 * SECOND));
        assert_eq!(call(&layers, &fleet, poll).await.0, StatusCode::OK);
        assert_eq!(fleet.begun(), 1, "{attempt_timeout:?}");
        call(&layers, &fleet, request(Method::GET)).await;
        assert_eq!(fleet.begun(), 3, "other calls are");
    }
}

/// What is not hedged is retried after a failure, as without hedges.
#[tokio::test(start_paused = true)]
async fn request_that_is_not_hedged_is_retried() {
    let mut keyed = request(Method::POST);
    keyed.headers_mut().insert("idempotency-key", http::HeaderValue::from_static("x"));
    for request in [request(Method::PUT), request(Method::DELETE), keyed] {
        let fleet = Fleet::new(|_, n| match n {
            0 => (50 * MS, StatusCode::SERVICE_UNAVAILABLE),
            _ => (50 * MS, StatusCode::OK),
        });
        let (status, took) = call(&layers(&config(), 4), &fleet, request).await;
        assert_eq!((status, fleet.begun()), (StatusCode::OK, 2));
        assert!(took >= 100 * MS, "one after the other: {took:?}");
    }
}

#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn grpc_call_is_hedged_only_if_it_says_so() {
    for (told, attempts) in [(None, 1), (Some(false), 1), (Some(true), 2)] {
        let fleet = Fleet::new(|_, _| (50 * MS, StatusCode::OK));
        let endpoints = ["0", "1"].map(Endpoint::new);
        let layers = stack::grpc::balanced_client(&config()).unwrap().with_endpoints(endpoints).unwrap();
        let mut request = request(Method::POST).map(|_| Full::new(Bytes::from("a message")));
        if let Some(told) = told {
            request.extensions_mut().insert(Idempotent(told));
        }
        let client = layers.service(fleet.connect::<Full<Bytes>>());
        client.oneshot(request).await.unwrap();
        assert_eq!(fleet.begun(), attempts, "{told:?}");
        assert!(fleet.seen.lock().unwrap().iter().all(|seen| seen.body == "a message"));
    }
}

/// A request with a body that may be hedged.
fn idempotent_put<B>(body: B) -> Request<B> {
    Request::put("http://orders.test/").extension(Idempotent(true)).body(body).unwrap()
}

/// A body that takes so long to arrive, in pieces of a byte.
fn upload(pieces: usize, pause: Duration) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    StreamBody::new(futures::stream::unfold(0, move |sent| async move {
        if sent == pieces {
            return None;
        }
        sleep(pause).await;
        Some((Ok(Frame::data(Bytes::from_static(b"x"))), sent + 1))
    }))
}

/// Each attempt of retry and hedge sends the whole body, from one record, whatever the retry still keeps.
#[tokio::test(start_paused = true)]
async fn body_is_sent_whole_by_every_attempt() {
    for (enabled, max_attempts) in [(true, 3), (true, 1), (false, 3)] {
        // The first two fail slowly, so that they are hedged; a retry follows.
        let fleet = Fleet::new(|_, n| match n {
            0 | 1 => (30 * MS, StatusCode::SERVICE_UNAVAILABLE),
            2 => (60 * SECOND, StatusCode::OK),
            _ => (MS, StatusCode::OK),
        });
        let mut config = config();
        (config.retry.enabled, config.retry.max_attempts) = (enabled, max_attempts);
        let put = idempotent_put(upload(20, MS));
        let (status, _) = call(&layers(&config, 4), &fleet, put).await;
        let is_retried = enabled && max_attempts > 1;
        let attempts = if is_retried { 4 } else { 2 };
        assert_eq!((status.is_success(), fleet.begun()), (is_retried, attempts));
        let seen = fleet.seen.lock().unwrap();
        assert!(seen.iter().all(|seen| seen.body == "x".repeat(20)), "{seen:?}");
        let numbers: Vec<_> = seen.iter().map(|seen| seen.attempt.0).collect();
        assert_eq!(numbers, [1, 2, 2, 3][..attempts], "those of the hedge continue those of the retry");
    }
}

#[tokio::test(start_paused = true)]
async fn upload_in_progress_is_not_hedged() {
    let fleet = Fleet::new(|_, _| (MS, StatusCode::OK));
    let put = idempotent_put(upload(20, 10 * MS));
    assert_eq!(call(&layers(&config(), 2), &fleet, put).await.0, StatusCode::OK);
    assert_eq!(fleet.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn body_beyond_the_bound_is_not_hedged() {
    for (max, attempts) in [(20, 2), (19, 1)] {
        let fleet = Fleet::new(|_, _| (50 * MS, StatusCode::OK));
        let layers = layers(&config(), 2).with_replay(ByMethod::default().with_max_body(max));
        let put = idempotent_put(upload(20, MS));
        assert_eq!(call(&layers, &fleet, put).await.0, StatusCode::OK);
        assert_eq!(fleet.begun(), attempts, "{max}");
    }
}

/// The endpoints, and what is set by hand, that leave a hedge nowhere to go.
#[tokio::test(start_paused = true)]
async fn hedge_without_another_endpoint_is_not_made() {
    use seawall::balance::EndpointMode::{Draining, Isolated, Standby};

    for (endpoints, mode) in [(1, None), (2, Some(Draining)), (2, Some(Isolated)), (2, Some(Standby))] {
        let fleet = Fleet::new(|_, _| (50 * MS, StatusCode::OK));
        let registry = Registry::new();
        let layers = layers(&config(), endpoints).named_in(&registry, "orders").unwrap();
        if let Some(mode) = mode {
            assert!(layers.balance().set_mode("1", mode));
        }
        let (status, took) = call(&layers, &fleet, request(Method::GET)).await;
        assert_eq!((status, fleet.attempts()), (StatusCode::OK, vec![(0, 1)]), "{mode:?}");
        assert!(took <= 51 * MS, "{took:?}");
        let hedge = hedge_of(&registry, "orders");
        assert_eq!((hedge.not_hedged, hedge.hedges.len()), ([("refused", 1)].into(), 0));
        assert_eq!((hedge.budget_left, layers.budget().balance()), (10, 10), "it is refunded");
        let snapshot = registry.snapshot();
        assert!(snapshot.of("orders").all(|component| component.refused.is_empty()), "no call was refused");
    }
}

/// A hedge takes no permit for which another call waits, and does not wait for one.
#[tokio::test(start_paused = true)]
async fn hedge_waits_for_no_permit() {
    let fleet = Fleet::new(|_, n| (if n < 2 { 50 * MS } else { 5 * MS }, StatusCode::OK));
    let mut config = config();
    config.balance.max_concurrent = 1;
    let layers = layers(&config, 2);
    let first = call(&layers, &fleet, request(Method::GET));
    let second = call(&layers, &fleet, request(Method::GET));
    let third = async {
        sleep(MS).await;
        call(&layers, &fleet, request(Method::GET)).await.1
    };
    let (first, second, third) = futures::join!(first, second, third);
    assert_eq!((first.0, second.0, fleet.begun()), (StatusCode::OK, StatusCode::OK, 3), "{:?}", fleet.attempts());
    assert!(third <= 56 * MS, "{third:?}");
}

/// A slow attempt is hedged, and an attempt that fails is the retry's: `max_attempts` is what the user set.
#[tokio::test(start_paused = true)]
async fn failure_is_left_to_the_retry() {
    for max_attempts in [1, 2, 3] {
        let fleet = Fleet::new(|_, _| (MS, StatusCode::SERVICE_UNAVAILABLE));
        let mut config = config();
        config.retry.max_attempts = max_attempts;
        let (status, took) = call(&layers(&config, 5), &fleet, request(Method::GET)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let attempts = fleet.seen.lock().unwrap().iter().map(|seen| seen.attempt.clone()).collect::<Vec<_>>();
        let expected: Vec<_> = (1..=max_attempts).map(|number| (number, number.to_string())).collect();
        assert_eq!(attempts, expected);
        assert!(took >= MS * max_attempts, "{took:?}");
    }
}

/// The first attempt fails while its hedge is in flight: the hedge answers. If both fail, the retry follows, at a third endpoint.
#[tokio::test(start_paused = true)]
async fn failure_beside_a_hedge_waits_for_it() {
    let fails = StatusCode::SERVICE_UNAVAILABLE;
    for (hedge, begun) in [((20 * MS, StatusCode::OK), 2), ((20 * MS, fails), 3)] {
        let fleet = Fleet::new(move |_, n| match n {
            0 => (15 * MS, fails),
            1 => hedge,
            _ => (MS, StatusCode::OK),
        });
        let layers = layers(&config(), 3);
        let (status, _) = call(&layers, &fleet, request(Method::GET)).await;
        assert_eq!((status, fleet.begun()), (StatusCode::OK, begun));
        let mut endpoints: Vec<_> = fleet.attempts().iter().map(|(endpoint, _)| *endpoint).collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        assert_eq!(endpoints.len(), begun, "each at an endpoint of its own");
    }
}

/// The bound of an attempt is that of its hedge, too: then the retry follows.
#[tokio::test(start_paused = true)]
async fn hedge_ends_with_the_attempt_of_the_retry() {
    let fleet = Fleet::new(|_, n| (if n < 2 { 60 * SECOND } else { MS }, StatusCode::OK));
    let mut config = config();
    config.retry.attempt_timeout = Some(100 * MS);
    let layers = layers(&config, 4);
    let (status, took) = call(&layers, &fleet, request(Method::GET)).await;
    assert_eq!((status, fleet.begun(), layers.balance().in_flight()), (StatusCode::OK, 3, 0));
    assert!((100 * MS..120 * MS).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_and_hedges_share_one_budget() {
    // The sixth attempt fails.
    let fleet = Fleet::new(|_, n| match n {
        5 => (MS, StatusCode::SERVICE_UNAVAILABLE),
        _ => (50 * MS, StatusCode::OK),
    });
    let mut config = config();
    config.retry.budget =
        BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, reserve_burst: 3, ..BudgetConfig::default() };
    let layers = layers(&config, 3);
    // The last token is left to the retry.
    for (begun, left) in [(2, 2), (4, 1), (5, 1), (7, 0)] {
        assert_eq!(call(&layers, &fleet, request(Method::GET)).await.0, StatusCode::OK);
        assert_eq!((fleet.begun(), layers.budget().balance()), (begun, left));
    }
    // A reload of the retry's budget is one of the hedges'.
    config.retry.budget.reserve_per_second = 1000.0;
    layers.reload(&config).unwrap();
    sleep(SECOND).await;
    call(&layers, &fleet, request(Method::GET)).await;
    assert_eq!(fleet.begun(), 9);
}

#[tokio::test(start_paused = true)]
async fn reload_switches_hedges_off_and_on() {
    let fleet = Fleet::new(|_, _| (50 * MS, StatusCode::OK));
    let layers = layers(&config(), 2);
    let mut config = layers.config();
    let mut begun = 0;
    for (enabled, attempts) in [(false, 1), (true, 2), (false, 1)] {
        config.hedge.enabled = enabled;
        layers.reload(&config).unwrap();
        call(&layers, &fleet, request(Method::GET)).await;
        begun += attempts;
        assert_eq!(fleet.begun(), begun);
    }
}

#[test]
fn setting_of_the_hedge_without_effect_is_a_fault() {
    let faults = |change: fn(&mut BalancedClientConfig)| {
        let mut config = BalancedClientConfig::default();
        change(&mut config);
        match stack::balanced_client(&config) {
            Ok(_) => Vec::new(),
            Err(invalid) => invalid.faults().iter().map(|fault| fault.path().to_owned()).collect(),
        }
    };
    assert_eq!(faults(|config| config.hedge.budget.ratio = 0.2), ["hedge.budget"]);
    assert_eq!(faults(|config| config.hedge.delay = HedgeDelay::OnFailure), ["hedge.delay"]);
    assert_eq!(faults(|config| config.hedge.max_attempts = 6), ["hedge.max_attempts"]);
    assert!(faults(|config| config.retry.budget.ratio = 0.2).is_empty());
    let same = |config: &mut BalancedClientConfig| {
        config.retry.budget.ratio = 0.2;
        config.hedge.budget.ratio = 0.2;
    };
    assert!(faults(same).is_empty(), "the budget that it is");
}

/// Dropped after any number of polls, a hedged call holds nothing, and what it has not sent is refunded.
#[tokio::test(start_paused = true)]
async fn hedged_call_dropped_at_any_poll_releases_everything() {
    for polls in 0..12 {
        let fleet = Fleet::new(|_, n| (20 * MS * (n as u32 + 1), StatusCode::SERVICE_UNAVAILABLE));
        let layers = layers(&config(), 4);
        {
            let client = layers.service(fleet.connect::<Full<Bytes>>());
            let mut call = pin!(client.oneshot(request(Method::GET)));
            for _ in 0..polls {
                if futures::poll!(call.as_mut()).is_ready() {
                    break;
                }
                advance(5 * MS).await;
            }
        }
        let paid = u32::try_from(fleet.begun().saturating_sub(1)).unwrap();
        assert_eq!((layers.balance().in_flight(), fleet.running.load(Ordering::SeqCst)), (0, 0), "{polls}");
        assert_eq!(layers.budget().balance(), 10 - paid, "{polls}");
    }
}
