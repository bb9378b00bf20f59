//! tower-resilience 0.13, stacked by its own composition guide, with tower's balancer for several endpoints, as it has none.
//!
//! | client, outermost first | server, outermost first |
//! |---|---|
//! | time limiter by the call's deadline | answers errors with 503 or 504 |
//! | retry with an AIMD budget; what must not be repeated has one attempt | bulkhead of twice the slots, which rejects when full |
//! | bulkhead, which rejects when full | time limiter by the deadline that the service's callers have |
//! | time limiter of an attempt | |
//!
//! Its circuit breaker, its rate limiter and its token bucket read the clock of the machine, which virtual time does not move. They are left
//! out, so the row is marked with a star: where a breaker helps, the real library does better.

use std::time::Duration;

use ::tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use ::tower_resilience::bulkhead::{BulkheadLayer, BulkheadServiceError};
use ::tower_resilience::retry::{RetryBudgetBuilder, RetryLayer};
use ::tower_resilience::timelimiter::{TimeLimiterError, TimeLimiterLayer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::tower::balance;
use super::{Brief, Client, Contestant, Instance, ServerStack, boxed};
use crate::body::{Answer, Body};
use crate::clock::Ms;
use crate::server::{Handler, answer};
use crate::wire::Wire;

pub(super) struct TowerResilience;

impl Contestant for TowerResilience {
    fn name(&self) -> &'static str {
        "tower_resilience"
    }

    fn note(&self) -> Option<&'static str> {
        Some("without its circuit breaker, which reads the clock of the machine: virtual time does not move it")
    }

    fn client(&self, brief: &Brief, wire: Wire) -> Client {
        stack(brief, 1, wire)
    }

    fn balanced(&self, brief: &Brief, instances: Vec<Instance>) -> Client {
        stack(brief, instances.len(), balance(instances))
    }

    fn server(&self, brief: &Brief, handler: Handler) -> ServerStack {
        type Limited = BulkheadServiceError<TimeLimiterError<BoxError>>;
        let bulkhead = BulkheadLayer::builder().max_concurrent_calls(2 * brief.slots as usize).reject_when_full();
        let service = ServiceBuilder::new()
            .layer(bulkhead.build().expect("a valid limit"))
            .layer(limiter(brief.deadline))
            .service(handler);
        boxed(ServiceExt::<Request<Full<Bytes>>>::map_result(service, |result: Result<Response<Answer>, Limited>| {
            Ok::<_, BoxError>(result.unwrap_or_else(|error| {
                answer(match error {
                    BulkheadServiceError::Inner(TimeLimiterError::Inner(_)) => StatusCode::INTERNAL_SERVER_ERROR,
                    BulkheadServiceError::Inner(_) => StatusCode::GATEWAY_TIMEOUT,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                })
            }))
        }))
    }
}

fn limiter(time: Ms) -> TimeLimiterLayer<::tower_resilience::timelimiter::FixedTimeout> {
    TimeLimiterLayer::builder().timeout_duration(Duration::from_millis(time)).build()
}

fn stack<S>(brief: &Brief, endpoints: usize, wire: S) -> Client
where
    S: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let attempts = brief.attempts.unwrap_or(3) as usize;
    let retry = RetryLayer::<Request<Full<Bytes>>, Response<Body>, BoxError>::builder()
        .max_attempts_fn(move |request| if request.method().is_idempotent() { attempts } else { 1 })
        .exponential_backoff(Duration::from_millis(brief.usual_time))
        .retry_on_response(|response| response.status().is_server_error())
        .budget(RetryBudgetBuilder::new().aimd().build().expect("a valid budget"))
        .build();
    let limit = (8 * endpoints * brief.slots as usize / brief.clients as usize).max(1);
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(limit).reject_when_full();
    let attempt = ServiceBuilder::new()
        .map_err(|error: BulkheadServiceError<TimeLimiterError<BoxError>>| BoxError::from(error.to_string()))
        .layer(bulkhead.build().expect("a valid limit"))
        .layer(limiter(brief.attempt_timeout.unwrap_or(brief.deadline)))
        .service(wire);
    boxed(
        ServiceBuilder::new()
            .map_err(|error: TimeLimiterError<BoxError>| BoxError::from(error.to_string()))
            .layer(limiter(brief.deadline))
            .layer(retry)
            .service(attempt),
    )
}
