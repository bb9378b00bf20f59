//! Numbers in headers, which may hold anything.

use ::http::HeaderValue;

/// The number of digits of `u64::MAX`.
const MAX_DIGITS: usize = 20;

/// In digits, with one allocation; the conversion of `http` takes two.
pub(super) fn value(number: u64) -> HeaderValue {
    HeaderValue::from_bytes(digits(number, &mut [0; MAX_DIGITS])).unwrap_or_else(|_| HeaderValue::from(number))
}

/// Writes the digits of `number` at the end of `room`.
fn digits(mut number: u64, room: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let mut start = room.len();
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    room.get(start..).unwrap_or_default()
}

/// Parses digits only: no sign, no space, no fraction, not empty. A number that does not fit becomes the largest one.
pub(crate) fn parse(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// The same for a number that must be at least one: there is no attempt number zero.
pub(crate) fn parse_count(value: &[u8]) -> Option<u32> {
    let number = parse(value).filter(|number| *number > 0)?;
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_of_every_length_round_trip() {
        for number in [0, 7, 10, 1999, u64::from(u32::MAX), u64::MAX] {
            assert_eq!((value(number), parse(value(number).as_bytes())), (HeaderValue::from(number), Some(number)));
        }
    }

    #[test]
    fn only_digits_are_parsed() {
        for hostile in ["", " ", "-1", "+1", " 1", "1 ", "1.5", "1,2", "0x10", "1e3", "1_0", "\u{663}", "NaN", "\0"] {
            assert_eq!(parse(hostile.as_bytes()), None, "{hostile:?}");
        }
        assert_eq!(parse(b"\xff1"), None);
        assert_eq!(parse(b"007"), Some(7));
        assert_eq!(parse(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse(b"18446744073709551616"), Some(u64::MAX));
        assert_eq!(parse(&[b'9'; 10_000]), Some(u64::MAX));
        assert_eq!((parse_count(b"0"), parse_count(b"3")), (None, Some(3)));
        assert_eq!(parse_count(b"4294967296"), Some(u32::MAX));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_as_in_std_or_not_at_all(value: Vec<u8>) {
            check(&value);
        }

        #[test]
        fn number_like_text_parses_as_in_std_or_not_at_all(value in "[-+ ]?[0-9]{0,24}[ .,m]?[0-9]{0,2}") {
            check(value.as_bytes());
        }
    }

    fn check(value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(value).unwrap_or_default();
        let expected = digits.then(|| text.parse().unwrap_or(u64::MAX));
        assert_eq!(parse(value), expected);
        assert_eq!(parse_count(value).is_some(), expected.is_some_and(|number: u64| number > 0));
    }
}
