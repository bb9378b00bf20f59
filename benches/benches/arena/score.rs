//! What the scenarios have in common in their scores: shares of the optimum, the time of recovery, quantiles, and the one number.

use crate::clock::Ms;
use crate::drive::Record;

/// `part / whole`, within `0..=1`. Nothing of nothing is all of it.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    if whole <= 0.0 { 1.0 } else { (part / whole).clamp(0.0, 1.0) }
}

/// The quantile of some times, or `None` without any.
pub(crate) fn quantile(times: impl Iterator<Item = Ms>, quantile: f64) -> Option<Ms> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    times.get((quantile * last as f64).round() as usize).copied()
}

/// The time from `trigger_end` until five bins in a row are good: at least nine tenths of the calls that start in them.
pub(crate) fn recovery(records: &[Record], deadline: Ms, trigger_end: Ms, until: Ms, bin: Ms) -> Option<Ms> {
    let bins = (until - trigger_end) / bin;
    let (mut offered, mut good) = (vec![0; bins as usize], vec![0; bins as usize]);
    for record in records.iter().filter(|record| (trigger_end..trigger_end + bins * bin).contains(&record.at)) {
        let bin = ((record.at - trigger_end) / bin) as usize;
        offered[bin] += 1;
        good[bin] += i32::from(record.is_good(deadline));
    }
    let is_good: Vec<_> = offered.iter().zip(&good).map(|(offered, good)| 10 * good >= 9 * offered).collect();
    let first = is_good.windows(5).position(|five| five.iter().all(|good| *good))?;
    Some(first as Ms * bin)
}

/// The geometric mean of scores, none of which counts for less than `0.01`.
pub(crate) fn geometric(scores: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = scores.len().max(1) as f64;
    (scores.map(|score| score.max(0.01).ln()).sum::<f64>() / number).exp()
}

pub(crate) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = values.len().max(1) as f64;
    values.sum::<f64>() / number
}

/// The quantile of scores by linear interpolation.
pub(crate) fn of_scores(scores: &[f64], quantile: f64) -> f64 {
    let mut scores = scores.to_vec();
    scores.sort_unstable_by(f64::total_cmp);
    let place = quantile * (scores.len().max(1) - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (scores.get(low), scores.get(high)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => 0.0,
    }
}
