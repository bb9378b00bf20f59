//! tower's built-in layers, stacked with care on both sides.
//!
//! | client, outermost first | server, outermost first |
//! |---|---|
//! | `Timeout` by the call's deadline | answers errors with 503 or 504 |
//! | `Retry` with a `TpsBudget` of 20 % and exponential backoff | `LoadShed` |
//! | `ConcurrencyLimit` behind `LoadShed`: no queue that nothing bounds | `ConcurrencyLimit`: twice the slots, so that a slot finds work |
//! | `Timeout` of an attempt | `Timeout` by the deadline that the service's callers have |
//!
//! Several endpoints: `Balance` by the fewer pending requests of two, in a `Buffer`. A standby is an endpoint like the others: the
//! balancer has no tiers.

use std::sync::Arc;
use std::time::Duration;

use ::tower::balance::p2c::Balance;
use ::tower::buffer::Buffer;
use ::tower::discover::ServiceList;
use ::tower::limit::ConcurrencyLimitLayer;
use ::tower::load::{CompleteOnResponse, PendingRequests};
use ::tower::load_shed::{LoadShedLayer, error::Overloaded};
use ::tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use ::tower::retry::budget::{Budget, TpsBudget};
use ::tower::retry::{Policy, RetryLayer};
use ::tower::timeout::{TimeoutLayer, error::Elapsed};
use ::tower::util::rng::Rng;
use ::tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::{Brief, Client, Contestant, Instance, ServerStack, boxed};
use crate::body::{Answer, Body};
use crate::server::{Handler, answer};
use crate::wire::Wire;

pub(super) struct Tower;

impl Contestant for Tower {
    fn name(&self) -> &'static str {
        "tower"
    }

    fn client(&self, brief: &Brief, wire: Wire) -> Client {
        stack(brief, 1, wire)
    }

    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client {
        stack(brief, instances.len(), balance(instances))
    }

    fn server(&self, brief: &Brief, handler: Handler) -> ServerStack {
        let service = ServiceBuilder::new()
            .layer(LoadShedLayer::new())
            .layer(ConcurrencyLimitLayer::new(2 * brief.slots as usize))
            .layer(TimeoutLayer::new(Duration::from_millis(brief.deadline)))
            .service(handler);
        boxed(ServiceExt::<Request<Full<Bytes>>>::map_result(service, |result: Result<Response<Answer>, BoxError>| {
            let response = result.unwrap_or_else(|error| match error {
                error if error.is::<Overloaded>() => answer(StatusCode::SERVICE_UNAVAILABLE),
                error if error.is::<Elapsed>() => answer(StatusCode::GATEWAY_TIMEOUT),
                _ => answer(StatusCode::INTERNAL_SERVER_ERROR),
            });
            Ok::<_, BoxError>(response)
        }))
    }
}

/// The endpoint with the fewer pending requests of two. The balancer cannot be cloned, so it is in a buffer.
pub(super) fn balance(instances: Vec<Instance>) -> Client {
    let pending = |instance: Instance| PendingRequests::new(instance.wire, CompleteOnResponse::default());
    let endpoints = ServiceList::new::<Request<Full<Bytes>>>(instances.into_iter().map(pending).collect::<Vec<_>>());
    boxed(Buffer::new(Balance::from_rng(endpoints, Seeded), 1024))
}

fn stack<S>(brief: &Brief, endpoints: usize, wire: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let attempt = brief.attempt_timeout.unwrap_or(brief.deadline);
    let longest = Duration::from_millis(20 * brief.usual_time);
    let backoff = ExponentialBackoffMaker::new(Duration::from_millis(brief.usual_time), longest, 0.99, Seeded);
    let policy = Attempts {
        left: brief.attempts.unwrap_or(3) - 1,
        budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 1, 0.2)),
        backoff: backoff.expect("a minimum below the maximum").make_backoff(),
    };
    let limit = 8 * endpoints * brief.slots as usize / brief.clients as usize;
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(brief.deadline)))
        .layer(RetryLayer::new(policy))
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(limit.max(1)))
        .layer(TimeoutLayer::new(Duration::from_millis(attempt)))
        .service(wire);
    boxed(client)
}

/// Retries what failed, while the budget allows it.
#[derive(Clone)]
struct Attempts {
    left: u32,
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff<Seeded>,
}

impl Policy<Request<Full<Bytes>>, Response<Body>, BoxError> for Attempts {
    type Future = Delay;

    fn retry(
        &mut self,
        request: &mut Request<Full<Bytes>>,
        result: &mut Result<Response<Body>, BoxError>,
    ) -> Option<Delay> {
        if result.as_ref().is_ok_and(|response| !response.status().is_server_error()) {
            self.budget.deposit();
            return None;
        }
        // An error may have reached the server: only what may be repeated is sent again.
        let may_repeat = result.is_ok() || request.method().is_idempotent();
        if !may_repeat || self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &Request<Full<Bytes>>) -> Option<Request<Full<Bytes>>> {
        Some(request.clone())
    }
}

type Delay = <ExponentialBackoff<Seeded> as Backoff>::Future;

/// tower's choices and jitter, seeded with the run.
#[derive(Clone, Debug)]
struct Seeded;

impl Rng for Seeded {
    fn next_u64(&mut self) -> u64 {
        fastrand::u64(..)
    }
}
