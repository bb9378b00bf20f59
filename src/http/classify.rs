//! Verdicts by HTTP status and by transport error.

use std::future::{Ready, ready};
use std::io;

use ::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use tower::BoxError;

use crate::ground::error::{chain, rejection};
use crate::ground::verdict::{Classify, Guard, Verdict};
use crate::http::lifetime::{self, HeldBody, Judge};
use crate::http::propagation::last_word::forbids_retry;
use crate::http::retry_after;
use crate::http::settled::{Detaching, SettledBody};

/// The classifier for HTTP: by status and by transport error. The call is over when the body
/// of the response is.
///
/// | status | verdict |
/// |---|---|
/// | 429 or 5xx with `x-should-retry: false` | [`Failed`](Verdict::Failed): whoever answers has spent its retries |
/// | 429, 503 | [`Overloaded`](Verdict::Overloaded), with `Retry-After` if it is there |
/// | 504 | [`TimedOut`](Verdict::TimedOut) |
/// | 501, 505 | [`CallerFault`](Verdict::CallerFault): asking again changes nothing |
/// | any other 5xx; 408, 421, 425 | [`Transient`](Verdict::Transient) |
/// | any other 4xx | [`CallerFault`](Verdict::CallerFault) |
/// | anything else | [`Success`](Verdict::Success) |
///
/// | error | verdict |
/// |---|---|
/// | a refusal or a cut of a layer of this crate | what it says of itself |
/// | not sent: no connection could be made, or the request never left the client | [`Transient`](Verdict::Transient) |
/// | a timeout of the connection | [`TimedOut`](Verdict::TimedOut) |
/// | any other: the request may have been executed | [`Lost`](Verdict::Lost) |
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ByStatus;

impl<B> Classify<Response<B>> for ByStatus
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Held<G: Guard> = Response<HeldBody<B, G>>;
    type Settled = Response<SettledBody<B>>;
    type Settling = Ready<(Verdict, Self::Settled)>;
    type Detaching = Detaching<B>;

    fn classify(&self, result: Result<&Response<B>, &BoxError>) -> Verdict {
        match result {
            Ok(response) => self.of_head(response),
            Err(error) => of_error(error),
        }
    }

    fn hold<G: Guard>(&self, response: Response<B>, verdict: Verdict, guard: G) -> Self::Held<G> {
        lifetime::hold(response, verdict, guard, *self)
    }

    fn settle(&self, response: Response<B>) -> Self::Settling {
        ready((self.of_head(&response), response.map(SettledBody::unread)))
    }

    fn detach(&self, response: Self::Settled) -> Self::Detaching {
        Detaching::new(response)
    }
}

impl Judge for ByStatus {
    fn of_head<B>(&self, response: &Response<B>) -> Verdict {
        of_status(response)
    }

    fn is_decided<B>(&self, _: &Response<B>) -> bool {
        true
    }

    fn at_end(&self, head: Verdict, _: Option<&HeaderMap>) -> Verdict {
        head
    }
}

fn of_status<B>(response: &Response<B>) -> Verdict {
    match response.status() {
        _ if forbids_retry(response) => Verdict::Failed,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Verdict::Overloaded { retry_after: retry_after::parse(response.headers()) }
        }
        StatusCode::GATEWAY_TIMEOUT => Verdict::TimedOut,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Verdict::CallerFault,
        StatusCode::REQUEST_TIMEOUT | StatusCode::MISDIRECTED_REQUEST | StatusCode::TOO_EARLY => Verdict::Transient,
        status if status.is_server_error() => Verdict::Transient,
        status if status.is_client_error() => Verdict::CallerFault,
        _ => Verdict::Success,
    }
}

/// An error is only taken for "not sent" where it proves that; all doubt means that the request may have been executed.
fn of_error(error: &BoxError) -> Verdict {
    if let Some(rejected) = rejection(error) {
        return rejected.verdict();
    }
    let mut connected = false;
    for error in chain(error) {
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            connected = true;
            if hyper.is_canceled() {
                return Verdict::Transient;
            }
            if hyper.is_timeout() {
                return Verdict::TimedOut;
            }
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable => {
                    // A connection can lose its route, too, and by then the request may be over there.
                    return if connected { Verdict::Lost } else { Verdict::Transient };
                }
                io::ErrorKind::TimedOut => return Verdict::TimedOut,
                _ => {}
            }
        }
    }
    Verdict::Lost
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::http::header::RETRY_AFTER;

    use super::*;
    use crate::ground::error::{Reason, Rejected};

    #[test]
    fn every_status_has_its_verdict() {
        for code in 100..1000 {
            let response = Response::builder().status(code).body(String::new()).unwrap();
            let expected = match code {
                429 | 503 => Verdict::Overloaded { retry_after: None },
                504 => Verdict::TimedOut,
                501 | 505 => Verdict::CallerFault,
                408 | 421 | 425 => Verdict::Transient,
                400..=499 => Verdict::CallerFault,
                500..=599 => Verdict::Transient,
                _ => Verdict::Success,
            };
            assert_eq!(ByStatus.classify(Ok(&response)), expected, "{code}");
        }
        let response = Response::builder().status(503).header(RETRY_AFTER, "7").body(String::new()).unwrap();
        let overloaded = Verdict::Overloaded { retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(ByStatus.classify(Ok(&response)), overloaded);
    }

    #[test]
    fn doubt_means_that_the_request_may_have_been_executed() {
        let of = |error: BoxError| Classify::<Response<String>>::classify(&ByStatus, Err(&error));
        assert_eq!(of(io::Error::from(io::ErrorKind::ConnectionRefused).into()), Verdict::Transient);
        assert_eq!(of(io::Error::from(io::ErrorKind::ConnectionReset).into()), Verdict::Lost);
        assert_eq!(of(io::Error::from(io::ErrorKind::TimedOut).into()), Verdict::TimedOut);
        assert_eq!(of("who knows".into()), Verdict::Lost);
        assert_eq!(of(Rejected::new("bulkhead", Reason::QueueFull).into()), Verdict::Ignored);
        assert_eq!(of(io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused)).into()), Verdict::Transient);
    }

    /// The kernel reports a lost route by the same error, whether it was looking for one or had one.
    #[tokio::test]
    async fn no_route_is_not_sent_only_while_there_was_no_connection() {
        let unreachable = || io::Error::from(io::ErrorKind::HostUnreachable);
        let of = |error: BoxError| Classify::<Response<String>>::classify(&ByStatus, Err(&error));
        assert_eq!(of(unreachable().into()), Verdict::Transient);

        let connection = tokio_test::io::Builder::new()
            .write(b"GET / HTTP/1.1\r\nhost: callee\r\n\r\n")
            .read_error(unreachable())
            .build();
        let io = hyper_util::rt::TokioIo::new(connection);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let request = ::http::Request::get("/").header("host", "callee").body(String::new()).unwrap();
        let (answer, _) = futures::join!(sender.send_request(request), connection);
        assert_eq!(of(answer.unwrap_err().into()), Verdict::Lost);
    }
}
