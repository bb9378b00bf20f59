//! The callers: an open loop. Each request starts at its drawn time, however earlier requests fare. Its latency is
//! counted from that time, not from the time at which a busy machine sent it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::Error;

/// How many requests may be in flight at once. Each may own both ends of a connection to the service, and the service
/// both ends of one to the dependency: this bound keeps the process well within 2,000 descriptors. Further requests
/// fail at once.
const MAX_UNDER_WAY: usize = 300;

/// A client with a pool of kept-alive connections, as both the callers and the service use it.
pub(crate) fn http_client<B>() -> Client<HttpConnector, B>
where
    B: axum::body::HttpBody + Send,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(64).build(connector)
}

/// The answer of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A 200, in time or not.
    Success,
    /// 429 or 503: the service refused.
    Refused,
    /// Another status, a broken connection, or no answer before the caller disconnected.
    Failed,
}

/// One request of the trace and its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) request: usize,
    /// Its intended start, counted from the start of the run.
    pub(crate) intended: Duration,
    /// How long its caller waited from then on.
    pub(crate) latency: Duration,
    pub(crate) answer: Answer,
}

/// Counters to look at while the load runs.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    pub(crate) answered: AtomicUsize,
    pub(crate) good: AtomicUsize,
}

/// The callers of one run.
#[derive(Clone)]
pub(crate) struct Callers {
    service: SocketAddr,
    start: Instant,
    deadline: Duration,
    client: Client<HttpConnector, Empty<Bytes>>,
    under_way: Arc<Semaphore>,
    pulse: Arc<Pulse>,
}

impl Callers {
    pub(crate) fn new(service: SocketAddr, start: Instant, deadline: Duration, pulse: Arc<Pulse>) -> Self {
        let under_way = Arc::new(Semaphore::new(MAX_UNDER_WAY));
        Self { service, start, deadline, client: http_client(), under_way, pulse }
    }

    /// Sends every request of the trace at its time, and returns when the last caller has its answer or has
    /// disconnected.
    pub(crate) async fn call(&self, arrivals: &[Duration]) -> Result<Vec<Outcome>, Error> {
        let mut calls = JoinSet::new();
        for (request, intended) in arrivals.iter().copied().enumerate() {
            sleep_until(self.start + intended).await;
            let callers = self.clone();
            calls.spawn(async move { callers.one(request, intended).await });
        }
        let mut outcomes = Vec::with_capacity(arrivals.len());
        while let Some(outcome) = calls.join_next().await {
            outcomes.push(outcome?);
        }
        Ok(outcomes)
    }

    async fn one(&self, request: usize, intended: Duration) -> Outcome {
        let answer = match self.under_way.try_acquire() {
            Ok(_place) => {
                // A little longer than the deadline, so that late answers are seen as late.
                let hang_up = self.start + intended + self.deadline * 5 / 4;
                timeout_at(hang_up, self.ask(request)).await.unwrap_or(Answer::Failed)
            }
            Err(_) => Answer::Failed,
        };
        let latency = self.start.elapsed().saturating_sub(intended);
        let outcome = Outcome { request, intended, latency, answer };
        self.pulse.answered.fetch_add(1, Ordering::Relaxed);
        self.pulse.good.fetch_add(usize::from(outcome.is_good(self.deadline)), Ordering::Relaxed);
        outcome
    }

    async fn ask(&self, request: usize) -> Answer {
        match self.exchange(request).await {
            Ok(StatusCode::OK) => Answer::Success,
            Ok(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => Answer::Refused,
            Ok(_) | Err(_) => Answer::Failed,
        }
    }

    /// An exchange is over at the end of the body.
    async fn exchange(&self, request: usize) -> Result<StatusCode, Error> {
        let uri = format!("http://{}/{request}", self.service);
        let response = self.client.request(Request::get(uri).body(Empty::new())?).await?;
        let status = response.status();
        Body::new(response.into_body()).collect().await?;
        Ok(status)
    }
}

impl Outcome {
    /// Good = succeeded within the deadline, counted from the intended start.
    pub(crate) fn is_good(&self, deadline: Duration) -> bool {
        self.answer == Answer::Success && self.latency <= deadline
    }
}
