//! The last minute of every component: the growth of its counters in each second, and its gauges at the end of the second.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use super::reading::{COUNTED, ComponentKey, GAUGES, Reading};
use crate::ground::time::Instant;

/// How many seconds are kept.
pub(super) const KEPT: usize = 60;

#[derive(Debug, Default)]
pub(super) struct History {
    tracks: BTreeMap<ComponentKey, Track>,
    last: Option<Instant>,
}

/// The history of one component.
#[derive(Debug)]
struct Track {
    latest: Reading,
    samples: VecDeque<Sample>,
}

/// The growth of the counters per second, then the gauges, then the 99th percentile of the durations of successes.
type Sample = [Option<f64>; COUNTED.len() + GAUGES.len() + 1];

fn columns() -> impl Iterator<Item = &'static str> {
    COUNTED.into_iter().chain(GAUGES).chain(["p99_s"])
}

impl History {
    /// Records the readings of all components at `now`. The history of a component without a reading is dropped. A component that
    /// came back under its name starts a new history.
    pub(super) fn record(&mut self, now: Instant, readings: Vec<(ComponentKey, Reading)>) {
        let elapsed = self.last.map(|last| now.since(last));
        self.last = Some(now);
        let mut before = std::mem::take(&mut self.tracks);
        for (key, reading) in readings {
            let track = match before.remove(&key) {
                Some(track) if reading.continues(&track.latest) => Some(track),
                _ => None,
            };
            self.tracks.insert(key, Track::next(track, reading, elapsed));
        }
    }

    /// The last minute of one component as arrays of equal length, oldest value first. A column without any value is left out.
    pub(super) fn of(&self, name: &str, layer: &'static str) -> Value {
        let Some(track) = self.tracks.get(&(name.to_owned(), layer)) else { return Value::Object(Map::new()) };
        let columns = columns().enumerate().filter_map(|(column, name)| {
            let values = || track.samples.iter().map(move |sample| sample.get(column).copied().flatten());
            values().any(|value| value.is_some()).then(|| (name.to_owned(), values().map(number).collect()))
        });
        columns.collect::<Map<_, _>>().into()
    }
}

impl Track {
    fn next(track: Option<Self>, latest: Reading, elapsed: Option<Duration>) -> Self {
        let (mut samples, before) = match track {
            Some(track) => (track.samples, Some(track.latest)),
            None => (VecDeque::new(), None),
        };
        let since = match (before, elapsed) {
            (Some(before), Some(elapsed)) => Some((before, elapsed)),
            // The component is younger than the last reading, so all its counts are from this interval.
            (None, Some(elapsed)) if latest.age <= elapsed => Some((Reading::default(), elapsed)),
            _ => None,
        };
        if let Some((before, elapsed)) = since {
            let sample = latest.since(&before, elapsed);
            // Missed seconds get the mean of the interval, since their own values are not known.
            let missed = (elapsed.as_secs_f64().round() as usize).clamp(1, KEPT);
            samples.extend(std::iter::repeat_n(sample, missed));
            samples.drain(..samples.len().saturating_sub(KEPT));
        }
        Self { latest, samples }
    }
}

impl Reading {
    fn since(&self, before: &Self, elapsed: Duration) -> Sample {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let growth = self
            .counted
            .iter()
            .zip(before.counted)
            .map(|(now, before)| now.map(|now| now.saturating_sub(before.unwrap_or(0)) as f64 / seconds));
        let p99 = self.successes.p99_since(&before.successes).map(|p99| p99.as_secs_f64());
        let mut sample = Sample::default();
        for (slot, value) in sample.iter_mut().zip(growth.chain(self.gauges).chain([p99])) {
            *slot = value;
        }
        sample
    }
}

/// Rounded to four decimal places: a tenth of a millisecond, which is finer than a curve can show. A whole number is written as
/// an integer, which is shorter.
fn number(value: Option<f64>) -> Value {
    let Some(value) = value else { return Value::Null };
    let rounded = (value * 1e4).round() / 1e4;
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 { Value::from(rounded as i64) } else { Value::from(rounded) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: u32) -> Instant {
        Instant::from_nanos(1 << 62) + SECOND * second
    }

    fn reading(age: u32, good: u64) -> Reading {
        let mut reading = Reading { age: SECOND * age, ..Reading::default() };
        reading.counted[0] = Some(good);
        reading.gauges[0] = Some(f64::from(age));
        reading
    }

    fn key(name: &str) -> ComponentKey {
        (name.to_owned(), "bulkhead")
    }

    fn good(history: &History, name: &str) -> Value {
        history.of(name, "bulkhead").get("good").cloned().unwrap_or_default()
    }

    #[test]
    fn counters_become_rates_of_the_last_minute() {
        let mut history = History::default();
        for second in 0..200 {
            history.record(at(second), vec![(key("a"), reading(100 + second, u64::from(second * second)))]);
        }
        let rates = good(&history, "a");
        let rates = rates.as_array().unwrap();
        assert_eq!(rates.len(), KEPT);
        assert_eq!(rates.last(), Some(&json!(199 + 198)));
        assert_eq!(rates[0], json!(140 + 139));
    }

    #[test]
    fn only_a_new_component_has_a_rate_at_the_first_reading() {
        let mut history = History::default();
        history.record(at(0), vec![(key("old"), reading(50, 1000))]);
        assert_eq!(good(&history, "old"), Value::Null);
        history.record(at(1), vec![(key("old"), reading(51, 1007)), (key("new"), reading(1, 3))]);
        assert_eq!(good(&history, "old"), json!([7]));
        assert_eq!(good(&history, "new"), json!([3]));
    }

    #[test]
    fn returning_component_starts_a_new_history() {
        let mut history = History::default();
        for second in 0..5 {
            history.record(at(second), vec![(key("a"), reading(10 + second, 100))]);
        }
        history.record(at(5), Vec::new());
        assert_eq!(history.of("a", "bulkhead"), json!({}));
        assert!(history.tracks.is_empty());

        history.record(at(6), vec![(key("a"), reading(1, 4))]);
        history.record(at(7), vec![(key("a"), reading(2, 8))]);
        assert_eq!(good(&history, "a"), json!([4, 4]));
        // Gone and back between two readings: its age is lower than before.
        history.record(at(8), vec![(key("a"), reading(0, 900))]);
        assert_eq!(good(&history, "a"), json!([900]));
    }

    #[test]
    fn missed_seconds_are_filled_with_their_mean() {
        let mut history = History::default();
        history.record(at(0), vec![(key("a"), reading(9, 0))]);
        history.record(at(4), vec![(key("a"), reading(13, 10))]);
        assert_eq!(good(&history, "a"), json!([2.5, 2.5, 2.5, 2.5]));
        history.record(at(1_000_000), vec![(key("a"), reading(1_000_009, 10))]);
        assert_eq!(good(&history, "a").as_array().unwrap().len(), KEPT);
        // A clock that stands still or goes back must not lead to a division by zero.
        history.record(at(1_000_000), vec![(key("a"), reading(1_000_009, 11))]);
        assert!(good(&history, "a")[KEPT - 1].is_number());
    }
}
