use proptest::prelude::*;

use super::*;

const EPOCH_OF_EXAMPLE: u64 = 784_111_777;

fn parsed(values: &[&str]) -> Option<Duration> {
    of(values.iter().map(|value| (RETRY_AFTER, *value)))
}

fn of<'a>(values: impl IntoIterator<Item = (HeaderName, &'a str)>) -> Option<Duration> {
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    parse(&headers)
}

fn secs(seconds: f64) -> Option<Duration> {
    Some(Duration::from_secs_f64(seconds))
}

#[test]
fn numbers_in_common_server_forms_are_parsed() {
    for (text, seconds) in [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("\t7 ", 7.0),
        ("+5", 5.0),
        ("\"5\"", 5.0),
        ("007", 7.0),
        ("1.5", 1.5),
        ("0.503", 0.503),
        ("2.", 2.0),
        (".5", 0.5),
        ("5s", 5.0),
        ("5S", 5.0),
        ("5 seconds", 5.0),
        ("1 second", 1.0),
        ("370ms", 0.37),
        ("1m30s", 90.0),
        ("1m 30s", 90.0),
        ("2m59.56s", 179.56),
        ("1h0m0s", 3600.0),
        ("2 minutes", 120.0),
        ("3, 3", 3.0),
        ("3,7", 7.0),
        ("1.5s, 1s", 1.5),
    ] {
        let read = parsed(&[text]).unwrap_or_else(|| panic!("{text:?} is not read"));
        assert!((read.as_secs_f64() - seconds).abs() < 1e-6, "{text:?}: {read:?}");
    }
    assert_eq!(parsed(&["99999999999999999999999"]), Some(Duration::from_secs(u64::MAX)));
    assert!(parsed(&["99999999999999999999999h"]).is_some_and(|wait| wait > Duration::from_secs(1 << 60)));
}

#[test]
fn unreadable_text_is_ignored() {
    for hostile in [
        "",
        " ",
        "soon",
        "\u{663}",
        "5;6",
        ".",
        "-",
        "+",
        "1.2.3",
        "1e3",
        "inf",
        "nan",
        "0x10",
        "5 parsecs",
        "s",
        "5s6",
        "1,",
        ",",
        "3, soon",
        "-1",
        "-0.5",
        "--5",
        "+-5",
        "1 2",
        "Sun,",
        "never",
        "Sun, 06 Nov",
        "32 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 XYZ",
        "1994-13-06T08:49:37Z",
        "1994-11-06",
    ] {
        assert_eq!(parsed(&[hostile]), None, "{hostile:?}");
    }
    assert_eq!(parsed(&[]), None);
}

#[test]
fn several_values_yield_the_longest() {
    assert_eq!(parsed(&["5", "5"]), secs(5.0));
    assert_eq!(parsed(&["5", "6"]), secs(6.0));
    assert_eq!(parsed(&["soon", "6"]), secs(6.0));
    let now = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
    for list in [
        "Sun, 06 Nov 1994 08:49:47 GMT, Sun, 06 Nov 1994 08:49:47 GMT",
        "5, Sun, 06 Nov 1994 08:49:47 GMT",
        "Sun, 06 Nov 1994 08:49:47 GMT, 5s",
        "Sun Nov  6 08:49:47 1994, 1",
    ] {
        assert_eq!(of([now.clone(), (RETRY_AFTER, list)]), secs(10.0), "{list}");
    }
}

#[test]
fn headers_in_milliseconds_are_preferred() {
    let millis = ["retry-after-ms", "x-ms-retry-after-ms", "x-amz-retry-after"];
    for name in millis {
        let name = HeaderName::from_static(name);
        assert_eq!(of([(RETRY_AFTER, "2"), (name.clone(), "1500")]), secs(1.5), "{name}");
        assert_eq!(of([(name.clone(), "20.5")]), secs(0.0205), "{name}");
        assert_eq!(of([(RETRY_AFTER, "2"), (name.clone(), "")]), secs(2.0), "{name}: what is not read decides nothing");
        assert_eq!(of([(RETRY_AFTER, "2"), (name, "soon")]), secs(2.0));
    }
    let reset = HeaderName::from_static("x-ratelimit-reset");
    assert_eq!(of([(reset, "60")]), None, "it may be a time or a duration, and is when a quota is full again");
}

/// Different forms of one instant.
const SAME: [&str; 19] = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "sun, 06 nov 1994 08:49:37 gmt",
    "SUN, 06 NOV 1994 08:49:37 GMT",
    "Mon, 06 Nov 1994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun,06 Nov 1994 08:49:37 GMT",
    "06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 06 Nov 1994 09:49:37 +0100",
    "Sun, 06 Nov 1994 03:49:37 -0500",
    "Sun, 06 Nov 1994 03:49:37 EST",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Sun Nov  6 08:49:37 UTC 1994",
    "1994-11-06T08:49:37Z",
    "1994-11-06t10:19:37+01:30",
    "1994-11-06 08:49:37",
];

#[test]
fn date_in_every_known_form_is_parsed() {
    for text in SAME {
        assert_eq!(date::parse(text), Some(Duration::from_secs(EPOCH_OF_EXAMPLE)), "{text}");
    }
    assert_eq!(date::parse("1994-11-06T08:49:37.25Z"), secs(784_111_777.25));
    assert_eq!(date::parse("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(date::parse("Wed, 01 Jan 1902 00:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(date::parse("Tue, 29 Feb 2028 00:00:00 GMT"), Some(Duration::from_secs(1_835_395_200)));
}

/// The server's clock may be years off: a date is relative to the `Date` of the same response.
#[test]
fn date_is_relative_to_the_responses_date() {
    for now in SAME {
        let after = "Sun, 06 Nov 1994 08:49:47 GMT";
        assert_eq!(of([(DATE, now), (RETRY_AFTER, after)]), secs(10.0), "{now}");
        assert_eq!(of([(DATE, after), (RETRY_AFTER, now)]), secs(0.0), "it has passed: {now}");
    }
    let cached = [(DATE, SAME[0]), (AGE, "4"), (RETRY_AFTER, "Sun, 06 Nov 1994 08:49:47 GMT")];
    assert_eq!(of(cached), secs(6.0), "a cache has held it for four seconds");
    let unix = [(DATE, "Wed, 18 Feb 2026 08:49:00 GMT"), (RETRY_AFTER, "1771404545")];
    assert_eq!(of(unix), secs(5.0));
    let unix = [(DATE, "Wed, 18 Feb 2026 08:49:00 GMT"), (RETRY_AFTER, "1771404545500")];
    assert_eq!(of(unix), secs(5.5));
}

#[test]
fn date_without_a_response_date_uses_our_clock() {
    assert_eq!(parsed(&[SAME[0]]), secs(0.0));
    let later = httpdate::fmt_http_date(time::wall_clock() + Duration::from_secs(100));
    for date in [None, Some((DATE, "yesterday"))] {
        let wait = of([(RETRY_AFTER, later.as_str())].into_iter().chain(date)).unwrap();
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
    }
}

#[test]
fn seconds_are_rounded_up() {
    assert_eq!(value(Duration::ZERO), "1");
    assert_eq!(value(Duration::from_millis(1001)), "2");
    assert_eq!(value(Duration::from_secs(3)), "3");
    assert_eq!(value(Duration::MAX), "18446744073709551615");
}

/// The work must not grow faster than the value: one response must not keep a worker of the runtime busy.
#[test]
fn overlong_values_are_ignored() {
    for piece in ["a-", "1-", "1m", "1, ", "0", ",", " ", "Sun, 06 Nov 1994 08:49:47 GMT, ", "-1994", ":-"] {
        let long = format!("{}1", piece.repeat(400_000 / piece.len()));
        for name in IN_MILLIS.into_iter().chain([RETRY_AFTER]) {
            assert_eq!(of([(name.clone(), long.as_str())]), None, "{name}: {piece:?}");
            assert_eq!(of([(name, long.as_str()), (RETRY_AFTER, "7")]), secs(7.0), "{piece:?}");
        }
        let wait = of([(DATE, long.as_str()), (AGE, long.as_str()), (RETRY_AFTER, SAME[0])]);
        assert_eq!(wait, secs(0.0), "a date that is not read is as if it were not there: {piece:?}");
        assert_eq!(date::parse(&long), None);
    }
    let date = format!("{}{}", " ".repeat(LONGEST_VALUE), SAME[0]);
    assert_eq!(parsed(&[&date]), None);
    assert_eq!(
        date::parse("Wednesday, 07-September-1994 08:49:37.123456789 GMT+00:00").map(|at| at.as_secs()),
        Some(778_927_777)
    );
}

#[test]
fn values_beyond_the_limit_are_not_read() {
    let mut values = vec!["5"; 10_000];
    values.push("6");
    assert_eq!(parsed(&values), secs(5.0));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_ignored(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3)) {
        let mut headers = HeaderMap::new();
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(RETRY_AFTER, value);
        }
        if let Some(wait) = parse(&headers) {
            prop_assert!(!headers.is_empty() && wait.subsec_nanos() < 1_000_000_000);
        }
    }

    #[test]
    fn date_or_duration_like_text_does_not_panic(text in "[-+ .,:0-9TZGMTsunovmh\u{b5}é]{0,40}", date in "[-+ ,:0-9a-z]{0,40}") {
        let _ = parsed(&[&text]);
        let _ = of([(DATE, date.as_str()), (AGE, "-9"), (RETRY_AFTER, date.as_str())]);
    }

    #[test]
    fn dates_round_trip(seconds in 0u64..253_402_300_800) {
        let date = UNIX_EPOCH + Duration::from_secs(seconds);
        prop_assert_eq!(date::parse(&httpdate::fmt_http_date(date)), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn seconds_round_trip(seconds in 0u64..1_000_000_000) {
        let wait = Duration::from_secs(seconds);
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value(wait))]);
        prop_assert_eq!(parse(&headers), Some(wait.max(Duration::from_secs(1))));
    }
}
