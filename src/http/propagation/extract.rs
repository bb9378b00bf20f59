//! The server's side: a request's headers become the context of all work for the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use ::http::{HeaderMap, Request, Response};
use pin_project::pin_project;
use tower::{Layer, Service};

use super::config::{DEFAULT_MAX_PRIORITY, PropagationConfig};
use super::headers::HttpPropagator;
use super::load_report::{RequestInFlight, RequestsInFlight};
use super::propagator::Propagator;
use crate::ground::context::Priority;
use crate::ground::error::InvalidConfig;
use crate::ground::scope::{self, Context, Exhausted};
use crate::ground::settings::{Cached, Settings};
use crate::ground::time::{self, Instant};
use crate::ground::validation::Validation;
use crate::layers::call::accessors::accessors;

/// Reads deadline, attempt and priority of each request into its context, and writes "do not retry" and the load into its response.
/// See the [module](super).
#[derive(Clone, Debug)]
pub struct ExtractLayer<P = HttpPropagator> {
    propagator: P,
    settings: Arc<Settings<ExtractSettings>>,
    requests: Arc<RequestsInFlight>,
}

/// What a reload swaps whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtractSettings {
    /// The highest values that are accepted.
    pub(crate) max_timeout: Duration,
    pub(crate) max_priority: Priority,
    pub(crate) report_load: bool,
}

impl From<&PropagationConfig> for ExtractSettings {
    fn from(config: &PropagationConfig) -> Self {
        let PropagationConfig { max_timeout, max_priority, report_load, .. } = *config;
        Self { max_timeout, max_priority, report_load }
    }
}

impl ExtractLayer<HttpPropagator> {
    /// For HTTP.
    ///
    /// # Errors
    /// If a setting is out of its range, or two headers have one name; all faults are listed, with the path of the field.
    pub fn http(config: PropagationConfig) -> Result<Self, InvalidConfig> {
        let settings = ExtractSettings::from(&config);
        Ok(Self::with_settings(config.propagator()?, settings))
    }
}

impl<P: Propagator> ExtractLayer<P> {
    /// For any protocol over HTTP. A request that asks for more than `max_timeout` gets no deadline from its header.
    ///
    /// # Errors
    /// If `max_timeout` is zero or more than ten years.
    pub fn new(propagator: P, max_timeout: Duration) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| validation.positive("max_timeout", max_timeout))?;
        let max_priority = DEFAULT_MAX_PRIORITY;
        Ok(Self::with_settings(propagator, ExtractSettings { max_timeout, max_priority, report_load: false }))
    }

    /// The context of a request, and the clock reading, if one was needed.
    fn read(&self, settings: ExtractSettings, headers: &HeaderMap) -> (Context, Option<Instant>) {
        let mut inherited = scope::current();
        let call = self.propagator.extract(headers);
        if let Some(priority) = call.priority {
            inherited = inherited.with_priority(priority.min(settings.max_priority));
        }
        let attempt = inherited.attempt().max(call.attempt);
        match call.time_left.filter(|time| *time <= settings.max_timeout) {
            Some(time) => {
                let now = time::call_start();
                let deadline = (now + time).min(inherited.deadline.unwrap_or(Instant::MAX));
                (inherited.with_deadline(Some(deadline)).with_end(None, false).with_attempt(attempt), Some(now))
            }
            None => (inherited.with_attempt(attempt), None),
        }
    }
}

impl<P> ExtractLayer<P> {
    pub(crate) fn with_settings(propagator: P, settings: ExtractSettings) -> Self {
        Self { propagator, settings: Arc::new(Settings::new(settings)), requests: Arc::default() }
    }

    /// Accepts no priority above this one. Default: [`High`](Priority::High).
    #[must_use]
    pub fn with_max_priority(self, max_priority: Priority) -> Self {
        let settings = ExtractSettings { max_priority, ..self.settings.get() };
        Self::with_settings(self.propagator, settings)
    }

    /// Whether responses report how many requests the services of this layer have in flight. Default: no.
    #[must_use]
    pub fn with_load_report(self, report_load: bool) -> Self {
        let settings = ExtractSettings { report_load, ..self.settings.get() };
        Self::with_settings(self.propagator, settings)
    }

    /// Replaces the settings from now on. The values must be valid.
    pub(crate) fn set(&self, settings: ExtractSettings) {
        self.settings.store(settings);
    }
}

impl<S, P: Clone> Layer<S> for ExtractLayer<P> {
    type Service = Extract<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Extract { inner, layer: self.clone(), settings: self.settings.cached(|settings| *settings) }
    }
}

/// A service that keeps the deadlines of its requests. See the [module](super).
#[derive(Clone, Debug)]
pub struct Extract<S, P = HttpPropagator> {
    inner: S,
    layer: ExtractLayer<P>,
    settings: Cached<ExtractSettings>,
}

accessors!([S, P] Extract<S, P>, forwards_readiness);

impl<S, P, B, R> Service<Request<B>> for Extract<S, P>
where
    S: Service<Request<B>, Response = Response<R>>,
    P: Propagator,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Extracted<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = *self.layer.settings.refresh(&mut self.settings, |settings| *settings);
        let (context, now) = self.layer.read(settings, request.headers());
        let counted = settings.report_load.then(|| self.layer.requests.begin());
        let mut exhausted = Exhausted::default();
        let future = scope::noting_exhausted(&mut exhausted, || {
            let _entered = scope::enter(enforced_here(context));
            match now {
                Some(now) => time::with_start(now, || self.inner.call(request)),
                None => self.inner.call(request),
            }
        });
        Extracted { future, context, exhausted, counted, propagator: self.layer.propagator.clone() }
    }
}

/// Marks whether an outer layer enforces the deadline. A deadline that was just read here is not enforced yet: the
/// inner layers enforce it.
fn enforced_here(context: Context) -> Context {
    let enforced = context.deadline.is_some_and(|deadline| scope::current().ends_by(deadline));
    context.with_enforced(enforced)
}

/// A call in the context of its request.
#[pin_project]
#[derive(Debug)]
pub struct Extracted<F, P> {
    #[pin]
    future: F,
    context: Context,
    /// Whether calls that were made inside have failed with their retries exhausted.
    exhausted: Exhausted,
    /// `None` if the load is not reported.
    counted: Option<RequestInFlight>,
    propagator: P,
}

impl<F, P, R, E> Future for Extracted<F, P>
where
    F: Future<Output = Result<Response<R>, E>>,
    P: Propagator,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (future, context) = (this.future, enforced_here(*this.context));
        let mut answer = ready!(scope::noting_exhausted(this.exhausted, || {
            let _entered = scope::enter(context);
            future.poll(cx)
        }));
        let counted = this.counted.take();
        if let Ok(response) = &mut answer {
            if this.exhausted.is_exhausted() {
                this.propagator.forbid_retry(response);
            }
            if let Some(request) = counted {
                request.report(response);
            }
        }
        Poll::Ready(answer)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicBool, Ordering};

    use ::http::HeaderValue;
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// Checks that no headers move the deadline past the inherited one or past `max_timeout`.
    pub(crate) fn nothing_lengthens<P: Propagator>(
        propagator: P,
        headers: &[(&'static str, Vec<u8>)],
        inherited: Option<Duration>,
        max_timeout: Duration,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                map.append(*name, value);
            }
        }
        let bound = inherited.map(|time| time::now() + time);
        let _entered = scope::enter(scope::current().with_deadline(bound));
        let layer = ExtractLayer::new(propagator, max_timeout).expect("a valid limit");
        let (inside, _) = layer.read(layer.settings.get(), &map);
        assert!(inside.priority() <= DEFAULT_MAX_PRIORITY);
        let latest = time::now() + max_timeout;
        assert!(inside.deadline.is_none_or(|deadline| deadline <= bound.unwrap_or(latest)));
        assert!(bound.is_none() || inside.deadline.is_some());
    }

    /// A request that asks for more than the first pair of limits, and for no more than the second, gets all that it asks for or
    /// nothing.
    #[test]
    fn concurrent_reload_never_mixes_the_limits() {
        let layer = ExtractLayer::http(PropagationConfig::default()).expect("valid by default");
        let seconds = Duration::from_secs;
        let pairs = [(seconds(1), Priority::Low), (seconds(3), Priority::Critical)];
        let reload =
            |(max_timeout, max_priority)| layer.set(ExtractSettings { max_timeout, max_priority, report_load: false });
        reload(pairs[0]);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                (0..20_000).for_each(|n| reload(pairs[n % 2]));
                is_over.store(true, Ordering::Relaxed);
            });
            let inside = tower::service_fn(|_: Request<()>| {
                let context = scope::current();
                let mixture = context.deadline.is_some() != (context.priority() == Priority::Critical);
                std::future::ready(Ok::<_, Infallible>(Response::new(mixture)))
            });
            let mut service = layer.layer(inside);
            while !is_over.load(Ordering::Relaxed) {
                let request =
                    Request::builder().header("x-request-timeout-ms", "2000").header("x-priority", "critical");
                let answer = service.call(request.body(()).expect("valid headers"));
                let mixture = answer.now_or_never().expect("ready at once").expect("infallible").into_body();
                assert!(!mixture, "the limits of two reloads");
            }
        });
    }

    proptest! {
        #[test]
        fn no_headers_lengthen_a_deadline(
            bytes: Vec<u8>,
            digits in "[0-9]{1,22}",
            inherited in prop::option::of(0_u64..1_000_000),
            max_timeout in 1_u64..1_000_000,
        ) {
            let headers = [
                ("x-request-timeout-ms", bytes),
                ("x-request-timeout-ms", digits.clone().into_bytes()),
                ("x-envoy-attempt-count", digits.into_bytes()),
            ];
            let inherited = inherited.map(Duration::from_millis);
            nothing_lengthens(HttpPropagator::default(), &headers, inherited, Duration::from_millis(max_timeout));
        }
    }
}
