use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::timeout;
use crate::grpc::Code;
use crate::grpc::status::{self, PUSHBACK, Pushback};
use crate::http::propagation::{Propagated, Propagator, number, priority, values};

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
static PRIORITY: HeaderName = HeaderName::from_static("x-priority");

/// Deadlines and attempts in gRPC's own headers.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GrpcPropagator;

impl Propagator for GrpcPropagator {
    fn inject(&self, call: &Propagated, headers: &mut HeaderMap) {
        if let Some(value) = call.time_left.and_then(timeout::value) {
            headers.insert(&TIMEOUT, value);
        }
        if call.attempt > 1 {
            headers.insert(&PREVIOUS_ATTEMPTS, HeaderValue::from(call.attempt - 1));
        }
        if let Some(priority) = call.priority {
            headers.insert(&PRIORITY, priority::value(priority));
        }
    }

    fn extract(&self, headers: &HeaderMap) -> Propagated {
        let time_left = timeout_of(headers);
        let previous = values(headers, &PREVIOUS_ATTEMPTS).filter_map(number::parse_count).max();
        let attempt = previous.map_or(0, |previous| previous.saturating_add(1));
        let priority = values(headers, &PRIORITY).filter_map(priority::parse).min();
        Propagated { time_left, attempt, priority }
    }

    fn forbid_retry<B>(&self, response: &mut Response<B>) {
        if has_failed(response) {
            response.headers_mut().entry(&PUSHBACK).or_insert(HeaderValue::from_static("-1"));
        }
    }

    fn forbids_retry<B>(&self, response: &Response<B>) -> bool {
        has_failed(response) && status::pushback(response.headers()) == Pushback::Never
    }

    fn has_failed<B>(&self, response: &Response<B>) -> bool {
        has_failed(response)
    }
}

/// The value of `grpc-timeout`. If there are several, the smallest holds.
pub(in crate::grpc) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    values(headers, &TIMEOUT).filter_map(timeout::parse).min()
}

/// Whether the head itself says that the call failed. A stream that fails later has handed messages on already, and is
/// not retried.
fn has_failed<B>(response: &Response<B>) -> bool {
    response.status().is_server_error() || status::code(response.headers()).is_some_and(|code| code != Code::Ok)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ground::context::Priority;
    use crate::http::propagation::nothing_lengthens;

    proptest! {
        #[test]
        fn no_headers_lengthen_a_deadline(
            bytes: Vec<u8>,
            timeout in "[0-9]{1,9}[HMSmun]",
            inherited in prop::option::of(0_u64..1_000_000),
            max_timeout in 1_u64..1_000_000,
        ) {
            let headers = [
                ("grpc-timeout", bytes.clone()),
                ("grpc-timeout", timeout.into_bytes()),
                ("grpc-previous-rpc-attempts", bytes),
            ];
            let inherited = inherited.map(Duration::from_millis);
            nothing_lengthens(GrpcPropagator, &headers, inherited, Duration::from_millis(max_timeout));
        }
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> (Option<Duration>, u32) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let call = GrpcPropagator.extract(&headers);
        (call.time_left, call.attempt)
    }

    #[test]
    fn headers_round_trip() {
        let mut headers = HeaderMap::new();
        let call =
            Propagated { time_left: Some(Duration::from_millis(300)), attempt: 3, priority: Some(Priority::Low) };
        GrpcPropagator.inject(&call, &mut headers);
        assert_eq!(headers["grpc-timeout"], "300000u");
        assert_eq!(headers["grpc-previous-rpc-attempts"], "2");
        assert_eq!(GrpcPropagator.extract(&headers), call);
    }

    #[test]
    fn first_attempt_writes_no_previous_attempts() {
        let mut headers = HeaderMap::new();
        GrpcPropagator.inject(&Propagated { time_left: None, attempt: 1, priority: None }, &mut headers);
        assert!(headers.is_empty());
        assert_eq!(read(&[("grpc-previous-rpc-attempts", "0")]), (None, 0));
    }

    #[test]
    fn several_bounds_all_hold_and_nonsense_is_ignored() {
        assert_eq!(read(&[("grpc-timeout", "5S"), ("grpc-timeout", "1S")]).0, Some(Duration::from_secs(1)));
        assert_eq!(read(&[("grpc-timeout", "-1S"), ("grpc-timeout", "2S")]).0, Some(Duration::from_secs(2)));
        assert_eq!(read(&[("grpc-timeout", "1S, 2S")]).0, None);
        assert_eq!(read(&[("grpc-previous-rpc-attempts", "4294967295")]).1, u32::MAX);
        assert_eq!(read(&[("grpc-previous-rpc-attempts", "many")]).1, 0);
    }

    #[test]
    fn only_a_failure_forbids_retries() {
        let answer = |status: &str, pushback: &str| {
            let response = Response::builder().header("grpc-status", status).header("grpc-retry-pushback-ms", pushback);
            response.body(()).unwrap()
        };
        for (status, pushback, forbids) in
            [("14", "-1", true), ("14", "soon", true), ("14", "", true), ("14", "250", false), ("0", "-1", false)]
        {
            assert_eq!(GrpcPropagator.forbids_retry(&answer(status, pushback)), forbids, "{status} {pushback}");
        }
        let mut failed = Response::builder().header("grpc-status", "14").body(()).unwrap();
        assert!(!GrpcPropagator.forbids_retry(&failed));
        GrpcPropagator.forbid_retry(&mut failed);
        assert!(GrpcPropagator.forbids_retry(&failed));
        let mut fine = Response::new(());
        GrpcPropagator.forbid_retry(&mut fine);
        assert!(fine.headers().is_empty());
    }
}
