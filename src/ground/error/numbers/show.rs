//! The formats of numbers: text and data.

use std::fmt;
use std::time::Duration;

use super::Numbers;
use crate::ground::error::{Trip, TripCause};

/// The known numbers on one line: `time left 12.0ms, expected 80.0ms, waiting 3, limit 16`.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut write = |text: fmt::Arguments<'_>| {
            write!(f, "{separator}{text}")?;
            separator = ", ";
            Ok(())
        };
        let digits = digits(self.time_left(), self.expected());
        if let Some(time) = self.time_left() {
            write(format_args!("time left {time:.digits$?}"))?;
        }
        if let Some(time) = self.expected() {
            write(format_args!("expected {time:.digits$?}"))?;
        }
        if let Some(calls) = self.waiting() {
            write(format_args!("waiting {calls}"))?;
        }
        match (self.limit(), self.per()) {
            (Some(limit), Some(per)) => write(format_args!("limit {limit} per {per:?}"))?,
            (Some(limit), None) => write(format_args!("limit {limit}"))?,
            (None, _) => {}
        }
        if let Some(trip) = self.trip() {
            write(format_args!("{}", TripCalls(trip)))?;
        }
        if let Some(time) = self.open_for() {
            write(format_args!("open for {time:.1?}"))?;
        }
        if let Some(breaks) = self.breaks().filter(|breaks| *breaks > 1) {
            write(format_args!("break {breaks}"))?;
        }
        if let (Some(endpoints), Some(open), Some(ejected)) = (self.endpoints(), self.open(), self.ejected()) {
            write(format_args!("endpoints {endpoints}, open {open}, ejected {ejected}"))?;
        }
        if let Some(by_hand) = self.by_hand().filter(|by_hand| *by_hand > 0) {
            write(format_args!("set aside by hand {by_hand}"))?;
        }
        if let (Some(requests), Some(accepted), Some(share)) = (self.requests(), self.accepted(), self.share()) {
            write(format_args!("accepted {accepted} of {requests} calls, refusing {:.0} %", 100.0 * share))?;
        }
        if let (Some(lag), Some(max), Some(share)) = (self.lag(), self.max_lag(), self.share()) {
            write(format_args!("lag {lag:.1?}, limit {max:.1?}, refusing {:.0} %", 100.0 * share))?;
        }
        match self.next_probe() {
            Some(time) if time.is_zero() => write(format_args!("probing now"))?,
            Some(time) => write(format_args!("next probe in {time:.1?}"))?,
            None => {}
        }
        if let (Some(given), Some(elapsed)) = (self.given(), self.elapsed()) {
            write(format_args!("given {given:.1?}, elapsed {elapsed:.1?}"))?;
        }
        Ok(())
    }
}

/// The digits that show which of two times is longer.
fn digits(left: Option<Duration>, expected: Option<Duration>) -> usize {
    let (Some(left), Some(expected)) = (left, expected) else { return 1 };
    (1..9).find(|digits| format!("{left:.digits$?}") != format!("{expected:.digits$?}")).unwrap_or(1)
}

/// `9 failed and 1 slow of 10 calls`.
struct TripCalls(Trip);

impl fmt::Display for TripCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Trip { cause, calls, failures, slow, overdue, unanswered, is_unreachable: _ }) = *self;
        if cause == TripCause::ConsecutiveFailures {
            return write!(f, "{failures} failed in a row");
        }
        let parts = [(failures, "failed"), (slow, "slow"), (overdue, "hanging"), (unanswered, "unanswered")];
        let mut separator = "";
        for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {word}")?;
            separator = " and ";
        }
        write!(f, " of {calls} calls")
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Numbers({self})")
    }
}

/// A map of the known numbers; times are in seconds, under names that end in `_s`.
#[cfg(feature = "config")]
impl serde::Serialize for Numbers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;

        let mut map = serializer.serialize_map(None)?;
        if let Some(cause) = self.opened_by() {
            map.serialize_entry("opened_by", cause.as_str())?;
        }
        let times: [(_, Option<Duration>); 9] = [
            ("time_left_s", self.time_left()),
            ("expected_s", self.expected()),
            ("per_s", self.per()),
            ("open_for_s", self.open_for()),
            ("next_probe_s", self.next_probe()),
            ("given_s", self.given()),
            ("elapsed_s", self.elapsed()),
            ("lag_s", self.lag()),
            ("max_lag_s", self.max_lag()),
        ];
        for (name, time) in times {
            if let Some(time) = time {
                map.serialize_entry(name, &time.as_secs_f64())?;
            }
        }
        if let Some(share) = self.share() {
            map.serialize_entry("share", &share)?;
        }
        for (name, count) in [("requests", self.requests()), ("accepted", self.accepted())] {
            if let Some(count) = count {
                map.serialize_entry(name, &count)?;
            }
        }
        let counts = [
            ("waiting", self.waiting()),
            ("limit", self.limit()),
            ("calls", self.calls()),
            ("failures", self.failures()),
            ("slow", self.slow()),
            ("overdue", self.overdue()),
            ("unanswered", self.unanswered()),
            ("breaks", self.breaks()),
            ("endpoints", self.endpoints()),
            ("open", self.open()),
            ("ejected", self.ejected()),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                map.serialize_entry(name, &count)?;
            }
        }
        map.end()
    }
}
