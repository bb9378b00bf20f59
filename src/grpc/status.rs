//! Reads and writes the headers and trailers that carry the result of a gRPC call.

use std::time::Duration;

use ::http::header::{HeaderName, HeaderValue};
use ::http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;

use crate::grpc::Code;

pub(crate) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) static DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
pub(crate) static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The code in headers or trailers. `UNKNOWN` if the value is no number, is the number of no code, or occurs several
/// times with different values.
pub(crate) fn code(headers: &HeaderMap) -> Option<Code> {
    let value = match only(headers, &STATUS)? {
        Ok(value) => value,
        Err(Disagreement) => return Some(Code::Unknown),
    };
    // `Status → "grpc-status" 1*DIGIT`: no sign and no space.
    let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    Some(digits.and_then(|digits| digits.parse().ok()).and_then(Code::from_i32).unwrap_or(Code::Unknown))
}

/// The code of a response without one, by the specification's
/// [mapping](https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html) of HTTP statuses. Such a response
/// comes from a proxy, not from the service.
pub(crate) fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// Whether the status has this message.
pub(crate) fn message_is(headers: &HeaderMap, message: &str) -> bool {
    headers.get(&MESSAGE).is_some_and(|value| percent_decode(value.as_bytes()).eq(message.bytes()))
}

/// What the service says about another attempt (gRFC A6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Nothing.
    Silent,
    /// Not before this much time has passed.
    After(Duration),
    /// Do not retry.
    Never,
}

/// "If the value for pushback is negative or unparseable, then it will be seen as the server asking the client not to
/// retry at all." The value is a decimal number of 32 bits.
pub(crate) fn pushback(headers: &HeaderMap) -> Pushback {
    match only(headers, &PUSHBACK) {
        None => Pushback::Silent,
        // `parse` alone would also accept a plus sign.
        Some(Ok(value)) if value.bytes().all(|byte| byte.is_ascii_digit()) => match value.parse::<i32>() {
            Ok(millis) => Pushback::After(Duration::from_millis(u64::from(millis.unsigned_abs()))),
            Err(_) => Pushback::Never,
        },
        Some(_) => Pushback::Never,
    }
}

/// Whole milliseconds, rounded up. A wait that is too long for the header becomes the longest that fits.
pub(crate) fn pushback_value(wait: Duration) -> HeaderValue {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    HeaderValue::from(i32::try_from(millis).unwrap_or(i32::MAX))
}

/// A header has several values that differ.
struct Disagreement;

/// The one value of a header, if it is there. A value that is not ASCII becomes the empty string.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Result<&'a str, Disagreement>> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.any(|other| other != value) {
        return Some(Err(Disagreement));
    }
    Some(Ok(value.to_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
        let values = values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok());
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn status_that_is_not_digits_is_unknown() {
        let code = |values: &[&[u8]]| code(&headers(&STATUS, values));
        assert_eq!(code(&[]), None);
        for known in Code::ALL {
            assert_eq!(code(&[known.to_i32().to_string().as_bytes()]), Some(known));
        }
        assert_eq!(code(&[b"14", b"14"]), Some(Code::Unavailable));
        for hostile in [&b""[..], b"-1", b"+0", b" 0", b"17", b"99999999999999999999", b"OK", b"\xff", b"0x0"] {
            assert_eq!(code(&[hostile]), Some(Code::Unknown), "{hostile:?}");
        }
        assert_eq!(code(&[b"0", b"14"]), Some(Code::Unknown));
    }

    #[test]
    fn pushback_is_a_wait_or_do_not_retry() {
        let pushback = |values: &[&[u8]]| pushback(&headers(&PUSHBACK, values));
        assert_eq!(pushback(&[]), Pushback::Silent);
        assert_eq!(pushback(&[b"0"]), Pushback::After(Duration::ZERO));
        assert_eq!(pushback(&[b"1500"]), Pushback::After(Duration::from_millis(1500)));
        assert_eq!(pushback(&[b"2147483647"]), Pushback::After(Duration::from_millis(2_147_483_647)));
        assert_eq!(pushback(&[b"20", b"20"]), Pushback::After(Duration::from_millis(20)));
        for never in [&b"-1"[..], b"", b"+5", b"1.5", b"1 ", b"2147483648", b"soon", b"\xff\xff", b"-9999999999"] {
            assert_eq!(pushback(&[never]), Pushback::Never, "{never:?}");
        }
        assert_eq!(pushback(&[b"20", b"30"]), Pushback::Never);
    }

    #[test]
    fn pushback_round_trip_is_never_shorter() {
        for (wait, written) in [
            (Duration::ZERO, "0"),
            (Duration::from_nanos(1), "1"),
            (Duration::from_micros(1500), "2"),
            (Duration::MAX, "2147483647"),
        ] {
            assert_eq!(pushback_value(wait), written);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn hostile_values_do_not_panic(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..14), 0..4),
        ) {
            let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let _ = code(&headers(&STATUS, &values));
            if let Pushback::After(wait) = pushback(&headers(&PUSHBACK, &values)) {
                prop_assert!(wait <= Duration::from_millis(i32::MAX as u64));
            }
        }

        #[test]
        fn any_number_is_read_as_its_code_or_unknown(number: i64) {
            let text = number.to_string();
            let expected = match i32::try_from(number) {
                Ok(millis @ 0..) => Pushback::After(Duration::from_millis(millis as u64)),
                _ => Pushback::Never,
            };
            prop_assert_eq!(pushback(&headers(&PUSHBACK, &[text.as_bytes()])), expected);
            let expected = i32::try_from(number).ok().and_then(Code::from_i32).unwrap_or(Code::Unknown);
            prop_assert_eq!(code(&headers(&STATUS, &[text.as_bytes()])), Some(expected));
        }

        #[test]
        fn wait_survives_the_header(nanos in 0..2_147_483_647_000_000_u64) {
            let wait = Duration::from_nanos(nanos);
            let value = pushback_value(wait);
            let Pushback::After(read) = pushback(&headers(&PUSHBACK, &[value.as_bytes()])) else {
                return Err(TestCaseError::fail("not read back"));
            };
            prop_assert!(read >= wait && read - wait < Duration::from_millis(1));
        }
    }
}
