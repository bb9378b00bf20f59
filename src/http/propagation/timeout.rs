//! A timeout in whole milliseconds, as in `x-request-timeout-ms`.

use std::time::Duration;

use ::http::HeaderValue;

use super::number;

/// Parses whole milliseconds in digits. Anything else is ignored.
pub(super) fn parse(value: &[u8]) -> Option<Duration> {
    number::parse(value).map(Duration::from_millis)
}

/// Rounded down, so that the receiver never gets more time than is left.
pub(super) fn value(time: Duration) -> HeaderValue {
    number::value(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn milliseconds_are_parsed_and_written() {
        assert_eq!(parse(b"1500"), Some(Duration::from_millis(1500)));
        assert_eq!(parse(b"0"), Some(Duration::ZERO));
        assert_eq!(parse(b"99999999999999999999999999"), Some(Duration::from_millis(u64::MAX)));
        assert_eq!(parse(b"1s"), None);
        assert_eq!(value(Duration::from_micros(1999)), "1");
        assert_eq!(value(Duration::MAX), "18446744073709551615");
    }

    proptest! {
        #[test]
        fn round_trip_loses_less_than_a_millisecond(
            seconds in 0_u64..1 << 54,
            nanos in 0_u32..1_000_000_000,
        ) {
            let time = Duration::new(seconds, nanos);
            let read = parse(value(time).as_bytes()).expect("it is a number");
            prop_assert!(read <= time && time - read < Duration::from_millis(1));
        }
    }
}
