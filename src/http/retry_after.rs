//! The `Retry-After` header, read and written.

use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::{HeaderValue, RETRY_AFTER};

use crate::ground::time;

/// RFC 9110, section 10.2.3: `Retry-After = HTTP-date / delay-seconds`. A date that has passed is no wait at all; what is
/// neither is as if it were not there, and so is a repeated header that does not agree with itself.
pub(crate) fn parse(headers: &HeaderMap) -> Option<Duration> {
    let mut values = headers.get_all(RETRY_AFTER).iter();
    let value = values.next()?;
    if values.any(|other| other != value) {
        return None;
    }
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time, not a mistake.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(time::wall_clock()).unwrap_or_default())
}

/// Whole seconds, rounded up, and at least one: "at once" is not what a refusal means.
pub(crate) fn value(wait: Duration) -> HeaderValue {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    HeaderValue::from(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(values: &[&str]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(RETRY_AFTER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        parse(&headers)
    }

    #[test]
    fn both_forms_are_read_and_anything_else_is_not_there() {
        assert_eq!(parsed(&["120"]), Some(Duration::from_secs(120)));
        assert_eq!(parsed(&[" 0 "]), Some(Duration::ZERO));
        assert_eq!(parsed(&["Sun, 06 Nov 1994 08:49:37 GMT"]), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(time::wall_clock() + Duration::from_secs(100));
        assert!(parsed(&[&later]).is_some_and(|wait| wait > Duration::from_secs(90)));
        assert_eq!(parsed(&["99999999999999999999999"]), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(parsed(&["5", "5"]), Some(Duration::from_secs(5)));
        for hostile in ["", "-1", "1.5", "+3", "soon", "\u{663}", "5;6"] {
            assert_eq!(parsed(&[hostile]), None, "{hostile:?}");
        }
        assert_eq!(parsed(&["5", "6"]), None);
        assert_eq!(parsed(&[]), None);
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(value(Duration::ZERO), "1");
        assert_eq!(value(Duration::from_millis(1001)), "2");
        assert_eq!(value(Duration::from_secs(3)), "3");
        assert_eq!(value(Duration::MAX), "18446744073709551615");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_wait_or_are_not_there(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3)) {
            let mut headers = HeaderMap::new();
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
                headers.append(RETRY_AFTER, value);
            }
            if let Some(wait) = parse(&headers) {
                prop_assert!(!headers.is_empty() && wait.subsec_nanos() < 1_000_000_000);
            }
        }

        #[test]
        fn seconds_are_read_back(seconds: u64) {
            let wait = Duration::from_secs(seconds);
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value(wait))]);
            prop_assert_eq!(parse(&headers), Some(wait.max(Duration::from_secs(1))));
        }
    }
}
