//! The meaning of a transport error: whether the request was sent, and whether the dependency is to blame.

use std::error::Error;
use std::io;

use hyper_util::client::legacy;
use tower::BoxError;

use crate::ground::error::{Injected, chain, rejection_here};
use crate::ground::verdict::Verdict;

/// The verdict of a call that ended without a response. The causes are checked from the outside in, and the first one
/// that decides wins: an inner cause may be the error of the caller's own body, which may come from another client.
///
/// `Unsent` needs proof. If there is doubt, the request may have been executed.
pub(crate) fn verdict(error: &BoxError) -> Verdict {
    for error in chain(error) {
        if let Some(rejected) = rejection_here(error) {
            return rejected.verdict();
        }
        if error.is::<Injected>() {
            return Verdict::Lost;
        }
        #[cfg(feature = "reqwest")]
        if let Some(verdict) = of_reqwest(error) {
            return verdict;
        }
        if let Some(client) = error.downcast_ref::<legacy::Error>() {
            if client.is_connect() {
                return Verdict::Unsent;
            }
            // The client did not try: a URI without a host, or a version that it does not support.
            if client.source().is_none() {
                return Verdict::Ignored;
            }
        }
        if let Some(hyper) = error.downcast_ref() {
            return of_hyper(hyper);
        }
        #[cfg(feature = "grpc")]
        if let Some(h2) = error.downcast_ref() {
            return of_h2(h2);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            match io.kind() {
                // No HTTP was spoken yet, so there was no connection that could have lost its route.
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable => return Verdict::Unsent,
                io::ErrorKind::TimedOut => return Verdict::TimedOut,
                _ => {}
            }
        }
    }
    // reqwest's own timeouts have no other cause in their chain.
    #[cfg(feature = "reqwest")]
    if chain(error).any(|error| error.downcast_ref().is_some_and(::reqwest::Error::is_timeout)) {
        return Verdict::TimedOut;
    }
    Verdict::Lost
}

/// Whether this is the error of a client. The error of a connection alone may be that of the connection from which a
/// server reads its request.
pub(crate) fn is_of_a_client(error: &BoxError) -> bool {
    #[cfg(feature = "reqwest")]
    if chain(error).any(|error| error.is::<super::reqwest::MaybeSent>() || error.is::<::reqwest::Error>()) {
        return true;
    }
    chain(error).any(|error| error.is::<legacy::Error>())
}

/// The verdict of a hyper error, for which there was a connection.
fn of_hyper(error: &hyper::Error) -> Verdict {
    // The client still had the message when the connection was closed.
    if error.is_canceled() {
        return Verdict::Unsent;
    }
    if error.is_user() {
        // The connection's task ended while it had the request. hyper identifies this error by its text only.
        if error.to_string() == "dispatch task is gone" {
            return Verdict::Lost;
        }
        // The caller's own body failed. That says nothing about the dependency, which may have read without trouble:
        // many uploads that hang up must not open the storage's breaker. Nor does it prove the dependency alive.
        return Verdict::Ignored;
    }
    if error.source().is_some_and(is_reset_by_us) {
        return Verdict::Ignored;
    }
    #[cfg(feature = "grpc")]
    if let Some(h2) = error.source().and_then(|source| source.downcast_ref()) {
        if is_refused(h2) {
            return Verdict::Unsent;
        }
        if is_calmed(h2) {
            return Verdict::Overloaded { retry_after: None };
        }
    }
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_timeout() || io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
        return Verdict::TimedOut;
    }
    Verdict::Lost
}

/// Over HTTP/2, hyper resets the stream of a request whose body has failed, and reports the reset instead of the body's
/// error. h2 distinguishes this reset from a peer's reset only by its text, and the crate h2 is an optional dependency.
fn is_reset_by_us(error: &(dyn Error + 'static)) -> bool {
    error.to_string().starts_with("stream error sent by user: unexpected internal error")
}

#[cfg(feature = "grpc")]
fn of_h2(error: &h2::Error) -> Verdict {
    if is_refused(error) {
        return Verdict::Unsent;
    }
    if is_calmed(error) {
        return Verdict::Overloaded { retry_after: None };
    }
    match error.get_io() {
        Some(io) if io.kind() == io::ErrorKind::TimedOut => Verdict::TimedOut,
        _ => Verdict::Lost,
    }
}

/// Whether the peer says that it has not processed the request (RFC 9113, section 8.7): by `REFUSED_STREAM`, or by a
/// `GOAWAY`. h2 gives the error of a received `GOAWAY` to streams above the last one that it names, and to later
/// requests. Streams that the peer may have processed continue, and end in another kind of error if the connection
/// dies.
#[cfg(feature = "grpc")]
fn is_refused(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

/// Whether the peer says that there are too many requests.
#[cfg(feature = "grpc")]
fn is_calmed(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}

/// The verdict of reqwest's own errors. For most errors it only wraps the cause.
#[cfg(feature = "reqwest")]
fn of_reqwest(error: &(dyn Error + 'static)) -> Option<Verdict> {
    if error.is::<super::reqwest::MaybeSent>() {
        return Some(Verdict::Lost);
    }
    let error = error.downcast_ref::<::reqwest::Error>()?;
    // The client cannot request this URL.
    if error.is_builder() {
        return Some(Verdict::Ignored);
    }
    // The dependency did respond.
    if error.is_redirect() {
        return Some(Verdict::CallerFault);
    }
    None
}

#[cfg(test)]
mod tests {
    use ::http::Request;
    use http_body_util::StreamBody;
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::ground::error::{Reason, Rejected};
    use crate::ground::layer_id::LayerKind;

    fn of(error: impl Into<BoxError>) -> Verdict {
        verdict(&error.into())
    }

    #[test]
    fn unsent_needs_proof() {
        assert_eq!(of(io::Error::from(io::ErrorKind::ConnectionRefused)), Verdict::Unsent);
        assert_eq!(of(io::Error::from(io::ErrorKind::ConnectionReset)), Verdict::Lost);
        assert_eq!(of(io::Error::from(io::ErrorKind::TimedOut)), Verdict::TimedOut);
        assert_eq!(of("who knows"), Verdict::Lost);
        assert_eq!(of(Rejected::nameless(LayerKind::Bulkhead, Reason::QueueFull)), Verdict::Ignored);
        assert_eq!(of(io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused))), Verdict::Unsent);
    }

    /// The kernel reports a lost route by the same error as a missing one.
    #[tokio::test]
    async fn no_route_is_unsent_only_before_there_is_a_connection() {
        let unreachable = || io::Error::from(io::ErrorKind::HostUnreachable);
        assert_eq!(of(unreachable()), Verdict::Unsent);

        let connection = tokio_test::io::Builder::new()
            .write(b"GET / HTTP/1.1\r\nhost: callee\r\n\r\n")
            .read_error(unreachable())
            .build();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
        let request = Request::get("/").header("host", "callee").body(String::new()).unwrap();
        let (answer, _) = futures::join!(sender.send_request(request), connection);
        assert_eq!(of(answer.unwrap_err()), Verdict::Lost);
    }

    #[tokio::test]
    async fn request_of_a_dead_connection_task_may_have_been_executed() {
        let (client, _server) = tokio::io::duplex(1024);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(Request::get("/").body(String::new()).unwrap());
        let (answer, _) = futures::join!(answer, async {
            tokio::task::yield_now().await;
            connection.abort();
        });
        let error = answer.unwrap_err();
        assert!(error.is_user(), "{error:?}");
        assert_eq!(of(error), Verdict::Lost);
    }

    /// This holds whatever the cause is. Here the body is itself the response of a client that could not connect.
    #[tokio::test]
    async fn callers_own_body_error_is_ignored() {
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::ConnectionReset] {
            let (client, _server) = tokio::io::duplex(1024);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
            let frames = futures::stream::iter([Err::<http_body::Frame<bytes::Bytes>, _>(io::Error::from(kind))]);
            let request = Request::post("/").body(StreamBody::new(frames)).unwrap();
            let (answer, _) = futures::join!(sender.send_request(request), connection);
            let error = answer.unwrap_err();
            assert!(error.is_user(), "{error:?}");
            assert_eq!(of(error), Verdict::Ignored, "{kind}");
        }
    }

    #[cfg(feature = "grpc")]
    #[test]
    fn local_refused_stream_is_not_unsent() {
        assert_eq!(of(h2::Error::from(h2::Reason::REFUSED_STREAM)), Verdict::Lost);
        assert_eq!(of(h2::Error::from(h2::Reason::INTERNAL_ERROR)), Verdict::Lost);
    }
}
