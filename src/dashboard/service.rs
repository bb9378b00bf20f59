use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::header::ACCEPT_ENCODING;
use ::http::request::Parts;
use ::http::{Method, Request, Response, StatusCode};
use tokio::runtime::Handle;
use tower::Service;

use super::answer;
use super::body::Body;
use super::config::DashboardConfig;
use super::control;
use super::document::{Form, LiveAnswer};
use super::future::ResponseFuture;
use super::host::Hosts;
use super::sampler::Sampler;
use crate::admission::registry::Registry;
use crate::ground::error::InvalidConfig;
use crate::ground::time;
use crate::ground::validation::Validate as _;

/// A service that shows every named component live. See the [module](super).
///
/// Cheap to clone. All clones share the last minute and the task that samples it. The task ends when the last clone is dropped.
#[derive(Clone)]
pub struct Dashboard {
    sampler: Arc<Sampler>,
    authorize: Option<Arc<Authorize>>,
    mounted_at: Arc<str>,
    hosts: Arc<Hosts>,
    config: DashboardConfig,
}

type Authorize = dyn Fn(&Parts) -> bool + Send + Sync;

impl Dashboard {
    /// Shows the components that are named in `registry`. Sampling starts now if this is called inside a runtime, and otherwise with
    /// the first request.
    pub fn new(registry: Registry) -> Self {
        Self {
            sampler: Arc::new(Sampler::new(registry)),
            authorize: None,
            mounted_at: Arc::from(""),
            hosts: Arc::default(),
            config: DashboardConfig::default(),
        }
    }

    /// Shows controls to requests that `authorize` returns `true` for: force a breaker open, let it decide again, reset it, or set
    /// a limit. Without it no request can do so, and the page shows no buttons.
    ///
    /// `authorize` is called with the head of each command. It is also called with the head of each request for the page's data, to
    /// decide whether the page shows buttons. It must not block.
    ///
    /// `authorize` need not check that a command comes from this page. A command needs a header that no other site can make a
    /// browser send, and must come from the same origin.
    #[must_use]
    pub fn with_controls(mut self, authorize: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Allows these names in `Host`, beside IP addresses and `localhost`: the names under which users open the page, as a proxy
    /// forwards them. The port is ignored. A request with any other name gets 421.
    ///
    /// ```
    /// use seawall::dashboard::Dashboard;
    /// use seawall::registry::Registry;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let dashboard = Dashboard::new(Registry::global().clone()).with_hosts(["ops.example.com"]);
    /// # drop(dashboard);
    /// # }
    /// ```
    #[must_use]
    pub fn with_hosts<'a>(mut self, hosts: impl IntoIterator<Item = &'a str>) -> Self {
        let allowed = Arc::make_mut(&mut self.hosts);
        hosts.into_iter().for_each(|host| allowed.allow(host));
        self
    }

    /// Sets the limits on responses and commands.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn with_config(mut self, config: DashboardConfig) -> Result<Self, InvalidConfig> {
        config.validate()?;
        self.config = config;
        Ok(self)
    }

    /// Sets the path of the page, for a router that passes on the whole path, such as axum's `route_service`. It is not needed with a
    /// router that strips the prefix, such as `nest_service`.
    #[must_use]
    pub fn mounted_at(mut self, path: &str) -> Self {
        self.mounted_at = Arc::from(path.trim_end_matches('/'));
        self
    }

    fn is_controlled_by(&self, parts: &Parts) -> bool {
        self.authorize.as_ref().is_some_and(|authorize| authorize(parts))
    }

    fn live<B>(&self, parts: &Parts) -> ResponseFuture<B> {
        let form = Form { controls: self.is_controlled_by(parts), gzip: takes_gzip(parts) };
        let answered = |response| ResponseFuture::answered(fit(parts, response));
        match self.sampler.documents().answer(form, &self.config, time::now()) {
            LiveAnswer::Ready(document) => answered(answer::document(document, form.gzip)),
            LiveAnswer::TooMany => answered(answer::too_many()),
            LiveAnswer::ToBeMade(making) => {
                let sampler = Arc::clone(&self.sampler);
                let make = move || sampler.documents().make(form, making, || sampler.live());
                match Handle::try_current() {
                    Ok(runtime) => {
                        ResponseFuture::making(runtime.spawn_blocking(make), form, parts.method == Method::HEAD)
                    }
                    Err(_) => answered(answer::document(make(), form.gzip)),
                }
            }
        }
    }

    fn answer<B>(&self, parts: Parts, body: B) -> ResponseFuture<B> {
        let answered = |response| ResponseFuture::answered(fit(&parts, response));
        if !self.hosts.allow_all_of(&parts) {
            let why = "this host is not allowed: open the page by address or as localhost, or name it in Dashboard::with_hosts";
            return answered(answer::error(StatusCode::MISDIRECTED_REQUEST, why));
        }
        let path = parts.uri.path();
        let is_look = matches!(parts.method, Method::GET | Method::HEAD);
        match path.strip_prefix(&*self.mounted_at).unwrap_or(path) {
            "" | "/" | "/live" if !is_look => ResponseFuture::answered(answer::wrong_method("GET, HEAD")),
            "" | "/" => answered(answer::page()),
            "/live" => self.live(&parts),
            "/control" if self.authorize.is_some() => match self.fault(&parts) {
                Some(fault) => ResponseFuture::answered(fault),
                None => ResponseFuture::reading(body, Arc::clone(&self.sampler), &self.config),
            },
            _ => answered(answer::error(StatusCode::NOT_FOUND, "there is nothing here")),
        }
    }

    /// The response that refuses a command before its body is read.
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

/// Whether the reader accepts gzip. A weight of zero means that it does not.
fn takes_gzip(parts: &Parts) -> bool {
    let values = parts.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The response to `HEAD` has the head of the response to `GET`.
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
        self.answer(parts, body)
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("controls", &self.authorize.is_some()).finish_non_exhaustive()
    }
}
