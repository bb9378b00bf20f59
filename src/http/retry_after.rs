//! How long an answer asks to be left alone: `Retry-After` and its relatives, read and written.
//!
//! RFC 9110 has two forms, whole seconds and a date. Servers send more, and a wait that is not understood is a retry that comes too
//! early. What is read, and who sends it:
//!
//! | form | sent by |
//! |---|---|
//! | `120`, `+120`, `"120"` | the standard, and those who quote and sign it |
//! | `1.5` | Sentry, Microsoft Graph, SpaceTraders: limiters that know fractions |
//! | `30s`, `1m30s`, `370ms`, `5 seconds` | durations as Go and others print them |
//! | `1771404540` | a Unix time, in seconds or milliseconds: nobody means 31 years |
//! | any [date](date::parse) | by the response's own `Date`, which is the clock that the server means, or else by ours |
//! | `3, 3`, or several headers | proxies that add their own: the longest satisfies all |
//! | `retry-after-ms`, `x-ms-retry-after-ms` | Azure, OpenAI; milliseconds, and preferred since they are finer |
//! | `x-amz-retry-after` | AWS; milliseconds |
//!
//! A value of more than 256 bytes is ignored, and of one header that is there more than 16 times the first 16 are read.
//!
//! A negative number, a reset that has passed, says nothing.
//!
//! What says when a quota is full again is not read (`x-ratelimit-reset`, `RateLimit-Reset`): it is a number of seconds, a Unix time
//! or a duration, depending on who sends it, and most answers with it may be repeated earlier.

mod date;

use std::time::{Duration, UNIX_EPOCH};

use ::http::HeaderMap;
use ::http::header::{AGE, DATE, HeaderName, HeaderValue, RETRY_AFTER};

use crate::ground::time;

/// In milliseconds. The first that can be read decides.
const IN_MILLIS: [HeaderName; 3] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-amz-retry-after"),
];

/// How many bytes of a value are read. A longer one is ignored.
const LONGEST_VALUE: usize = 256;

/// How many values of a header are read.
const MOST_VALUES: usize = 16;

/// How long the answer with these headers asks to be left alone; `None` if it does not say, or in a way that nobody understands. A
/// date that has passed is no wait at all.
pub(crate) fn parse(headers: &HeaderMap) -> Option<Duration> {
    let in_millis = IN_MILLIS.iter().find_map(|name| longest(headers, name, |text| delay(text, "ms")));
    in_millis.or_else(|| longest(headers, &RETRY_AFTER, |text| wait(text, headers)))
}

/// Of a header that is there several times, the longest wait: it satisfies all that added one.
fn longest(headers: &HeaderMap, name: &HeaderName, parse: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    let values = headers.get_all(name).iter().take(MOST_VALUES).filter(|value| value.len() <= LONGEST_VALUE);
    let values = values.filter_map(|value| value.to_str().ok());
    values.filter_map(|value| parse(value.trim().trim_matches('"').trim())).max()
}

/// One wait, or a list of them that something on the way made of several headers. A date has a comma of its own.
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

/// A number where a Unix time was meant: this year is a number of ten digits, and a wait is not.
fn unix_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?;
    match digits.len() {
        10 => digits.parse().ok().map(Duration::from_secs),
        13 => digits.parse().ok().map(Duration::from_millis),
        _ => None,
    }
}

/// What time it is by the clock that made the answer, since 1970. Where it does not say, by ours.
fn server_time(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    match text(DATE).and_then(date::parse) {
        // An answer that comes out of a cache was made that much earlier.
        Some(date) => date.saturating_add(Duration::from_secs(text(AGE).and_then(|age| age.parse().ok()).unwrap_or(0))),
        None => time::wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

/// A number, or several, each with its unit: `90`, `1.5`, `30s`, `1m30s`, `2 minutes`. A number alone is of `unit`.
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
    // More digits than fit are a very long time, not a mistake.
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    let fraction = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse::<f64>().ok()? };
    let whole = match unit_in_seconds(nanos) {
        Some(seconds) => Duration::from_secs(whole.saturating_mul(seconds)),
        None => Duration::from_nanos(whole.saturating_mul(nanos)),
    };
    // Never sooner than asked for.
    Some(whole.saturating_add(Duration::from_nanos((fraction * nanos as f64).ceil() as u64)))
}

fn unit_in_seconds(nanos: u64) -> Option<u64> {
    Some(nanos / 1_000_000_000).filter(|seconds| *seconds > 0)
}

/// Whole seconds, rounded up, and at least one: "at once" is not what a refusal means.
pub(crate) fn value(wait: Duration) -> HeaderValue {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    HeaderValue::from(seconds.max(1))
}

#[cfg(test)]
mod tests;
