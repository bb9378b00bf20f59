use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::request::Parts;
use ::http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tower::Service;

use super::answer;
use super::body::Body;
use super::control;
use super::future::ResponseFuture;
use super::sampler::Sampler;
use crate::admission::registry::Registry;

/// A service that shows every named component live. See the [module](super).
///
/// Cheap to clone; all clones share the last minute, and the task that keeps it ends with the last of them.
#[derive(Clone)]
pub struct Dashboard {
    sampler: Arc<Sampler>,
    authorize: Option<Arc<Authorize>>,
    mounted_at: Arc<str>,
}

type Authorize = dyn Fn(&Parts) -> bool + Send + Sync;

impl Dashboard {
    /// Shows the components that are named in `registry`. Made inside a runtime, it keeps the last minute from then on;
    /// otherwise from the first request on.
    pub fn new(registry: Registry) -> Self {
        Self { sampler: Arc::new(Sampler::new(registry)), authorize: None, mounted_at: Arc::from("") }
    }

    /// Lets those whom `authorize` agrees to move components by hand: force a breaker open, let it decide again, reset it, or set
    /// a limit. Without it nobody can, and the page shows no buttons.
    ///
    /// It is asked for the head of each order, and of each look at the page's data, to decide whether there are buttons. It must
    /// not block.
    ///
    /// What it has not to care for: that the order comes from this page. Orders need a header that no other site can make a
    /// browser send, and must come from the same origin.
    #[must_use]
    pub fn with_controls(mut self, authorize: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Says where the page is, to a dashboard that sees whole paths, as with axum's `route_service`. Not needed where the router
    /// takes the prefix off, as `nest_service` does.
    #[must_use]
    pub fn mounted_at(mut self, path: &str) -> Self {
        self.mounted_at = Arc::from(path.trim_end_matches('/'));
        self
    }

    pub(super) fn registry(&self) -> &Registry {
        self.sampler.registry()
    }

    fn is_controlled_by(&self, parts: &Parts) -> bool {
        self.authorize.as_ref().is_some_and(|authorize| authorize(parts))
    }

    fn live(&self, parts: &Parts) -> Response<Body> {
        let mut live = self.sampler.live();
        live.insert("controls".to_owned(), Value::from(self.is_controlled_by(parts)));
        answer::json(StatusCode::OK, &Value::Object(live))
    }

    /// The answer to all but an order that may be read.
    fn answer(&self, parts: &Parts) -> Option<Response<Body>> {
        let path = parts.uri.path();
        let show: fn(&Self, &Parts) -> Response<Body> = match path.strip_prefix(&*self.mounted_at).unwrap_or(path) {
            "" | "/" => |_, _| answer::page(),
            "/live" => Self::live,
            "/control" if self.authorize.is_some() => return self.fault(parts),
            _ => return Some(fit(parts, answer::error(StatusCode::NOT_FOUND, "there is nothing here"))),
        };
        Some(match parts.method {
            Method::GET | Method::HEAD => fit(parts, show(self, parts)),
            _ => answer::wrong_method("GET, HEAD"),
        })
    }

    /// Why an order is not even read.
    fn fault(&self, parts: &Parts) -> Option<Response<Body>> {
        if parts.method != Method::POST {
            return Some(fit(parts, answer::wrong_method("POST")));
        }
        control::fault(parts).or_else(|| {
            let may = self.is_controlled_by(parts);
            (!may).then(|| answer::error(StatusCode::FORBIDDEN, "you may look, and not touch"))
        })
    }
}

/// `HEAD` has the head of what `GET` has.
fn fit(parts: &Parts, response: Response<Body>) -> Response<Body> {
    if parts.method == Method::HEAD { answer::head_only(response) } else { response }
}

impl<B: http_body::Body> Service<Request<B>> for Dashboard {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.sampler.run();
        let (parts, body) = request.into_parts();
        match self.answer(&parts) {
            Some(response) => ResponseFuture::answered(response),
            None => ResponseFuture::reading(body, self.clone()),
        }
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("controls", &self.authorize.is_some()).finish_non_exhaustive()
    }
}
