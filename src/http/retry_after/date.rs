//! Dates in headers, in the forms that servers send.

use std::time::Duration;

/// The longest accepted date: `Wednesday, 07-September-1994 08:49:37.123456789 GMT+00:00` has 57 bytes.
const LONGEST: usize = 64;

/// The time since 1970 of a date in any form that servers send, in upper or lower case:
///
/// | form | |
/// |---|---|
/// | `Sun, 06 Nov 1994 08:49:37 GMT` | the standard form |
/// | `Sunday, 06-Nov-94 08:49:37 GMT` | RFC 850, obsolete |
/// | `Sun Nov  6 08:49:37 1994` | C's `asctime`, obsolete, also with a zone before the year |
/// | `6 Nov 1994 08:49 +0100` | as in mails: any zone, no day of the week, no seconds |
/// | `1994-11-06T08:49:37.5Z` | RFC 3339 |
///
/// The day of the week is ignored, because the date is enough. A date before 1970 counts as 1970.
/// Text of more than [`LONGEST`] bytes is not parsed.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_ascii_lowercase();
    parse_rfc3339(&text).or_else(|| parse_words(&text))
}

/// A date with the month in letters.
fn parse_words(text: &str) -> Option<Duration> {
    // `06-Nov-94` is split into three words. A zone of `-0500` is not split: no letter or digit comes before its sign.
    let separates = |(at, c): (usize, char)| {
        let is_hyphen_of_date = c == '-'
            && text.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_ascii_alphanumeric()))
            && !text.get(..at).is_some_and(|before| before.contains(':'));
        c == ',' || c.is_ascii_whitespace() || is_hyphen_of_date
    };
    let mut words = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        if separates((at, c)) {
            words.extend(text.get(start..at).filter(|word| !word.is_empty()));
            start = at + c.len_utf8();
        }
    }
    if words.first().is_some_and(|word| is_weekday(word)) {
        words.remove(0);
    }
    match words[..] {
        [day, month, year, time] if number(day).is_some() => at(year, month, day, time, None),
        [day, month, year, time, zone] if number(day).is_some() => at(year, month, day, time, Some(zone)),
        [month, day, time, year] => at(year, month, day, time, None),
        [month, day, time, zone, year] => at(year, month, day, time, Some(zone)),
        _ => None,
    }
}

fn is_weekday(word: &str) -> bool {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].iter().any(|day| word.starts_with(day))
}

fn at(year: &str, month: &str, day: &str, time: &str, zone: Option<&str>) -> Option<Duration> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let month = MONTHS.iter().position(|name| month.starts_with(name))? as i64 + 1;
    let year = match (number(year)?, year.len()) {
        // Two digits from 70 on are of the last century.
        (year, 2) => {
            if year < 70 {
                year + 2000
            } else {
                year + 1900
            }
        }
        (year, 4) => year,
        _ => return None,
    };
    let (time, fraction) = seconds(time)?;
    since_1970(days(year, month, number(day)?)?, time - zone.map_or(Some(0), offset)?, fraction)
}

fn parse_rfc3339(text: &str) -> Option<Duration> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { return None };
    let rest = rest.strip_prefix(['t', ' '])?;
    let zone_at = rest.find(|c: char| c != ':' && c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
    let (time, zone) = rest.split_at_checked(zone_at)?;
    let (time, fraction) = seconds(time)?;
    let zone = zone.trim();
    let offset = if zone.is_empty() { 0 } else { offset(zone)? };
    since_1970(days(number(year)?, number(month)?, number(day)?)?, time - offset, fraction)
}

fn since_1970(days: i64, seconds: i64, fraction: Duration) -> Option<Duration> {
    let seconds = days.checked_mul(86_400)?.checked_add(seconds)?;
    Some(u64::try_from(seconds).map_or(Duration::ZERO, Duration::from_secs).saturating_add(fraction))
}

/// A number of one to nine digits, and nothing else.
fn number(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// `08:49:37`, `08:49`, `08:49:37.5`
fn seconds(text: &str) -> Option<(i64, Duration)> {
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = match fraction {
        "" => Duration::ZERO,
        digits => Duration::try_from_secs_f64(format!("0.{}", number(digits).map(|_| digits)?).parse().ok()?).ok()?,
    };
    let mut parts = text.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let is_time = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    is_time.then_some((hour * 3600 + minute * 60 + second, fraction))
}

/// The offset of a zone from UTC, in seconds.
fn offset(zone: &str) -> Option<i64> {
    let hours = match zone {
        "gmt" | "utc" | "ut" | "z" => 0,
        "edt" => -4,
        "est" | "cdt" => -5,
        "cst" | "mdt" => -6,
        "mst" | "pdt" => -7,
        "pst" => -8,
        "cet" => 1,
        "cest" => 2,
        _ => {
            let zone = zone.trim_start_matches("gmt").trim_start_matches("utc");
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits = zone.strip_prefix(['+', '-'])?.replace(':', "");
            let (hours, minutes) = match digits.len() {
                1 | 2 => (number(&digits)?, 0),
                4 => (number(digits.get(..2)?)?, number(digits.get(2..)?)?),
                _ => return None,
            };
            return (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60));
        }
    };
    Some(hours * 3600)
}

/// The days from 1970 to a day of the Gregorian calendar, by counting years from March.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year > 9999 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    // March of the year 0 is 719,468 days before 1970.
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}
