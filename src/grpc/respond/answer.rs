use std::borrow::Cow;
use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tower::BoxError;

use crate::ground::error::{RefusalKind, rejection};
use crate::ground::verdict::Verdict;
use crate::grpc::Code;
use crate::grpc::by_code::of_error;
use crate::grpc::details;
use crate::grpc::status::{DETAILS, MESSAGE, PUSHBACK, STATUS, pushback_value};
use crate::http::respond::text;
use crate::layers::core::observed;
use crate::telemetry;

/// The characters that `grpc-message` must encode: control characters, and the percent sign itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// The part of an error that the caller sees.
#[derive(Debug)]
pub(super) struct ErrorAnswer {
    code: Code,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    /// In the header's encoding. Only refusals have details.
    details: Option<String>,
}

impl ErrorAnswer {
    pub(super) fn to(error: &BoxError, is_verbose: bool) -> Self {
        let Some(rejected) = rejection(error) else {
            let (code, message) = of_transport(error);
            telemetry::answered(error, code.as_str(), code == Code::Internal);
            observed::request_publication();
            return Self { code, message: Cow::Borrowed(message), retry_after: None, details: None };
        };
        let (code, message) = (code(rejected.kind()), text(rejected, is_verbose));
        let details = details::encode(code, &message, rejected);
        Self { code, message: message.into(), retry_after: rejected.retry_after(), details: Some(details) }
    }

    pub(super) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(STATUS.clone(), HeaderValue::from(self.code.to_i32()));
        let message = utf8_percent_encode(&self.message, ENCODED).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert(MESSAGE.clone(), message);
        }
        if let Some(wait) = self.retry_after {
            headers.insert(PUSHBACK.clone(), pushback_value(wait));
        }
        if let Some(Ok(details)) = self.details.map(HeaderValue::try_from) {
            headers.insert(DETAILS.clone(), details);
        }
        headers
    }
}

/// The code for an error that is not a refusal. The error's text is not sent.
fn of_transport(error: &BoxError) -> (Code, &'static str) {
    match of_error(error) {
        Verdict::Unsent => (Code::Unavailable, "the dependency was not reached"),
        Verdict::TimedOut => (Code::DeadlineExceeded, "the dependency did not answer in time"),
        _ => (Code::Internal, "internal error"),
    }
}

fn code(kind: RefusalKind) -> Code {
    match kind {
        RefusalKind::TooLate => Code::DeadlineExceeded,
        RefusalKind::TooOften => Code::ResourceExhausted,
        RefusalKind::Stalled => Code::Cancelled,
        RefusalKind::Unavailable => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::error::{Reason, Rejected};
    use crate::ground::layer_id::LayerKind;

    #[test]
    fn every_reason_and_error_has_its_code() {
        let code = |reason| ErrorAnswer::to(&Rejected::nameless(LayerKind::Bulkhead, reason).into(), false).code;
        for reason in [Reason::DeadlineExpired, Reason::DeadlineExceeded, Reason::HeadTimeout, Reason::IdleTimeout] {
            assert_eq!(code(reason), Code::DeadlineExceeded, "{reason:?}");
        }
        assert_eq!(code(Reason::AttemptTimeout), Code::DeadlineExceeded);
        assert_eq!(code(Reason::HoldExceeded), Code::DeadlineExceeded);
        assert_eq!(code(Reason::RateLimited), Code::ResourceExhausted);
        assert_eq!(code(Reason::RequestIdle), Code::Cancelled);
        for reason in [
            Reason::NotReady,
            Reason::CircuitOpen,
            Reason::QueueFull,
            Reason::QueueTimeout,
            Reason::NotInTime,
            Reason::Displaced,
            Reason::Injected,
            Reason::Quarantined,
            Reason::Throttled,
            Reason::RuntimeLag,
        ] {
            assert_eq!(code(reason), Code::Unavailable, "{reason:?}");
        }
        assert_eq!(ErrorAnswer::to(&"who knows".into(), false).code, Code::Internal);
    }

    /// A wait of microseconds is written with `µ`, which is not ASCII.
    #[test]
    fn non_ascii_message_round_trips() {
        let wait = Some(Duration::from_nanos(1500));
        let rejected = Rejected::nameless(LayerKind::RateLimit, Reason::RateLimited).with_retry_after(wait);
        let headers = ErrorAnswer::to(&rejected.clone().into(), true).headers();
        let status = tonic::Status::from_header_map(&headers).expect("a status");
        assert_eq!((status.code(), status.message()), (tonic::Code::ResourceExhausted, &*rejected.to_string()));
        assert!(!status.message().is_ascii());
        assert_eq!(headers[&PUSHBACK], "1");
    }
}
