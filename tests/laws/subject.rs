//! What the laws know of a layer: how to put it around a callee, what it counts, and how to bring trouble to it.

use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use seawall::error::rejection;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Hard, Readiness};

/// A subject around a callee. All the rest of the laws knows no more of a layer than this.
pub(crate) type Wrapped = BoxCloneService<u32, u32, BoxError>;
pub(crate) type Call = <Wrapped as Service<u32>>::Future;

/// An answer that the classifier of a tight subject panics at.
pub(crate) const POISON: u32 = u32::MAX;

/// What a layer holds at one moment, by name, read through its public handles.
pub(crate) type Gauges = Vec<(&'static str, usize)>;

/// One value of a layer, which can be put around any number of callees.
pub(crate) struct Value {
    wrap: Box<dyn Fn(Hard) -> Wrapped>,
    gauges: Box<dyn Fn() -> Gauges>,
}

impl Value {
    pub(crate) fn new<L>(layer: L, gauges: impl Fn() -> Gauges + 'static) -> Self
    where
        L: Layer<Hard> + 'static,
        L::Service: Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
    {
        Self { wrap: Box::new(move |callee| layer.layer(callee).boxed_clone()), gauges: Box::new(gauges) }
    }

    /// `Layer::layer` of this value.
    pub(crate) fn around(&self, callee: Hard) -> Wrapped {
        (self.wrap)(callee)
    }

    pub(crate) fn gauges(&self) -> Gauges {
        (self.gauges)()
    }

    /// A call of a callee that never answers, as far as it gets at once.
    pub(crate) fn occupy(&self) -> (Driven<Call>, Option<Result<u32, BoxError>>) {
        let mut service = self.around(Hard::new(Readiness::AtOnce, Answer::Never));
        let mut call = Driven::new(service.call(0));
        let answer = match call.poll() {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        };
        (call, answer)
    }

    /// Brings trouble until calls are refused: callees that fail, then callees that never answer. The calls that still
    /// go on are returned, for as long as the trouble shall last; `None` if nothing is ever refused.
    pub(crate) async fn exhaust(&self) -> Option<Vec<Driven<Call>>> {
        for _ in 0..3 {
            let mut service = self.around(Hard::new(Readiness::AtOnce, Answer::Fails));
            let _ = Driven::new(service.call(0)).finish().await;
        }
        let mut kept = Vec::new();
        for _ in 0..10 {
            match self.occupy() {
                (call, None) => kept.push(call),
                (_, Some(Err(error))) if rejection(&error).is_some() => return Some(kept),
                (_, Some(answer)) => panic!("a callee that never answers answered {answer:?}"),
            }
        }
        None
    }

    /// Whether a healthy call gets its answer, now.
    pub(crate) fn serves(&self) -> bool {
        let mut service = self.around(Hard::new(Readiness::AtOnce, Answer::AtOnce));
        let answer = Driven::new(service.call(7)).poll();
        matches!(answer, std::task::Poll::Ready(Ok(7)))
    }
}

/// Readies the service. That never waits: what there is to wait for is waited for in the call, where it has a bound.
pub(crate) fn ready(service: &mut Wrapped) -> Result<&mut Wrapped, BoxError> {
    service.ready().now_or_never().expect("poll_ready waits")
}

/// A layer, or a stack of layers, under the laws.
pub(crate) struct Subject {
    /// See [`default`](Self::default).
    pub(crate) as_configured_by_default: fn() -> Value,
    /// See [`tight`](Self::tight).
    pub(crate) as_tight_as_can_be: fn() -> Value,
    /// What it takes to bring a tight value into the state that is of interest.
    pub(crate) prepare: Option<fn(&Value) -> LocalBoxFuture<'_, ()>>,
    /// How long a call can last at most, by default and where no deadline is set.
    pub(crate) longest: Duration,
    /// Whether it ever refuses a call, other than for want of time.
    pub(crate) refuses: bool,
    /// Whether there is room again at once when a call is dropped. What a rate limit let pass has passed.
    pub(crate) has_room_again: bool,
    /// Whether it asks a classifier what a result means.
    pub(crate) classifies: bool,
}

impl Subject {
    /// As its users get it.
    pub(crate) fn default(&self) -> Value {
        (self.as_configured_by_default)()
    }

    /// With as little room as can be configured: one call at a time, one that waits, one failure that opens it.
    pub(crate) async fn tight(&self) -> Value {
        let value = (self.as_tight_as_can_be)();
        if let Some(prepare) = self.prepare {
            prepare(&value).await;
        }
        value
    }
}
