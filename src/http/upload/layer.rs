use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
use crate::ground::settings::{Cached, Settings};
use crate::ground::time;
use crate::ground::validation::Validation;
use crate::layers::call::accessors::accessors;
use crate::layers::call::bound::DEFAULT_MAX_HOLD;
use crate::layers::permits::upload::Upload;
use crate::telemetry::Instruments;

/// The share of a call's time for which a client may keep the call waiting.
pub(crate) const DEFAULT_IDLE_SHARE: f64 = 0.5;

/// Bounds the resources that a client can hold when it does not send the body that it has announced.
///
/// Part of [`stack::server`](crate::stack::server). In your own stack, put it right outside of a
/// [`load_shed`](crate::load_shed) layer, and inside of the deadline.
///
/// # How it behaves
/// - **No permit:** while the handler waits for more of the request's body, the call gives back its permit of the
///   shedder. So clients that send slowly, or not at all, do not keep other clients from being served. Everything
///   before the end is handed on at once. The wait is not charged to the service.
/// - **The end of the body** is handed on once the call has a permit again. If none is free, the call waits ahead of
///   all new calls, for at most 50 ms, and then takes one over the limit. It must not wait longer: a call that has
///   begun may hold what the others wait for, such as a pooled connection.
/// - **A bound:** at most 16 calls for each permit of the shedder give theirs back at a time. Further calls keep theirs
///   while they wait.
/// - **Work with its own [permit](crate::load_shed::current_permit)** keeps the call's permit, even while the handler
///   waits for the client, because it may need the rest of the body to finish. If it asks while the permit is given
///   back, the call takes one at once, over the limit if necessary.
/// - **An idle limit:** a client that sends nothing for a share of the call's time gets 408, or `CANCELLED`. The
///   default share is half; without a deadline it is a share of one minute. Each piece that arrives restarts the limit.
///   Time that the handler takes does not count. The deadline bounds the whole upload.
/// - **Streams:** once the head of the response is there, the rest of the request has no limit of its own.
/// - **Errors:** the handler's body fails, and so does the call, whatever the handler makes of that. The reason is
///   [`Reason::RequestIdle`](crate::error::Reason::RequestIdle), or
///   [`Reason::NotInTime`](crate::error::Reason::NotInTime) if the deadline passes while the end of the body waits for
///   a permit. Every later poll of such a body fails again.
/// - **Cancellation:** dropping the call gives everything back at once. If a handler drops the body before its end, or
///   its client hangs up, the call goes on with a permit, over the limit if necessary.
/// - **Types:** the inner service gets its requests with an [`UploadBody`]. axum and tonic accept any body. For a
///   service that accepts one type only, use [`MapRequestBodyLayer`](crate::http::MapRequestBodyLayer).
/// - **Cost:** nothing for a request without a body; two allocations for one with a body, and a timer while it waits.
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
    idle_share: Arc<Settings<f64>>,
    instruments: Instruments,
}

impl UploadLayer {
    /// An idle limit of half of the call's time.
    pub fn new() -> Self {
        Self::with_instruments(DEFAULT_IDLE_SHARE, Instruments::nameless(LayerKind::Deadline))
    }

    /// Lets a client send nothing for this share of the call's time, within `(0, 1]`. With 1, only the deadline bounds
    /// the wait.
    ///
    /// # Errors
    /// If the share is out of its range.
    pub fn with_idle_share(self, share: f64) -> Result<Self, InvalidConfig> {
        Validation::of(|validation| check_idle_share("idle_share", share, validation))?;
        Ok(Self::with_instruments(share, self.instruments))
    }

    /// Reports refusals as those of the layer that has these instruments.
    pub(crate) fn with_instruments(idle_share: f64, instruments: Instruments) -> Self {
        Self { idle_share: Arc::new(Settings::new(idle_share)), instruments }
    }

    pub(crate) fn set_idle_share(&self, share: f64) {
        self.idle_share.store(share);
    }
}

impl Default for UploadLayer {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn check_idle_share(field: &str, share: f64, validation: &mut Validation) {
    validation.check(share > 0.0 && share <= 1.0, field, format_args!("invalid value: {share}, must be in (0, 1]"));
}

impl<S> Layer<S> for UploadLayer {
    type Service = UploadService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        UploadService { inner, layer: self.clone(), idle_share: self.idle_share.cached(|share| *share) }
    }
}

/// A service that bounds the resources of clients that do not send. See [`UploadLayer`].
#[derive(Clone, Debug)]
pub struct UploadService<S> {
    inner: S,
    layer: UploadLayer,
    idle_share: Cached<f64>,
}

/// How long a client may send nothing in this call.
fn idle_time(share: f64) -> Duration {
    let time = scope::current().deadline.map_or(DEFAULT_MAX_HOLD, |deadline| deadline.since(time::now()));
    time.mul_f64(share)
}

accessors!([S] UploadService<S>, forwards_readiness);

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
        let share = *self.layer.idle_share.refresh(&mut self.idle_share, |share| *share);
        let (body, upload) =
            UploadBody::new(body, || (Upload::new(), self.layer.instruments.clone(), idle_time(share)));
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
                // The body was cut, so the client gets the refusal, not what the handler made of the broken body.
                return Poll::Ready(Err(rejected.into()));
            }
        }
        Poll::Ready(result.map_err(Into::into))
    }
}
