//! The active check by `grpc.health.v1`.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Buf, BufMut, Bytes};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use prost::Message;
use tower::{BoxError, Service};

use super::check_body::CheckBody;
use super::http_check::{CheckFuture, send};
use crate::balance::endpoint::Endpoint;
use crate::grpc::{Code, status};

/// The method.
const PATH: &str = "/grpc.health.v1.Health/Check";

/// The largest answer that is read. A usual one has 7 bytes; unknown fields may follow.
const LARGEST: usize = 1024;

/// Before each message there are a flag for compression and the length.
const PREFIX: usize = 5;

/// `SERVING` of `ServingStatus`.
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A check for [`BalanceHandle::check`](crate::balance::BalanceHandle::check): calls `Check` of
/// [`grpc.health.v1.Health`](https://grpc.io/docs/guides/health-checking/) with the name of a service, and passes if the answer is
/// `SERVING`. An empty name asks for the server as a whole. An endpoint without this service fails all checks, which changes nothing.
///
/// `connect` makes the client of an endpoint, as that of [`BalanceLayer::service`](crate::balance::BalanceLayer::service) does; it is
/// called for each check. Any client of HTTP/2 will do.
///
/// ```
/// use seawall::balance::{BalanceConfig, BalanceLayer, CheckConfig, Endpoint, grpc_check};
/// use seawall::http::MapRequestBodyLayer;
/// use tonic::transport::Channel;
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let layer = BalanceLayer::grpc(BalanceConfig::default())?;
/// let connect = |endpoint: &Endpoint| {
///     let uri = format!("http://{}", endpoint.address()).parse().expect("an authority");
///     MapRequestBodyLayer::new(tonic::body::Body::new).layer(Channel::builder(uri).connect_lazy())
/// };
/// layer.handle().check(CheckConfig::default(), grpc_check(connect, "orders.Orders"))?;
/// # Ok(())
/// # }
/// ```
pub fn grpc_check<F, S, B>(
    connect: F,
    service: &str,
) -> impl Fn(&Endpoint) -> CheckFuture + Send + Sync + 'static + use<F, S, B>
where
    F: Fn(&Endpoint) -> S + Send + Sync + 'static,
    S: Service<Request<CheckBody>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let message = framed(&HealthCheckRequest { service: service.to_owned() });
    move |endpoint: &Endpoint| {
        let mut request = Request::new(CheckBody::new(message.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(PATH);
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        let answer = send(connect(endpoint), request);
        Box::pin(async move { judge(answer.await?).await }) as CheckFuture
    }
}

/// A message with its prefix.
fn framed(message: &impl Message) -> Bytes {
    let mut framed = Vec::with_capacity(PREFIX + message.encoded_len());
    framed.put_u8(0);
    // A name is never that long.
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    framed.extend(message.encode_to_vec());
    framed.into()
}

/// Whether the response is that of an endpoint that serves.
async fn judge<B>(response: Response<B>) -> Result<(), BoxError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("the HTTP status is {}", head.status).into());
    }
    let mut code = succeeded(&head.headers)?;
    let (mut body, mut answer) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map_err(Into::into)?.into_data() {
            Ok(data) if answer.len().saturating_add(data.remaining()) > LARGEST => {
                return Err(format!("the answer is larger than {LARGEST} bytes").into());
            }
            Ok(data) => answer.put(data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    code = succeeded(&trailers)?.or(code);
                }
            }
        }
    }
    code.ok_or("the answer has no status")?;
    serving(&answer)
}

/// The code in headers or trailers, which must be `OK` if there is one.
fn succeeded(headers: &HeaderMap) -> Result<Option<Code>, BoxError> {
    match status::code(headers) {
        Some(code) if code != Code::Ok => Err(format!("the status is {}", code.as_str()).into()),
        code => Ok(code),
    }
}

/// Whether the answer is one message that says `SERVING`.
fn serving(answer: &[u8]) -> Result<(), BoxError> {
    let Some(([compressed, length @ ..], message)) = answer.split_first_chunk::<PREFIX>() else {
        return Err("the answer has no message".into());
    };
    if *compressed != 0 || u32::from_be_bytes(*length) as usize != message.len() {
        return Err("the answer is not one uncompressed message".into());
    }
    match HealthCheckResponse::decode(message)?.status {
        SERVING => Ok(()),
        status => Err(format!("the serving status is {}", serving_status(status)).into()),
    }
}

fn serving_status(number: i32) -> &'static str {
    ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
        .into_iter()
        .zip(0..)
        .find_map(|(name, known)| (known == number).then_some(name))
        .unwrap_or("unknown")
}
