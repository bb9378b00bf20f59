//! Instants, and the only reader of the clock. The clock is tokio's, so that paused time applies to the whole library.

use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::time::Duration;

/// An instant that fits into one atomic: nanoseconds on a scale of this process, valid for 290 years in either direction.
///
/// Arithmetic saturates at the last representable instant. Never zero, so that an `Option` of it is one word, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instant(NonZeroU64);

/// The position of the process' first reading on the scale. A paused runtime may show an earlier time than that reading, so there
/// must be room on both sides.
const ORIGIN: u64 = 1 << 63;

impl Instant {
    /// The last representable instant.
    pub(crate) const MAX: Self = Self(NonZeroU64::MAX);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        match NonZeroU64::new(nanos) {
            Some(nanos) => Self(nanos),
            None => Self(NonZeroU64::MIN),
        }
    }

    #[inline]
    pub(crate) const fn as_nanos(self) -> u64 {
        self.0.get()
    }

    /// The time from `earlier` to `self`; zero if there is none.
    #[inline]
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same in nanoseconds.
    #[inline]
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.as_nanos().saturating_sub(earlier.as_nanos())
    }

    #[inline]
    pub(crate) fn minus(self, duration: Duration) -> Self {
        Self::from_nanos(self.as_nanos().saturating_sub(nanos(duration)))
    }

    /// The same instant for tokio's timers, which cannot express the far future: what is further from now than about thirty years
    /// becomes an instant in thirty years, at which the timer has to be set again.
    #[inline]
    pub(crate) fn to_tokio(self) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        let origin = *origin();
        if self.as_nanos() < ORIGIN {
            return origin.checked_sub(Duration::from_nanos(ORIGIN - self.as_nanos())).unwrap_or(origin);
        }
        let after = Duration::from_nanos(self.as_nanos() - ORIGIN);
        if after < FAR {
            return origin + after;
        }
        let now = read();
        origin.checked_add(after).filter(|instant| *instant < now + FAR).unwrap_or(now + FAR)
    }

    #[inline]
    pub(crate) fn from_tokio(instant: tokio::time::Instant) -> Self {
        let origin = *origin();
        match instant.checked_duration_since(origin) {
            Some(after) => Self::from_nanos(ORIGIN.saturating_add(nanos(after))),
            None => Self::from_nanos(ORIGIN.saturating_sub(nanos(origin.duration_since(instant)))),
        }
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self::from_nanos(self.as_nanos().saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds, saturating at 584 years.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// A reading of the clock.
#[inline]
pub(super) fn read_clock() -> Instant {
    // The origin first: otherwise the very first reading would precede it.
    let _ = origin();
    Instant::from_tokio(read())
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
#[inline]
fn read() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The calendar's time, for dates in headers and snapshots. It does not move with paused time, and may jump.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn wall_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// An instant of the calendar, for settings that hold whenever a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalendarTime(std::time::SystemTime);

impl CalendarTime {
    /// The time from now until then; zero if it is over.
    pub(crate) fn time_left(self) -> Duration {
        self.0.duration_since(wall_clock()).unwrap_or_default()
    }

    /// The time since 1970 in UTC, at most the end of the year 9999; zero before.
    #[cfg(feature = "config")]
    fn since_1970(self) -> Duration {
        const LAST: Duration = Duration::from_secs(253_402_300_799);
        self.0.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST)
    }
}

impl From<std::time::SystemTime> for CalendarTime {
    fn from(time: std::time::SystemTime) -> Self {
        Self(time)
    }
}

/// As RFC 3339, `2030-01-31T12:00:00Z`.
#[cfg(feature = "config")]
impl std::fmt::Display for CalendarTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        humantime::format_rfc3339(std::time::SystemTime::UNIX_EPOCH + self.since_1970()).fmt(f)
    }
}

#[cfg(feature = "config")]
impl std::str::FromStr for CalendarTime {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339(text).map(Self)
    }
}

#[inline]
fn origin() -> &'static tokio::time::Instant {
    static ORIGIN: OnceLock<tokio::time::Instant> = OnceLock::new();
    ORIGIN.get_or_init(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_at_both_ends() {
        assert_eq!(Instant::MAX + Duration::MAX, Instant::MAX);
        assert_eq!(Instant::from_nanos(5).minus(Duration::MAX), Instant::from_nanos(0));
        assert_eq!(Instant::from_nanos(0).since(Instant::MAX), Duration::ZERO);
        let far = Instant::MAX.to_tokio();
        assert!(far > Instant::from_nanos(ORIGIN).to_tokio());
        let _ = Instant::from_nanos(0).to_tokio();
    }

    /// A time without a zone may be meant as local time.
    #[cfg(feature = "config")]
    #[test]
    fn calendar_time_is_in_utc() {
        for (text, is_time) in [
            ("2030-01-31T12:00:00Z", true),
            ("2030-01-31T12:00:00.5Z", true),
            ("2030-01-31T12:00:00", false),
            ("2030-01-31 12:00:00", false),
            ("2030-01-31T12:00:00+02:00", false),
        ] {
            assert_eq!(text.parse::<CalendarTime>().is_ok(), is_time, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn instants_survive_the_round_trip_and_follow_paused_time() {
        let start = read_clock();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(read_clock().since(start), Duration::from_millis(1500));
        assert_eq!(Instant::from_tokio(start.to_tokio()), start);
    }

    #[tokio::test(start_paused = true)]
    async fn instants_after_decades_are_exact() {
        let _ = read_clock();
        let years = Duration::from_secs(365 * 24 * 3600);
        for _ in 0..3 {
            tokio::time::advance(25 * years).await;
            let soon = read_clock() + Duration::from_secs(1);
            assert_eq!(soon.to_tokio(), read() + Duration::from_secs(1));
            assert!(Instant::MAX.to_tokio() > read() + 29 * years);
        }
    }
}
