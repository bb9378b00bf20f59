//! How injected faults look over HTTP and gRPC.

use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use tower::BoxError;

use super::body::ChaosBody;
use crate::ground::error::{Injected, InvalidConfig};
use crate::ground::verdict::{Expiry, Verdict};
use crate::http::held_body::{self, AllHere, HeldBody};
use crate::http::{ByStatus, retry_after};
use crate::layers::chaos::{
    ActiveBodyFault, ActiveFault, ChaosConfig, ChaosFault, ChaosLayer, Inject, Matching, SealedInject,
};

/// Faults over HTTP and gRPC: the [module of the layer](crate::chaos) says how each looks.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpFaults;

impl ChaosLayer<HttpFaults> {
    /// Faults over HTTP and gRPC, those of bodies included.
    ///
    /// # Errors
    /// As [`new`](ChaosLayer::new).
    pub fn http(config: ChaosConfig) -> Result<Self, InvalidConfig> {
        Ok(ChaosLayer::new(config)?.with_protocol(HttpFaults))
    }
}

impl SealedInject for HttpFaults {
    fn supports(&self, _fault: &ChaosFault) -> bool {
        true
    }
}

impl<R, B> Inject<Request<R>, Response<B>> for HttpFaults
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<HeldBody<ChaosBody<B>, ActiveBodyFault>>;

    fn matches(&self, request: &Request<R>, matching: &Matching) -> bool {
        let Matching { method, path_prefix, headers } = matching;
        let has = |(name, value): (&String, &String)| {
            request.headers().get_all(name.as_str()).iter().any(|found| found.as_bytes() == value.as_bytes())
        };
        (method.is_empty() || request.method().as_str() == method.as_str())
            && request.uri().path().starts_with(path_prefix.as_str())
            && headers.iter().all(has)
    }

    fn pass(&self, mut response: Response<B>, injected: Option<Injected>) -> Self::Response {
        if let Some(injected) = injected {
            response.extensions_mut().insert(injected);
        }
        response.map(|body| HeldBody::over(ChaosBody::unharmed(body)))
    }

    fn answer(&self, fault: ChaosFault) -> Result<Self::Response, BoxError> {
        let mut response = Response::new(HeldBody::over(ChaosBody::empty()));
        match fault {
            ChaosFault::Status { status, retry_after } => {
                *response.status_mut() = StatusCode::from_u16(status)?;
                if let Some(wait) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, retry_after::value(wait));
                }
            }
            ChaosFault::Code { code, pushback } => {
                const STATUS: HeaderName = HeaderName::from_static("grpc-status");
                const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(STATUS, HeaderValue::from(u16::from(code)));
                if let Some(wait) = pushback {
                    headers.insert(PUSHBACK, HeaderValue::from(millis(wait)));
                }
            }
            _ => return Err(Injected::new(fault.as_str()).into()),
        }
        response.extensions_mut().insert(Injected::new(fault.as_str()));
        Ok(response)
    }

    fn damage(
        &self,
        mut response: Response<B>,
        fault: ChaosFault,
        active: ActiveFault,
        expiry: Expiry,
    ) -> Self::Response {
        response.extensions_mut().insert(Injected::new(fault.as_str()));
        // The body no longer ends as a layer further in has found that it does.
        response.extensions_mut().remove::<AllHere>();
        let response = response.map(|body| ChaosBody::damaged(body, fault));
        held_body::hold(response, Verdict::Success, active.in_body(expiry), ByStatus::new())
    }
}

/// Whole milliseconds, rounded up, at most what the header can hold.
fn millis(wait: Duration) -> i32 {
    i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}
