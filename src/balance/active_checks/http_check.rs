//! The active check by HTTP.

use std::future::{Future, poll_fn};
use std::pin::Pin;

use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use tower::{BoxError, Service};

use super::check_body::CheckBody;
use crate::balance::endpoint::Endpoint;
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validation;

/// A check that is under way.
pub type CheckFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A check for [`BalanceHandle::check`](crate::balance::BalanceHandle::check): sends `GET path`, and passes if the status of the response
/// is 2xx. The body of the response is dropped.
///
/// `connect` makes the client of an endpoint, as that of [`BalanceLayer::service`](crate::balance::BalanceLayer::service) does; it is
/// called for each check. It may return the endpoint's address with a clone of a client that all share ([`AtEndpoint`]).
///
/// # Errors
/// If `path` is no path that begins with `/`.
///
/// ```
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use seawall::balance::{AtEndpoint, BalanceConfig, BalanceLayer, CheckConfig, Endpoint, http_check};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let layer = BalanceLayer::http(BalanceConfig::default())?;
/// let client = Client::builder(TokioExecutor::new()).build_http();
/// let connect = move |endpoint: &Endpoint| AtEndpoint::new(endpoint, client.clone());
/// layer.handle().check(CheckConfig::default(), http_check(connect, "/healthz")?)?;
/// # Ok(())
/// # }
/// ```
///
/// [`AtEndpoint`]: crate::balance::AtEndpoint
pub fn http_check<F, S, B>(
    connect: F,
    path: &str,
) -> Result<impl Fn(&Endpoint) -> CheckFuture + Send + Sync + 'static + use<F, S, B>, InvalidConfig>
where
    F: Fn(&Endpoint) -> S + Send + Sync + 'static,
    S: Service<Request<CheckBody>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send + 'static,
{
    let uri = path.parse::<PathAndQuery>().ok().filter(|_| path.starts_with('/')).map(Uri::from);
    Validation::of(|validation| {
        let problem = format_args!("invalid value: {path:?}, must be a path such as \"/healthz\"");
        validation.check(uri.is_some(), "path", problem);
    })?;
    let uri = uri.unwrap_or_default();
    Ok(move |endpoint: &Endpoint| {
        let mut request = Request::new(CheckBody::default());
        *request.uri_mut() = uri.clone();
        let answer = send(connect(endpoint), request);
        Box::pin(async move {
            let status = answer.await?.status();
            if status.is_success() { Ok(()) } else { Err(format!("the status is {status}").into()) }
        }) as CheckFuture
    })
}

/// Sends the request once the client is ready.
pub(super) async fn send<S, B>(mut client: S, request: Request<CheckBody>) -> Result<Response<B>, BoxError>
where
    S: Service<Request<CheckBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    poll_fn(|cx| client.poll_ready(cx)).await.map_err(Into::into)?;
    client.call(request).await.map_err(Into::into)
}
