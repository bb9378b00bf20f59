//! What the laws are about: every layer, and the full stack of a client and of a server.

use std::fmt;
use std::time::Duration;

use futures::FutureExt;
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Hard, Readiness};

/// A subject around a callee. All the rest of the laws knows no more of a layer than this.
pub(crate) type Wrapped = BoxCloneService<u32, u32, BoxError>;
pub(crate) type Call = <Wrapped as Service<u32>>::Future;

/// Something that a layer counts, read through its public handle.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gauge {
    name: &'static str,
    value: f64,
    /// A balance may be higher than it was, a count of what is held may not.
    may_rise: bool,
}

impl Gauge {
    /// A count of what is held, which must come back to what it was.
    pub(crate) fn held(name: &'static str, value: usize) -> Self {
        Self { name, value: value as f64, may_rise: false }
    }

    /// Something that calls pay from, which must not be less than it was.
    pub(crate) fn balance(name: &'static str, value: f64) -> Self {
        Self { name, value, may_rise: true }
    }
}

/// All gauges of a subject at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gauges(Vec<Gauge>);

impl Gauges {
    /// Whether everything that was there `before` is there again.
    pub(crate) fn are_back_at(&self, before: &Self) -> bool {
        let back =
            |(now, before): (&Gauge, &Gauge)| now.value == before.value || (now.may_rise && now.value > before.value);
        self.0.len() == before.0.len() && self.0.iter().zip(&before.0).all(back)
    }
}

impl fmt::Display for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|gauge| write!(f, "{} {}, ", gauge.name, gauge.value))
    }
}

/// One value of a layer, which can be put around any number of callees.
pub(crate) struct Value {
    wrap: Box<dyn Fn(Hard) -> Wrapped>,
    gauges: Box<dyn Fn() -> Vec<Gauge>>,
}

impl Value {
    pub(crate) fn new<L>(layer: L, gauges: impl Fn() -> Vec<Gauge> + 'static) -> Self
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
        Gauges((self.gauges)())
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
    /// As its users get it.
    pub(crate) default: fn() -> Value,
    /// With as little room as can be configured: one call at a time, one that waits, one failure that opens it.
    pub(crate) tight: fn() -> Value,
    /// How long a call can last at most, by default and where no deadline is set.
    pub(crate) longest: Duration,
    /// Whether it ever refuses a call, other than for want of time.
    pub(crate) refuses: bool,
}

pub(crate) fn deadline() -> Subject {
    Subject {
        default: || Value::new(DeadlineLayer::new(Duration::from_secs(2)).unwrap(), Vec::new),
        tight: || Value::new(DeadlineLayer::new(Duration::from_millis(50)).unwrap(), Vec::new),
        longest: Duration::from_secs(2),
        refuses: false,
    }
}
