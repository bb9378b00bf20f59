//! A gate in virtual time, and what calls see of it.

use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::time::{Instant, sleep, sleep_until};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::fifo::Random;

/// The mean time of a call, in milliseconds: so long that it does not matter that timers have whole ones.
pub(crate) const MEAN: f64 = 1000.0;

/// A bound that nothing reaches.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A call, in whole milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) at: f64,
    pub(crate) takes: f64,
}

/// This number of calls at random times. They keep the servers busy to this share.
pub(crate) fn calls(
    count: usize,
    servers: u32,
    utilisation: f64,
    takes: impl Fn(&mut Random) -> f64,
) -> impl Iterator<Item = Call> {
    let mut random = Random::new();
    let gap = MEAN / (utilisation * f64::from(servers));
    let mut now = 0.0;
    std::iter::repeat_with(move || {
        now += random.exponential(gap);
        Call { at: now.round(), takes: takes(&mut random).round() }
    })
    .take(count)
}

pub(crate) struct Request {
    came: Instant,
    takes: Duration,
}

/// Answers with how long a call has waited for it.
pub(crate) type Server = BoxCloneService<Request, Duration, BoxError>;

pub(crate) fn server() -> Server {
    BoxCloneService::new(service_fn(|Request { came, takes }| async move {
        let waited = came.elapsed();
        sleep(takes).await;
        Ok::<_, BoxError>(waited)
    }))
}

pub(crate) fn load_shed(permits: u32, queue_ratio: f64) -> LoadShedLayer {
    let config =
        LoadShedConfig { max_in_flight: permits, queue_ratio, max_wait: NEVER, max_hold: NEVER, ..Default::default() };
    LoadShedLayer::new(config).unwrap()
}

pub(crate) fn bulkhead(permits: u32) -> BulkheadLayer {
    let config = BulkheadConfig {
        max_concurrent: permits,
        max_waiting: 100_000,
        max_wait: NEVER,
        max_hold: NEVER,
        ..Default::default()
    };
    BulkheadLayer::new(config).unwrap()
}

/// A server behind each kind of gate, with a queue that is never full.
pub(crate) fn gated(permits: u32) -> [(&'static str, Server); 2] {
    [
        ("bulkhead", BoxCloneService::new(bulkhead(permits).layer(server()))),
        ("load_shed", BoxCloneService::new(load_shed(permits, 1000.0).layer(server()))),
    ]
}

/// Makes the calls, and returns the answers in their order.
pub(crate) async fn answers(service: Server, calls: impl Iterator<Item = Call>) -> Vec<Result<Duration, BoxError>> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for call in calls {
        sleep_until(start + Duration::from_millis(call.at as u64)).await;
        let request = Request { came: Instant::now(), takes: Duration::from_millis(call.takes as u64) };
        tasks.push(tokio::spawn(service.clone().oneshot(request)));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}
