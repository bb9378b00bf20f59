use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll, ready};
use std::time::Duration;

use ::http::Request;
use http_body::Body;
use pin_project::pin_project;
use tower::{BoxError, Layer, Service};

use super::UploadBody;
use crate::ground::error::InvalidConfig;
use crate::ground::layer_id::LayerKind;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::validation::Validation;
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
use crate::layers::permits::upload::Upload;
use crate::telemetry::Instruments;
use std::sync::Arc;

/// The share of a call's time for which a client may keep it waiting.
pub(crate) const DEFAULT_IDLE_SHARE: f64 = 0.5;

/// Bounds what a client can take that does not send what it has announced.
///
/// Part of [`stack::server`](crate::stack::server). In a stack of one's own it belongs right outside of a
/// [`load_shed`](crate::load_shed) layer, and inside of the deadline.
///
/// # How it behaves
/// - **No place:** while the handler waits for more of the request's body, the call gives its place in the shedder back. So clients that
///   send slowly, or not at all, keep no other client from being served. What comes before the end is handed on at once. The
///   time counts as none of the service's.
/// - **The end of the body** is handed on once the call has a place again. If none is free, it waits for one before all
///   newcomers, for at most 50 ms; then it takes one over the limit. A call that has begun may hold what the others wait for,
///   such as a connection of a pool, so it must not wait for them.
/// - **A bound:** no more than 16 calls for each place of the shedder give theirs back at a time; those beyond keep it while they wait.
/// - **Work with a [permit](crate::load_shed::current_permit)** of its own keeps the call's place, also while the client is waited for: it
///   may need the rest of the body to end. If it asks while the place is given back, one is taken at once, over the limit if need be.
/// - **An idle limit:** a client that sends nothing for a share of the call's time (half of it, if nothing else is said; of a minute where
///   there is no deadline) gets 408, or `CANCELLED`. Each piece that arrives starts the limit anew; time that the handler
///   takes is not in it. The deadline bounds the whole.
/// - **Streams:** once the head of the answer is there, the rest of the request has no limit of its own.
/// - **Errors:** the handler's body fails, and the call with it, whatever the handler makes of that:
///   [`Reason::RequestIdle`](crate::error::Reason::RequestIdle), or [`Reason::NotInTime`](crate::error::Reason::NotInTime) if the deadline passes
///   while the end of the body waits for a place. A body that has failed so fails again whenever it is polled.
/// - **Cancellation:** dropping the call gives all of it back at once. A handler that drops the body before its end, or whose client
///   hangs up, goes on with a place, over the limit if need be.
/// - **Types:** the inner service gets its requests with an [`UploadBody`]. axum and tonic take any body; for a service that is fixed
///   to one there is [`MapRequestBodyLayer`](crate::http::MapRequestBodyLayer).
/// - **Cost:** nothing for a request without a body; two allocations for one that has one, and a timer where it waits.
///
/// ```
/// use seawall::http::UploadLayer;
/// use seawall::http::respond::RespondLayer;
/// use seawall::deadline::DeadlineLayer;
/// use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
/// use tower::ServiceBuilder;
/// # use std::time::Duration;
///
/// # fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layers = ServiceBuilder::new()
///     .layer(RespondLayer::new())
///     .layer(DeadlineLayer::http(Duration::from_secs(10))?)
///     .layer(UploadLayer::new())
///     .layer(LoadShedLayer::http(LoadShedConfig::default())?);
/// let app: axum::Router = axum::Router::new().layer(layers);
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct UploadLayer {
    /// The bits of the share.
    idle_share: Arc<AtomicU64>,
    instruments: Instruments,
}

impl UploadLayer {
    /// With an idle limit of half of the time that a call has.
    pub fn new() -> Self {
        Self::told_by(DEFAULT_IDLE_SHARE, Instruments::nameless(LayerKind::Deadline))
    }

    /// Lets a client send nothing for that share of the time that a call has, within `(0, 1]`; 1 leaves it to the deadline.
    ///
    /// # Errors
    /// If the share is no such number.
    pub fn with_idle_share(self, share: f64) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| check_idle_share("idle_share", share, validation))?;
        Ok(Self::told_by(share, self.instruments))
    }

    /// Refusals are those of the layer that has these instruments.
    pub(crate) fn told_by(idle_share: f64, instruments: Instruments) -> Self {
        Self { idle_share: Arc::new(AtomicU64::new(idle_share.to_bits())), instruments }
    }

    pub(crate) fn set_idle_share(&self, share: f64) {
        self.idle_share.store(share.to_bits(), Ordering::Relaxed);
    }
}

impl Default for UploadLayer {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn check_idle_share(field: &str, share: f64, validation: &mut Validation) {
    validation.check(share > 0.0 && share <= 1.0, field, format_args!("{share} is not within (0, 1]"));
}

impl<S> Layer<S> for UploadLayer {
    type Service = UploadService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        UploadService { inner, layer: self.clone() }
    }
}

/// A service that bounds what a client can take by not sending. See [`UploadLayer`].
#[derive(Clone, Debug)]
pub struct UploadService<S> {
    inner: S,
    layer: UploadLayer,
}

impl<S> UploadService<S> {
    fn idle(&self) -> Duration {
        let share = f64::from_bits(self.layer.idle_share.load(Ordering::Relaxed));
        let time = scope::current().deadline.map_or(DEFAULT_MAX_HOLD, |deadline| deadline.since(time::now()));
        time.mul_f64(share)
    }
}

impl<S, B> Service<Request<B>> for UploadService<S>
where
    S: Service<Request<UploadBody<B>>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = UploadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let (body, upload) = UploadBody::new(body, || (Upload::new(), self.layer.instruments.clone(), self.idle()));
        let request = Request::from_parts(parts, body);
        let call = match &upload {
            Some(upload) => Upload::offer(Arc::clone(upload), || self.inner.call(request)),
            None => self.inner.call(request),
        };
        UploadFuture { call, upload }
    }
}

/// A call whose request may wait for its client.
#[pin_project]
#[derive(Debug)]
pub struct UploadFuture<F> {
    #[pin]
    call: F,
    upload: Option<Arc<Upload>>,
}

impl<F, R, E> Future for UploadFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.call.poll(cx));
        if let Some(upload) = this.upload.take() {
            upload.end(time::now());
            if let Some(rejected) = upload.cut() {
                // What the handler makes of a body that we have cut is no answer to the client.
                return Poll::Ready(Err(rejected.into()));
            }
        }
        Poll::Ready(result.map_err(Into::into))
    }
}
