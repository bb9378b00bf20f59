use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::config::{HeaderNames, PropagationConfig};
use super::propagator::{Propagated, Propagator};
use super::{number, priority, retry_forbidden, timeout};
use crate::ground::error::InvalidConfig;
use crate::ground::validation::Validate;

/// Deadlines and attempts in plain HTTP headers.
#[derive(Clone, Debug, Default)]
pub struct HttpPropagator {
    names: Arc<HeaderNames>,
}

impl HttpPropagator {
    /// Uses headers of these names.
    pub(super) fn new(names: HeaderNames) -> Self {
        Self { names: Arc::new(names) }
    }
}

impl PropagationConfig {
    pub(super) fn propagator(self) -> Result<HttpPropagator, InvalidConfig> {
        self.validate()?;
        Ok(HttpPropagator::new(self.headers))
    }
}

impl Propagator for HttpPropagator {
    fn inject(&self, call: &Propagated, headers: &mut HeaderMap) {
        if let Some(time) = call.time_left {
            headers.insert(&self.names.timeout, timeout::value(time));
        }
        if call.attempt > 1 {
            headers.insert(&self.names.attempt, number::value(call.attempt.into()));
        }
        if let Some(priority) = call.priority {
            headers.insert(&self.names.priority, priority::value(priority));
        }
    }

    fn extract(&self, headers: &HeaderMap) -> Propagated {
        let names = &*self.names;
        // Each header is a bound. If there are several, all of them hold.
        let time_left = std::iter::once(&names.timeout)
            .chain(&names.also_understood)
            .flat_map(|name| values(headers, name))
            .filter_map(timeout::parse)
            .min();
        let attempt = values(headers, &names.attempt).filter_map(number::parse_count).max().unwrap_or_default();
        let priority = values(headers, &names.priority).filter_map(priority::parse).min();
        Propagated { time_left, attempt, priority }
    }

    fn forbid_retry<B>(&self, response: &mut Response<B>) {
        retry_forbidden::forbid_retry(response);
    }

    fn forbids_retry<B>(&self, response: &Response<B>) -> bool {
        retry_forbidden::forbids_retry(response.status(), response.headers())
    }
}

/// All values of a header, as they were sent.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn read(pairs: &[(&'static str, &[u8])]) -> (Option<u64>, u32) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let call = HttpPropagator::default().extract(&headers);
        (call.time_left.map(|time| time.as_millis() as u64), call.attempt)
    }

    #[test]
    fn several_bounds_all_hold_and_nonsense_is_ignored() {
        assert_eq!(read(&[]), (None, 0));
        assert_eq!(read(&[("x-request-timeout-ms", b"250")]), (Some(250), 0));
        assert_eq!(read(&[("x-envoy-expected-rq-timeout-ms", b"250")]), (Some(250), 0));
        assert_eq!(read(&[("x-request-timeout-ms", b"90"), ("x-envoy-expected-rq-timeout-ms", b"80")]), (Some(80), 0));
        assert_eq!(read(&[("x-request-timeout-ms", b"7"), ("x-request-timeout-ms", b"5")]), (Some(5), 0));
        assert_eq!(read(&[("x-request-timeout-ms", b"\xff"), ("x-request-timeout-ms", b"5")]), (Some(5), 0));
        assert_eq!(read(&[("x-request-timeout-ms", b"5, 6")]), (None, 0));
        assert_eq!(read(&[("x-envoy-attempt-count", b"3")]), (None, 3));
        assert_eq!(read(&[("x-envoy-attempt-count", b"0")]), (None, 0));
        assert_eq!(read(&[("x-envoy-attempt-count", b"-2"), ("x-envoy-attempt-count", b"2")]), (None, 2));
    }

    #[test]
    fn first_attempt_without_deadline_writes_no_headers() {
        let mut headers = HeaderMap::new();
        HttpPropagator::default().inject(&Propagated { time_left: None, attempt: 1, priority: None }, &mut headers);
        assert!(headers.is_empty());
    }

    proptest! {
        #[test]
        fn any_header_values_are_read_without_panic(values: Vec<Vec<u8>>, numbers: Vec<u64>) {
            let mut headers = HeaderMap::new();
            let written = values.into_iter().chain(numbers.iter().map(|number| number.to_string().into_bytes()));
            for value in written {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append("x-request-timeout-ms", value.clone());
                    headers.append("x-envoy-attempt-count", value);
                }
            }
            let call = HttpPropagator::default().extract(&headers);
            let least = numbers.iter().min().map(|least| Duration::from_millis(*least));
            prop_assert!(least.is_none_or(|least| call.time_left.is_some_and(|time| time <= least)));
        }
    }
}
