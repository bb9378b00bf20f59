//! Instances with a number of slots that nobody has told their clients. A full one answers 503 at once, without a reason.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use seawall::http::ReplayBody;
use seawall::registry::{Condition, Registry};
use seawall::stack::{self, BalancedClientConfig};
use tokio::sync::Semaphore;

use super::*;

const SLOTS: usize = 10;

#[derive(Clone)]
struct Instance {
    slots: Arc<Semaphore>,
    fails: Arc<AtomicUsize>,
    /// How many calls it answers in a second, which begins anew at full seconds. It refuses the others, and says when to come back.
    quota: Option<Arc<Quota>>,
}

struct Quota {
    each_second: usize,
    start: Instant,
    used: std::sync::Mutex<(u64, usize)>,
}

impl Quota {
    fn is_used_up(&self) -> bool {
        let (second, mut used) = (self.start.elapsed().as_secs(), self.used.lock().unwrap());
        if used.0 != second {
            *used = (second, 0);
        }
        used.1 += 1;
        used.1 > self.each_second
    }
}

impl Instance {
    fn new(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), fails: Arc::default(), quota: None }
    }
}

impl Service<Request<ReplayBody<Full<Bytes>>>> for Instance {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<ReplayBody<Full<Bytes>>>) -> Self::Future {
        if let Some(quota) = &self.quota {
            let is_refused = quota.is_used_up();
            return Box::pin(async move {
                sleep(if is_refused { 50 * MS } else { 60 * MS }).await;
                let status = if is_refused { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
                Ok(Response::builder().status(status).header("retry-after", "1").body(Full::default())?)
            });
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        // One call in so many fails at once, without being one too many.
        let one_in = self.fails.load(Ordering::SeqCst);
        let fails = one_in > 0 && fastrand::usize(..one_in) == 0;
        Box::pin(async move {
            if fails || slot.is_none() {
                return Ok(Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(Full::default())?);
            }
            sleep(SECOND).await;
            Ok(Response::new(Full::new(Bytes::from_static(b"done"))))
        })
    }
}

struct Fleet {
    instances: Vec<Instance>,
}

/// What the users have seen, and the limits of the endpoints at the end.
struct Seen {
    failed: usize,
    served: usize,
    limits: Vec<u32>,
}

impl Fleet {
    fn new(slots: &[usize]) -> Self {
        Self { instances: slots.iter().map(|slots| Instance::new(*slots)).collect() }
    }

    /// The calls of so many users from the `from`th second on. One more user comes each 100 ms, and each calls again at once.
    async fn use_by(&self, users: u32, from: u32, seconds: u32) -> Seen {
        let registry = Registry::new();
        let endpoints = (0..self.instances.len()).map(|number| Endpoint::new(number.to_string()));
        let layers = stack::balanced_client(&BalancedClientConfig::default()).unwrap();
        let layers = layers.named_in(&registry, "payments").unwrap().with_endpoints(endpoints).unwrap();
        let instances = self.instances.clone();
        let service = layers.service(move |endpoint| instances[endpoint.address().parse::<usize>().unwrap()].clone());
        let start = Instant::now();
        let user = |number: u32| {
            let service = service.clone();
            async move {
                sleep(100 * MS * number).await;
                let (mut failed, mut served) = (0, 0);
                while start.elapsed() < SECOND * seconds {
                    let request = Request::get("http://payments.test/").body(Full::default()).unwrap();
                    let answer = service.clone().oneshot(request).await;
                    let is_good = match answer {
                        Ok(answer) => answer.status().is_success() && answer.into_body().collect().await.is_ok(),
                        Err(_) => false,
                    };
                    if start.elapsed() < SECOND * from {
                        continue;
                    }
                    (failed, served) = (failed + usize::from(!is_good), served + usize::from(is_good));
                }
                (failed, served)
            }
        };
        let users: Vec<_> = (0..users).map(|number| tokio::spawn(user(number))).collect();
        let (mut failed, mut served) = (0, 0);
        for user in users {
            let (more_failed, more_served) = user.await.unwrap();
            (failed, served) = (failed + more_failed, served + more_served);
        }
        Seen { failed, served, limits: limits(&registry) }
    }
}

fn limits(registry: &Registry) -> Vec<u32> {
    let snapshot = registry.snapshot();
    let mut layers = snapshot.of("payments").map(|layer| layer.condition.clone());
    let found = layers.find_map(|condition| match condition {
        Condition::Balance(condition) => Some(condition.listed.iter().map(|endpoint| endpoint.limit).collect()),
        _ => None,
    });
    found.unwrap()
}

/// Forty users want thirty slots. Ten of them wait, instead of using up their attempts.
#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_slot_of_instances_that_refuse_when_they_are_full() {
    seawall::seed(1);
    let fleet = Fleet::new(&[SLOTS; 3]);
    let Seen { failed, served, limits } = fleet.use_by(40, 10, 130).await;
    assert!(limits.iter().all(|limit| (10..=11).contains(limit)), "{limits:?}");
    assert!(served >= 3500 && failed <= 4, "{failed} failed and {served} of 3600 served");
}

#[tokio::test(start_paused = true)]
async fn instances_of_different_size_are_each_used_fully() {
    seawall::seed(1);
    let fleet = Fleet::new(&[4, 20]);
    let Seen { failed, served, .. } = fleet.use_by(36, 10, 130).await;
    assert!(served >= 2800 && failed <= 4, "{failed} failed and {served} of 2880 served");
}

/// It is restarted with more slots.
#[tokio::test(start_paused = true)]
async fn more_slots_are_used_soon() {
    seawall::seed(1);
    let fleet = Fleet::new(&[SLOTS]);
    let slots = Arc::clone(&fleet.instances[0].slots);
    let more = async move {
        sleep(30 * SECOND).await;
        slots.add_permits(20);
    };
    let (Seen { failed, served, .. }, ()) = tokio::join!(fleet.use_by(28, 100, 130), more);
    assert!(served >= 800 && failed == 0, "{failed} failed and {served} of 840 served");
}

/// A twentieth of the calls fail at once for another reason. That limits no calls.
#[tokio::test(start_paused = true)]
async fn random_refusals_are_no_limit() {
    seawall::seed(1);
    fastrand::seed(1);
    let fleet = Fleet::new(&[1000]);
    fleet.instances[0].fails.store(20, Ordering::SeqCst);
    let Seen { served, .. } = fleet.use_by(60, 20, 120).await;
    assert!(served >= 5700, "{served} of 6000 served");
}

/// It refuses all calls of the rest of a second, however few are in flight. That is no limit of the calls in flight either: callers get all that
/// the quota allows.
#[tokio::test(start_paused = true)]
async fn quota_is_used_fully() {
    seawall::seed(1);
    let mut fleet = Fleet::new(&[1]);
    let quota = Quota { each_second: 100, start: Instant::now(), used: Default::default() };
    fleet.instances[0].quota = Some(Arc::new(quota));
    let Seen { served, .. } = fleet.use_by(20, 10, 40).await;
    assert!(served >= 2900, "{served} of 3000 served");
}

/// Their callers drop as many calls as it takes. It works on them to their end, and would refuse another one in their place, so that waits.
#[tokio::test(start_paused = true)]
async fn slots_of_dropped_calls_are_used_until_their_work_should_end() {
    seawall::seed(1);
    let registry = Registry::new();
    let layers = stack::balanced_client(&BalancedClientConfig::default()).unwrap();
    let layers = layers.named_in(&registry, "payments").unwrap().with_endpoints([Endpoint::new("0")]).unwrap();
    let instance = Instance::new(SLOTS);
    let service = layers.service(move |_| instance.clone());
    let call = || service.clone().oneshot(Request::get("http://payments.test/").body(Full::default()).unwrap());
    for _ in 0..40 {
        let more_than_slots: Vec<_> = (0..SLOTS + 2).map(|_| call()).collect();
        futures::future::join_all(more_than_slots).await;
    }
    let limit = limits(&registry)[0];
    assert!((10..20).contains(&limit), "{limit}");
    let dropped = (0..limit).map(|_| tokio::time::timeout(300 * MS, call()));
    futures::future::join_all(dropped).await;
    let start = Instant::now();
    call().await.unwrap();
    assert!((1600 * MS..1900 * MS).contains(&start.elapsed()), "{:?}", start.elapsed());
}
