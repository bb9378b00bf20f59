//! What the laws know of a layer: how to wrap a service, what it counts, and how to make it refuse calls.

use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness};

/// A subject around a service. The laws know nothing else of a layer.
pub(crate) type Wrapped = BoxCloneService<u32, u32, BoxError>;
pub(crate) type Call = <Wrapped as Service<u32>>::Future;

/// The answer at which the classifier of a tight subject panics.
pub(crate) const POISON: u32 = u32::MAX;

/// What a layer holds at a moment, by name, read through its public handles.
pub(crate) type Gauges = Vec<(&'static str, usize)>;

/// One value of a layer, which can wrap any number of services.
pub(crate) struct Value {
    wrap: Box<dyn Fn(Difficult) -> Wrapped>,
    gauges: Box<dyn Fn() -> Gauges>,
}

impl Value {
    pub(crate) fn new<L>(layer: L, gauges: impl Fn() -> Gauges + 'static) -> Self
    where
        L: Layer<Difficult> + 'static,
        L::Service: Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
    {
        Self { wrap: Box::new(move |callee| layer.layer(callee).boxed_clone()), gauges: Box::new(gauges) }
    }

    /// `Layer::layer` of this value.
    pub(crate) fn around(&self, callee: Difficult) -> Wrapped {
        (self.wrap)(callee)
    }

    pub(crate) fn gauges(&self) -> Gauges {
        (self.gauges)()
    }

    /// A call of a service that never answers, polled once.
    pub(crate) fn occupy(&self) -> (Driven<Call>, Option<Result<u32, BoxError>>) {
        let mut service = self.around(Difficult::new(Readiness::AtOnce, Answer::Never));
        let mut call = Driven::new(service.call(0));
        let answer = match call.poll() {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        };
        (call, answer)
    }

    /// Makes calls that fail, and then calls that never answer, until a call is refused. Returns the calls in flight;
    /// dropping them ends the state. Returns `None` if nothing is ever refused.
    pub(crate) async fn exhaust(&self) -> Option<Vec<Driven<Call>>> {
        for _ in 0..3 {
            let mut service = self.around(Difficult::new(Readiness::AtOnce, Answer::Fails));
            let _ = Driven::new(service.call(0)).finish().await;
        }
        let mut kept = Vec::new();
        for _ in 0..10 {
            match self.occupy() {
                (call, None) => kept.push(call),
                (_, Some(Err(error))) if rejection(&error).is_some() => return Some(kept),
                (_, Some(answer)) => panic!("a service that never answers answered {answer:?}"),
            }
        }
        None
    }

    /// Whether a healthy call gets its answer in one poll.
    pub(crate) fn serves(&self) -> bool {
        let mut service = self.around(Difficult::new(Readiness::AtOnce, Answer::AtOnce));
        let answer = Driven::new(service.call(7)).poll();
        matches!(answer, std::task::Poll::Ready(Ok(7)))
    }
}

/// Readies the service. That never waits: waits happen in the call, where they have a bound.
pub(crate) fn ready(service: &mut Wrapped) -> Result<&mut Wrapped, BoxError> {
    service.ready().now_or_never().expect("poll_ready waits")
}

/// A layer, or a stack of layers, under the laws.
pub(crate) struct Subject {
    /// See [`default`](Self::default).
    pub(crate) as_configured_by_default: fn() -> Value,
    /// See [`tight`](Self::tight).
    pub(crate) as_tight_as_can_be: fn() -> Value,
    /// Brings a tight value into the state to test.
    pub(crate) prepare: Option<fn(&Value) -> LocalBoxFuture<'_, ()>>,
    /// How long a call can last at most, by default and without a deadline. `None` if the layer adds no bound of its own.
    pub(crate) longest: Option<Duration>,
    /// Whether it ever refuses a call, other than for lack of time.
    pub(crate) refuses: bool,
    /// Whether dropping a call returns its permit at once. A rate limit does not return used permits.
    pub(crate) returns_permits: bool,
    /// How many attempts of a call may be in flight at once.
    pub(crate) at_once: usize,
    /// How many attempts a call makes that succeeds. With several, the last ones may be cancelled before they are sent.
    pub(crate) sends: usize,
    /// Whether `poll_ready` polls the inner service. A balancer polls an endpoint only when a call has chosen it, and a quorum polls
    /// its endpoints in the call.
    pub(crate) readies_ahead: bool,
    /// Whether it uses a classifier.
    pub(crate) classifies: bool,
}

impl Subject {
    /// A value around a service, with a bound for its calls, and that bound. A layer without one of its own is inside a deadline.
    pub(crate) fn bounded(&self, value: &Value, callee: Difficult) -> (Wrapped, Duration) {
        const OUTER: Duration = Duration::from_secs(60);
        match self.longest {
            Some(longest) => (value.around(callee), longest),
            None => (DeadlineLayer::new(OUTER).unwrap().layer(value.around(callee)).boxed_clone(), OUTER),
        }
    }

    /// Whether `calls` that succeeded may have made this many calls of the inner service.
    pub(crate) fn may_send(&self, calls: usize, sent: usize) -> bool {
        (calls..=calls * self.sends).contains(&sent)
    }

    /// The default configuration.
    pub(crate) fn default(&self) -> Value {
        (self.as_configured_by_default)()
    }

    /// The smallest configuration: one call at a time, one queued, and one failure opens it.
    pub(crate) async fn tight(&self) -> Value {
        let value = (self.as_tight_as_can_be)();
        if let Some(prepare) = self.prepare {
            prepare(&value).await;
        }
        value
    }
}
