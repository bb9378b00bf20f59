//! `endpoint-load-metrics`: how many requests a service has in flight, in its responses. [Balancers](crate::balance) of several clients
//! then compare the same load.
//!
//! The formats are ORCA's (Open Request Cost Aggregation), as Envoy reads them:
//!
//! | header or trailer | value |
//! |---|---|
//! | `endpoint-load-metrics-bin` | the report in base64, which servers of gRPC send in trailers (gRFC A51). It goes before the other |
//! | `endpoint-load-metrics` | `TEXT named_metrics.in_flight=7`, `JSON {"named_metrics":{"in_flight":7}}`, or `BIN` and the report in base64 |
//!
//! A service writes the text format. Of a report only the calls in flight are read. A utilisation says nothing about an endpoint of another
//! size, and rates lag behind.

mod binary;
mod json;

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Response};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::ground::sync::atomic::{AtomicU32, Ordering};

static HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");
static BINARY_HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");

const TEXT: &[u8] = b"TEXT ";
const JSON: &[u8] = b"JSON ";
const BINARY: &[u8] = b"BIN ";

/// The metric, one of the `named_metrics` of a report.
const NAMED_METRICS: &[u8] = b"named_metrics.";
const NAME: &[u8] = b"in_flight";

/// The longest value that is read. It comes from the network.
const MAX_LENGTH: usize = 1024;

/// Senders disagree about padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The calls in flight that the headers or trailers of a response report. A value of another form is ignored.
#[inline]
pub(crate) fn reported_in_flight(headers: &HeaderMap) -> Option<u32> {
    // Most services report nothing.
    let binary = headers.get(&BINARY_HEADER);
    binary.or_else(|| headers.get(&HEADER)).and_then(|value| read(value.as_bytes(), binary.is_some()))
}

fn read(value: &[u8], is_binary: bool) -> Option<u32> {
    if value.len() > MAX_LENGTH {
        return None;
    }
    let binary = if is_binary { Some(value) } else { value.strip_prefix(BINARY) };
    if let Some(binary) = binary {
        let report = BASE64.decode(binary.trim_ascii()).ok()?;
        return count(binary::named_metric(&report, NAME)?);
    }
    if let Some(text) = value.strip_prefix(TEXT) {
        return count(in_text(text)?);
    }
    count(json::named_metric(value.strip_prefix(JSON)?, NAME)?)
}

/// `key=value` pairs. Older versions of Envoy have a colon between the two.
fn in_text(text: &[u8]) -> Option<f64> {
    text.split(|byte| *byte == b',').find_map(|pair| {
        let at = pair.iter().position(|byte| matches!(byte, b'=' | b':'))?;
        let (key, value) = (pair.get(..at)?.trim_ascii(), pair.get(at + 1..)?.trim_ascii());
        let is_number = key.strip_prefix(NAMED_METRICS) == Some(NAME) && value.first().is_some_and(u8::is_ascii_digit);
        is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok())?
    })
}

/// Metrics are of type `double`.
fn count(metric: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX)).contains(&metric).then_some(metric.round() as u32)
}

/// The requests that a service has in flight.
#[derive(Debug, Default)]
pub(super) struct RequestsInFlight(AtomicU32);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct RequestInFlight(Arc<RequestsInFlight>);

impl RequestsInFlight {
    pub(super) fn begin(self: &Arc<Self>) -> RequestInFlight {
        self.0.fetch_add(1, Ordering::Relaxed);
        RequestInFlight(Arc::clone(self))
    }
}

impl RequestInFlight {
    /// Ends the request, and reports the others in its response. A report that is there already is replaced: a service that forwards the
    /// headers of its dependency would report that one's load.
    pub(super) fn report<B>(self, response: &mut Response<B>) {
        let others = self.0.0.load(Ordering::Relaxed).saturating_sub(1);
        let text = [TEXT, NAMED_METRICS, NAME, b"=", others.to_string().as_bytes()].concat();
        if let Ok(value) = HeaderValue::from_bytes(&text) {
            response.headers_mut().insert(&HEADER, value);
        }
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reported(name: &HeaderName, value: &[u8]) -> Option<u32> {
        let value = HeaderValue::from_bytes(value).ok()?;
        reported_in_flight(&HeaderMap::from_iter([(name.clone(), value)]))
    }

    #[test]
    fn report_is_read_as_it_was_written() {
        let requests = Arc::<RequestsInFlight>::default();
        let (_other, last) = (requests.begin(), requests.begin());
        let mut response = Response::new(());
        last.report(&mut response);
        assert_eq!(response.headers()["endpoint-load-metrics"], "TEXT named_metrics.in_flight=1");
        assert_eq!(reported_in_flight(response.headers()), Some(1));
        assert_eq!(requests.0.load(Ordering::Relaxed), 1, "the request is over");
        let forwarded = HeaderValue::from_static("TEXT named_metrics.in_flight=70");
        response.headers_mut().insert(&HEADER, forwarded);
        requests.begin().report(&mut response);
        assert_eq!(reported_in_flight(response.headers()), Some(1), "that of a dependency is replaced");
    }

    #[test]
    fn only_a_valid_report_is_read() {
        let long = format!("TEXT cpu_utilization=0.{},named_metrics.in_flight=7", "1".repeat(MAX_LENGTH));
        for (value, expected) in [
            ("TEXT cpu_utilization=0.3, named_metrics.in_flight=7,rps_fractional=10.0", Some(7)),
            ("TEXT named_metrics.in_flight=0", Some(0)),
            ("TEXT named_metrics.in_flight=7.0", Some(7)),
            ("TEXT named_metrics.in_flight=1e9", Some(1_000_000_000)),
            ("TEXT cpu_utilization:0.3,named_metrics.in_flight:7", Some(7)),
            ("TEXT cpu_utilization=0.3", None),
            ("TEXT named_metrics.in_flight=", None),
            ("TEXT named_metrics.in_flight=-1", None),
            ("TEXT named_metrics.in_flight=NaN", None),
            ("TEXT named_metrics.in_flight=7 seconds", None),
            ("TEXT named_metrics.in_flight=1e999", None),
            ("TEXT named_metrics.in_flight=4294967296", None),
            ("TEXT utilization.in_flight=0.7", None),
            ("JSON {\"named_metrics\":{\"in_flight\":7}}", Some(7)),
            ("JSON {\"named_metrics\":{\"in_flight\":-7}}", None),
            ("BIN QhQKCWluX2ZsaWdodBEAAAAAAAAcQA==", Some(7)),
            ("BIN QhQKCWluX2ZsaWdodBEAAAAAAAAcQA", Some(7)),
            ("BIN QhQKCWluX2ZsaWdodBEAAAAAAAAc", None),
            ("BIN", None),
            ("named_metrics.in_flight=7", None),
            ("", None),
            (&long, None),
        ] {
            assert_eq!(reported(&HEADER, value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn binary_header_goes_before_the_other() {
        let binary = "QhQKCWluX2ZsaWdodBEAAAAAAAAcQA";
        for (binary, expected) in [(Some(binary), Some(7)), (Some("?"), None), (None, Some(9))] {
            let mut headers =
                HeaderMap::from_iter(binary.map(|value| (BINARY_HEADER.clone(), HeaderValue::from_static(value))));
            headers.insert(&HEADER, HeaderValue::from_static("TEXT named_metrics.in_flight=9"));
            assert_eq!(reported_in_flight(&headers), expected, "{binary:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            for format in [TEXT, JSON, BINARY, b"TEXT named_metrics.in_flight="] {
                reported(&HEADER, &[format, &bytes].concat());
            }
            reported(&BINARY_HEADER, &bytes);
            reported(&BINARY_HEADER, BASE64.encode(&bytes).as_bytes());
        }

        #[test]
        fn count_in_text_is_read_as_written(number: u32) {
            for text in [number.to_string(), format!("{:?}", f64::from(number))] {
                prop_assert_eq!(reported(&HEADER, format!("TEXT named_metrics.in_flight={text}").as_bytes()), Some(number));
            }
        }
    }
}
