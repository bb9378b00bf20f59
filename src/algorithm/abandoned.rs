//! What a call says about the callee when its caller gave up.
//!
//! A caller may go away at once for reasons of its own, and that says nothing. But a callee that hangs until its callers give up
//! leaves nothing else behind than calls that were given up, and must not look healthy for it. So there is a patience: given up
//! sooner, the call is neutral; later, it was a slow call. The same goes for calls cut at their caller's deadline.

use std::time::Duration;

/// How many times the usual time a caller must have waited for its going away to speak against the callee.
const USUAL_TIMES: u32 = 3;

/// What a callee has to be given at least, if nothing is known of it: about a round trip and a little work.
const A_CHANCE: Duration = Duration::from_millis(1);

/// The patience of a call: the smallest of the slow threshold, three times the median success, and half of the time it had
/// left when it was admitted. The last is for the caller that gives up *because* its time is over, and whose time may be
/// shorter than any threshold; but it is never less than the median, since a call that had no chance from the start (a last
/// retry, two milliseconds before the deadline) says nothing about the callee. `None`: nothing to judge by.
pub(crate) fn patience(
    slow_after: Option<Duration>,
    left_at_admission: Option<Duration>,
    median_success: Option<Duration>,
) -> Option<Duration> {
    let half = left_at_admission.map(|left| (left / 2).max(median_success.unwrap_or(A_CHANCE)));
    let usual = median_success.map(|median| median.saturating_mul(USUAL_TIMES));
    [slow_after, half, usual].into_iter().flatten().min()
}

/// Whether a call given up after `waited` counts as slow.
pub(crate) fn was_slow(waited: Duration, patience: Option<Duration>) -> bool {
    patience.is_some_and(|patience| waited >= patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_the_smallest_of_what_is_known() {
        let ms = |millis: u64| Some(Duration::from_millis(millis));
        let table = [
            // slow after, left at admission, median -> patience
            (None, None, None, None),
            (ms(4000), None, None, ms(4000)),
            (None, ms(1200), None, ms(600)),
            (None, None, ms(20), ms(60)),
            (ms(4000), ms(1200), ms(20), ms(60)),
            (ms(4000), ms(100), ms(20), ms(50)),
            (ms(40), ms(1200), ms(20), ms(40)),
            (ms(4000), ms(30), ms(20), ms(20)),
            (ms(10), ms(0), ms(20), ms(10)),
            (None, ms(0), None, ms(1)),
            (None, None, Some(Duration::MAX), Some(Duration::MAX)),
        ];
        for (slow_after, left, median, expected) in table {
            assert_eq!(patience(slow_after, left, median), expected, "{slow_after:?} {left:?} {median:?}");
        }
    }

    #[test]
    fn given_up_before_it_is_neutral_and_from_it_on_slow() {
        let patience = Some(Duration::from_millis(60));
        assert!(!was_slow(Duration::from_nanos(59_999_999), patience));
        assert!(was_slow(Duration::from_millis(60), patience));
        assert!(!was_slow(Duration::from_secs(3600), None), "nothing to judge by");
    }
}
