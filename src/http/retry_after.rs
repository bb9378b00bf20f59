//! Reads and writes `Retry-After` and its variants: how long a response asks clients to wait.
//!
//! RFC 9110 has two forms, whole seconds and a date. Servers send more forms, and a wait that is not understood leads
//! to a retry that comes too early. The forms that are read, and their senders:
//!
//! | form | sent by |
//! |---|---|
//! | `120`, `+120`, `"120"` | the standard, and servers that add quotes or a sign |
//! | `1.5` | Sentry, Microsoft Graph, SpaceTraders: rate limiters with fractions |
//! | `30s`, `1m30s`, `370ms`, `5 seconds` | durations as printed by Go and others |
//! | `1771404540` | a Unix time, in seconds or milliseconds; as a wait it would be decades |
//! | any [date](date::parse) | relative to the response's own `Date`, the clock that the server means, or else to ours |
//! | `3, 3`, or several headers | proxies that add their own: the longest wait is used |
//! | `retry-after-ms`, `x-ms-retry-after-ms` | Azure, OpenAI; in milliseconds, and preferred because they are finer |
//! | `x-amz-retry-after` | AWS; milliseconds |
//!
//! A value of more than 256 bytes is ignored. If a header occurs more than 16 times, the first 16 values are read.
//!
//! A negative number is ignored: it stands for a reset that has passed.
//!
//! Headers that say when a quota is full again are not read (`x-ratelimit-reset`, `RateLimit-Reset`). They hold a
//! number of seconds, a Unix time or a duration, depending on the sender, and most such responses may be retried
//! earlier.

mod date;

use std::time::{Duration, UNIX_EPOCH};

use ::http::HeaderMap;
use ::http::header::{AGE, DATE, HeaderName, HeaderValue, RETRY_AFTER};

use crate::ground::time;

/// Headers in milliseconds. The first readable one decides.
const IN_MILLIS: [HeaderName; 3] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-amz-retry-after"),
];

/// How many bytes of a value are read. A longer one is ignored.
const LONGEST_VALUE: usize = 256;

/// How many values of a header are read.
const MOST_VALUES: usize = 16;

/// How long the response asks clients to wait. `None` if it does not say, or not in a known form. A date that has
/// passed is a wait of zero.
pub(crate) fn parse(headers: &HeaderMap) -> Option<Duration> {
    let in_millis = IN_MILLIS.iter().find_map(|name| longest(headers, name, |text| delay(text, "ms")));
    in_millis.or_else(|| longest(headers, &RETRY_AFTER, |text| wait(text, headers)))
}

/// The longest wait of a header that occurs several times: it is long enough for every sender that added one.
fn longest(headers: &HeaderMap, name: &HeaderName, parse: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    let values = headers.get_all(name).iter().take(MOST_VALUES).filter(|value| value.len() <= LONGEST_VALUE);
    let values = values.filter_map(|value| value.to_str().ok());
    values.filter_map(|value| parse(value.trim().trim_matches('"').trim())).max()
}

/// One wait, or a comma-separated list that a proxy made of several headers. A date contains a comma, too.
fn wait(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let one = |text: &str| match unix_time(text).or_else(|| date::parse(text)) {
        Some(at) => Some(at.saturating_sub(server_time(headers))),
        None => delay(text, "s"),
    };
    let (mut parts, mut longest) = (text.split(',').map(str::trim), Duration::ZERO);
    while let Some(part) = parts.next() {
        let wait = one(part).or_else(|| one(&format!("{part}, {}", parts.next()?)))?;
        longest = longest.max(wait);
    }
    Some(longest)
}

/// A Unix time instead of a wait: current times have ten digits in seconds (13 in milliseconds), and no wait has.
fn unix_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?;
    match digits.len() {
        10 => digits.parse().ok().map(Duration::from_secs),
        13 => digits.parse().ok().map(Duration::from_millis),
        _ => None,
    }
}

/// The time since 1970 by the clock of the server that made the response; by ours if it does not say.
fn server_time(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    match text(DATE).and_then(date::parse) {
        // A cached response was made earlier, by its age.
        Some(date) => date.saturating_add(Duration::from_secs(text(AGE).and_then(|age| age.parse().ok()).unwrap_or(0))),
        None => time::wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

/// One number, or several with their units: `90`, `1.5`, `30s`, `1m30s`, `2 minutes`. A number without a unit is in
/// `unit`.
fn delay(text: &str, unit: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (mut rest, mut total) = (text, Duration::ZERO);
    loop {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, after) = rest.split_at_checked(number)?;
        let letters = after.trim_start();
        let word = letters.len() - letters.trim_start_matches(char::is_alphabetic).len();
        let (word, after) = letters.split_at_checked(word)?;
        let word = match word {
            "" if rest.len() == text.len() => unit,
            word => word,
        };
        total = total.saturating_add(times(number, word)?);
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(total);
        }
    }
}

fn times(number: &str, unit: &str) -> Option<Duration> {
    let nanos: u64 = match &*unit.to_ascii_lowercase() {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000_000,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if number.trim_matches('.').is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // Digits that do not fit mean a very long time; they are no error.
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    let fraction = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().ok()? };
    let whole = match unit_in_seconds(nanos) {
        Some(seconds) => Duration::from_secs(whole.saturating_mul(seconds)),
        None => Duration::from_nanos(whole.saturating_mul(nanos)),
    };
    // Rounded up, so that a retry never comes earlier than asked.
    Some(whole.saturating_add(Duration::from_nanos((fraction * nanos as f64).ceil() as u64)))
}

fn unit_in_seconds(nanos: u64) -> Option<u64> {
    Some(nanos / 1_000_000_000).filter(|seconds| *seconds > 0)
}

/// Whole seconds, rounded up, and at least one: zero would invite a retry at once.
pub(crate) fn value(wait: Duration) -> HeaderValue {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    HeaderValue::from(seconds.max(1))
}

#[cfg(test)]
mod tests;
