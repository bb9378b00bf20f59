//! Sends HTTP requests to the address of an endpoint.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};
use pin_project::pin_project;
use tower::{BoxError, Service};

use super::endpoint::Endpoint;

/// A client that sends every request to one endpoint: scheme and authority of its URI become those of the endpoint's address. For
/// clients of `http` requests, such as that of hyper-util and
#[cfg_attr(feature = "reqwest", doc = "[`ReqwestService`](crate::http::reqwest::ReqwestService).")]
#[cfg_attr(not(feature = "reqwest"), doc = "`ReqwestService`.")]
///
/// The address is a host with or without a port (`10.0.0.7:8080`), for `http`, or `http` or `https` with them (`https://10.0.0.7:8443`), where
/// a path is ignored. If it is neither, each call fails and nothing is sent, as if the endpoint were down.
///
/// The `Host` header: one that the request has stays. If it has none, HTTP clients send the authority of the URI, which is now that of
/// the endpoint. With [`keep_host`](Self::keep_host) it is the authority that the request had before, for servers that tell sites
/// apart by name. HTTP/2 sends that next to its `:authority`, which is the endpoint's. TLS verifies the name in the address of the
/// endpoint, and not the `Host`.
///
/// ```
/// use http::Request;
/// use seawall::balance::{AtEndpoint, BalanceConfig, BalanceLayer, Endpoint};
/// use tower::{BoxError, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let layer = BalanceLayer::new(BalanceConfig::default())?.with_endpoints([Endpoint::new("10.0.0.7:8080")])?;
/// // in place of a client of hyper-util
/// let client = service_fn(|request: Request<()>| async move { Ok::<_, BoxError>(request.uri().to_string()) });
/// let balance = layer.service(move |endpoint| AtEndpoint::new(endpoint, client));
/// let request = Request::get("http://orders.internal/status").body(())?;
/// assert_eq!(balance.oneshot(request).await?, "http://10.0.0.7:8080/status");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AtEndpoint<S> {
    client: S,
    address: Result<Address, InvalidAddress>,
    keeps_host: bool,
}

#[derive(Clone, Debug)]
struct Address {
    scheme: Scheme,
    authority: Authority,
}

/// The address of an endpoint is no authority and no URI.
#[derive(Clone, Debug, thiserror::Error)]
#[error("invalid address of an endpoint: {address:?} is neither `host:port` nor `scheme://host:port`")]
struct InvalidAddress {
    address: String,
}

impl Address {
    fn of(address: &str) -> Option<Self> {
        let (scheme, authority) = match address.parse::<Authority>() {
            Ok(authority) => (Scheme::HTTP, authority),
            Err(_) => {
                let parts = address.parse::<Uri>().ok()?.into_parts();
                (parts.scheme?, parts.authority?)
            }
        };
        let is_http = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
        (is_http && is_host_and_port(&authority)).then_some(Self { scheme, authority })
    }

    /// The URI at this address.
    fn uri(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path).build().ok()
    }
}

/// Whether it is a host, with or without a port. HTTP clients take a port that is no number for none, and would send to another service.
fn is_host_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some())
}

impl<S> AtEndpoint<S> {
    /// A client of this endpoint.
    pub fn new(endpoint: &Endpoint, client: S) -> Self {
        let address = endpoint.address();
        let address = Address::of(address).ok_or_else(|| InvalidAddress { address: address.to_owned() });
        Self { client, address, keeps_host: false }
    }

    /// Sends the authority that the request had as `Host`, unless the request has a `Host` of its own.
    #[must_use]
    pub fn keep_host(self) -> Self {
        Self { keeps_host: true, ..self }
    }

    fn direct<B>(&self, request: &mut Request<B>) -> Result<(), InvalidAddress> {
        let address = self.address.as_ref().map_err(InvalidAddress::clone)?;
        if self.keeps_host && !request.headers().contains_key(HOST) {
            // Without user name and password, which are no part of the header.
            let host = request.uri().authority().map(|own| own.as_str().rsplit('@').next().unwrap_or_default());
            if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
                request.headers_mut().insert(HOST, host);
            }
        }
        if let Some(uri) = address.uri(request.uri()) {
            *request.uri_mut() = uri;
        }
        Ok(())
    }
}

impl<S, B> Service<Request<B>> for AtEndpoint<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = AtEndpointFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.client.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        AtEndpointFuture(match self.direct(&mut request) {
            Ok(()) => State::Sent(self.client.call(request)),
            Err(invalid) => State::Invalid(Some(invalid)),
        })
    }
}

/// A call of [`AtEndpoint`].
#[pin_project]
pub struct AtEndpointFuture<F>(#[pin] State<F>);

#[pin_project(project = StateProj)]
enum State<F> {
    Sent(#[pin] F),
    Invalid(Option<InvalidAddress>),
}

impl<F, Res, E> Future for AtEndpointFuture<F>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            StateProj::Sent(call) => call.poll(cx).map_err(Into::into),
            StateProj::Invalid(invalid) => match invalid.take() {
                Some(invalid) => Poll::Ready(Err(invalid.into())),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for AtEndpointFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtEndpointFuture").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    /// The URI and the `Host` that are sent.
    fn sent(
        address: &str,
        keeps_host: bool,
        uri: &str,
        host: Option<&str>,
    ) -> Result<(String, Option<String>), InvalidAddress> {
        let client = AtEndpoint::new(&Endpoint::new(address), ());
        let client = if keeps_host { client.keep_host() } else { client };
        let mut request = Request::builder().uri(uri).body(()).expect("a valid request");
        if let Some(host) = host {
            request.headers_mut().insert(HOST, HeaderValue::from_str(host).expect("a valid host"));
        }
        client.direct(&mut request)?;
        let host = request.headers().get(HOST).map(|host| host.to_str().expect("text").to_owned());
        Ok((request.uri().to_string(), host))
    }

    #[test]
    fn request_goes_to_the_address() {
        for (address, uri, expected) in [
            ("10.0.0.7:80", "/a?b=c", "http://10.0.0.7:80/a?b=c"),
            ("10.0.0.7:80", "https://orders/a", "http://10.0.0.7:80/a"),
            ("https://pod-1:8443", "http://orders/a?b", "https://pod-1:8443/a?b"),
            ("http://pod-1/ignored", "/", "http://pod-1/"),
            ("[::1]:80", "http://orders", "http://[::1]:80/"),
        ] {
            let sent = sent(address, false, uri, None).map(|(uri, host)| (uri, host.is_some()));
            assert_eq!(sent.expect("valid"), (expected.to_owned(), false), "{address} {uri}");
        }
    }

    #[test]
    fn host_is_kept_by_choice() {
        for (keeps_host, uri, own, expected) in [
            (false, "http://orders:81/", None, None),
            (true, "http://orders:81/", None, Some("orders:81")),
            (true, "http://user:secret@orders/", None, Some("orders")),
            (true, "http://orders/", Some("mine"), Some("mine")),
            (false, "http://orders/", Some("mine"), Some("mine")),
            (true, "/", None, None),
        ] {
            let (_, host) = sent("10.0.0.7:80", keeps_host, uri, own).expect("valid");
            assert_eq!(host.as_deref(), expected, "{keeps_host} {uri}");
        }
    }

    #[test]
    fn invalid_address_is_an_error_that_names_it() {
        for address in [
            "",
            "a b",
            "http://",
            "/path",
            "http:///path",
            "10.0.0.7:80a",
            "10.0.0.7:99999",
            "10.0.0.7:",
            "http://10.0.0.7:",
            "user@10.0.0.7:80",
            "http://user:secret@10.0.0.7:80",
            "ftp://10.0.0.7:80",
            "10.0.0.7:80/path",
        ] {
            let error = sent(address, false, "/", None).expect_err("invalid").to_string();
            assert!(error.contains(&format!("{address:?}")), "{error}");
        }
    }
}
