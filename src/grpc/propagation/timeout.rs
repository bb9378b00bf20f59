//! `grpc-timeout`, as *gRPC over HTTP2* defines it: "Timeout → grpc-timeout TimeoutValue TimeoutUnit; TimeoutValue →
//! {positive integer as ASCII string of at most 8 digits}; TimeoutUnit → Hour / Minute / Second / Millisecond /
//! Microsecond / Nanosecond".

use std::time::Duration;

use ::http::HeaderValue;

use crate::http::propagation::number;

/// Each unit in nanoseconds, the finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

const MAX_DIGITS: usize = 8;
const MAX_NUMBER: u128 = 99_999_999;

/// Values outside of the grammar are ignored. Zero is accepted although the grammar excludes it: some senders write it
/// when no time is left.
pub(super) fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let number = number::parse(digits)?;
    let nanos = u128::from(number) * u128::from(*nanos);
    // Eight digits of hours are eleven thousand years, which fits into a `Duration`.
    Some(Duration::new(u64::try_from(nanos / 1_000_000_000).ok()?, (nanos % 1_000_000_000) as u32))
}

/// Written in the finest unit that eight digits can hold, and rounded down, so that the receiver never gets more time
/// than is left.
pub(super) fn value(time: Duration) -> Option<HeaderValue> {
    let nanos = time.as_nanos();
    let fitting = UNITS.iter().map(|(letter, unit)| (*letter, nanos / u128::from(*unit)));
    let (letter, mut number) = fitting.clone().find(|(_, number)| *number <= MAX_NUMBER).unwrap_or((b'H', MAX_NUMBER));
    let mut text = [letter; MAX_DIGITS + 1];
    let mut start = MAX_DIGITS;
    for (place, digit) in text.iter_mut().enumerate().take(MAX_DIGITS).rev() {
        *digit = b'0' + (number % 10) as u8;
        start = place;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(text.get(start..)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(time: Duration) -> String {
        value(time).and_then(|value| value.to_str().map(str::to_owned).ok()).expect("there is always a value")
    }

    #[test]
    fn only_the_grammar_is_parsed() {
        for (text, nanos) in [
            ("1n", 1),
            ("12u", 12_000),
            ("500m", 500_000_000),
            ("3S", 3_000_000_000),
            ("2M", 120_000_000_000),
            ("1H", 3_600_000_000_000),
            ("00000100m", 100_000_000),
            ("0m", 0),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(Duration::from_nanos(nanos)), "{text}");
        }
        assert_eq!(parse(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for hostile in [
            "",
            "m",
            "5",
            "123456789m",
            "000000001m",
            "-5m",
            "+5m",
            " 5m",
            "5m ",
            "5 m",
            "5.0m",
            "5,5m",
            "5s",
            "5h",
            "5N",
            "5U",
            "5ms",
            "m5",
            "5mm",
            "\u{663}m",
            "99999999999999999999999H",
            "1m1m",
        ] {
            assert_eq!(parse(hostile.as_bytes()), None, "{hostile:?}");
        }
        assert_eq!(parse(b"\xff\xffm"), None);
    }

    #[test]
    fn finest_unit_that_fits_is_written() {
        for (nanos, text) in [
            (0, "0n"),
            (1, "1n"),
            (99_999_999, "99999999n"),
            (100_000_000, "100000u"),
            (300_000_999, "300000u"),
            (99_999_999_999, "99999999u"),
            (100_000_000_000, "100000m"),
        ] {
            assert_eq!(written(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(written(Duration::from_secs(99_999)), "99999000m");
        assert_eq!(written(Duration::from_secs(100_000)), "100000S");
        assert_eq!(written(Duration::from_secs(100_000_000)), "1666666M");
        assert_eq!(written(Duration::from_secs(6_000_000_000)), "1666666H");
        assert_eq!(written(Duration::MAX), "99999999H");
    }

    proptest! {
        #[test]
        fn any_bytes_are_ignored_or_within_the_grammar(value: Vec<u8>) {
            check(&value);
        }

        #[test]
        fn timeout_like_text_is_ignored_or_within_the_grammar(value in "[-+ ]?[0-9]{0,10}[.]?[0-9]{0,2} ?[HMSmunhs]{0,2}") {
            check(value.as_bytes());
        }

        #[test]
        fn round_trip_never_lengthens_and_loses_less_than_a_unit(
            seconds in prop_oneof![0_u64..2, 0_u64..1_000_000, 0_u64..99_999_999 * 3600],
            nanos in 0_u32..1_000_000_000,
        ) {
            let time = Duration::new(seconds, nanos);
            let text = written(time);
            prop_assert!((2..=9).contains(&text.len()));
            let read = parse(text.as_bytes()).expect("it keeps to the grammar");
            let unit = UNITS.iter().find(|(letter, _)| text.as_bytes().last() == Some(letter)).expect("a unit").1;
            prop_assert!(read <= time && time - read < Duration::from_nanos(unit), "{time:?} as {text}");
            // With eight digits, a change of units loses at most a ten-thousandth, from seconds to minutes and hours.
            prop_assert!(time - read <= time / 10_000 + Duration::from_nanos(1), "{time:?} as {text}");
        }
    }

    fn check(value: &[u8]) {
        let keeps_to_it = value.len() >= 2
            && value.len() <= 9
            && value[..value.len() - 1].iter().all(u8::is_ascii_digit)
            && b"HMSmun".contains(&value[value.len() - 1]);
        let read = parse(value);
        assert_eq!(read.is_some(), keeps_to_it, "{value:?}");
        assert!(read.is_none_or(|time| time <= Duration::from_secs(99_999_999 * 3600)));
    }
}
