//! `endpoint-load-metrics`: how many requests a service has in flight, in its responses. [Balancers](crate::balance) of several clients
//! then compare the same load.
//!
//! The format is ORCA's text format, which Envoy reads, too. Of its fields only one is read: the calls in flight. A utilisation says
//! nothing about an endpoint of another size, and rates lag behind.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::number;
use crate::ground::sync::atomic::{AtomicU32, Ordering};

static HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");

const FORMAT: &[u8] = b"TEXT ";
const IN_FLIGHT: &[u8] = b"named_metrics.in_flight=";

/// The longest value that is read. The header comes from the network.
const MAX_LENGTH: usize = 1024;

/// The calls in flight that a response reports. A value of another form is ignored.
pub(crate) fn reported_in_flight(headers: &HeaderMap) -> Option<u32> {
    // Most services report nothing.
    let value = headers.get(&HEADER)?.as_bytes();
    let fields = value.strip_prefix(FORMAT).filter(|fields| fields.len() <= MAX_LENGTH)?;
    let mut fields = fields.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let number = number::parse(fields.find_map(|field| field.strip_prefix(IN_FLIGHT))?)?;
    u32::try_from(number).ok()
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
        let text = [FORMAT, IN_FLIGHT, others.to_string().as_bytes()].concat();
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

    fn read(value: &[u8]) -> Option<u32> {
        let value = HeaderValue::from_bytes(value).ok()?;
        reported_in_flight(&HeaderMap::from_iter([(HEADER.clone(), value)]))
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
            ("TEXT cpu_utilization=0.3", None),
            ("TEXT named_metrics.in_flight=", None),
            ("TEXT named_metrics.in_flight=-1", None),
            ("TEXT named_metrics.in_flight=1e9", None),
            ("TEXT named_metrics.in_flight=4294967296", None),
            ("JSON {\"named_metrics\":{\"in_flight\":7}}", None),
            ("named_metrics.in_flight=7", None),
            ("", None),
            (&long, None),
        ] {
            assert_eq!(read(value.as_bytes()), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            read(&[FORMAT, &bytes].concat());
        }
    }
}
