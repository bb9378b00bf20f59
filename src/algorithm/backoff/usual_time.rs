//! How long a success of a dependency usually takes.

use std::time::Duration;

/// A running median of the times of successes, in nanoseconds; zero while none is known.
///
/// A longer time raises it by an eighth, a shorter one lowers it by as much, and neither takes it beyond that time. So it settles
/// where half of the times are longer. A single time of any length moves it by an eighth at most, while an average would be carried
/// away by one long poll among a thousand quick calls. From a first time that was a thousand times too long, it takes 60 calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsualTime(u64);

impl UsualTime {
    /// The inverse of [`nanos`](Self::nanos).
    pub(crate) fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// The usual time, if it is known.
    pub(crate) fn get(self) -> Option<Duration> {
        (self.0 > 0).then(|| Duration::from_nanos(self.0))
    }

    /// A success took this long.
    #[must_use]
    pub(crate) fn after(self, took: Duration) -> Self {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let usual = self.0;
        // At least one, or a tiny time would never move.
        let step = (usual / 8).max(1);
        Self(match usual {
            0 => took,
            _ if took > usual => usual.saturating_add(step).min(took),
            _ => (usual - step).max(took),
        })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after_all(times: impl IntoIterator<Item = Duration>) -> UsualTime {
        times.into_iter().fold(UsualTime::default(), UsualTime::after)
    }

    #[test]
    fn first_success_is_the_usual_time() {
        assert_eq!(UsualTime::default().get(), None);
        assert_eq!(after_all([ms(80)]).get(), Some(ms(80)));
        assert_eq!(after_all([ms(80), ms(400)]).get(), Some(ms(90)));
        assert_eq!(after_all([ms(80), ms(10)]).get(), Some(ms(70)));
        assert_eq!(after_all([ms(80), ms(81), ms(81), ms(78)]).get(), Some(ms(78)), "no step goes beyond the time");
    }

    /// Within a step, as a mean would not.
    #[test]
    fn it_goes_by_most_of_the_times() {
        for one_in in [3, 4, 20] {
            let times = |most, few| (0..1000).map(move |call| if call % one_in == 1 { few } else { most });
            let usual = after_all(times(ms(80), ms(60_000))).get().unwrap();
            assert!((ms(80)..=ms(90)).contains(&usual), "long calls, one in {one_in}: {usual:?}");
            let usual = after_all(times(ms(80), ms(1))).get().unwrap();
            assert!((ms(70)..=ms(80)).contains(&usual), "short calls, one in {one_in}: {usual:?}");
        }
    }

    #[test]
    fn it_follows_a_change_within_sixty_calls() {
        for (before, later) in [(ms(30_000), ms(30)), (ms(30), ms(30_000))] {
            let usual = after_all([before].into_iter().chain([later; 60])).get();
            assert_eq!(usual, Some(later), "from {before:?}");
        }
    }

    proptest! {
        #[test]
        fn it_stays_within_the_times_seen(times in proptest::collection::vec(0u64..=u64::MAX, 1..50)) {
            let usual = after_all(times.iter().copied().map(Duration::from_nanos)).nanos();
            let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
            prop_assert!((*least).max(1) <= usual && usual <= (*most).max(1));
        }
    }
}
