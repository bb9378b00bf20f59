//! Whether an endpoint may get calls, apart from its permits: whether it is ejected, what was set by hand, whether its breaker lets all
//! calls pass, and whether its tier panics.

use crate::admission::registry::EndpointMode;
use crate::ground::sync::atomic::{AtomicU8, Ordering};

/// Which endpoints a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One that is neither ejected nor draining.
    Healthy,
    /// One of those too: to be slow or unreliable is better than nothing.
    Any,
    /// One of those, or one that refuses connections, too: it may be back by now, and nothing is lost if it is not.
    Unreachable,
}

impl Wanted {
    /// In the order of preference.
    pub(super) const ALL: [Self; 3] = [Self::Healthy, Self::Any, Self::Unreachable];
}

const EJECTED: u8 = 1;
const STANDBY: u8 = 2;
const DRAINING: u8 = 4;
const ISOLATED: u8 = 8;
/// The endpoint is no longer in the set.
const REMOVED: u8 = 16;
/// The breaker may refuse a call.
const RESTRICTED: u8 = 32;
/// The tier of the endpoint panics: ejections do not count.
const PANICKING: u8 = 64;

/// See the module. One word, which a choice reads at once.
#[derive(Debug, Default)]
pub(super) struct Standing(AtomicU8);

/// A standing at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandingNow(u8);

impl StandingNow {
    /// Whether the endpoint may get a call of this kind, apart from its breaker. While its tier panics, ejections do not count.
    #[inline]
    pub(super) fn is_usable(self, wanted: Wanted) -> bool {
        match self.0 & !(STANDBY | RESTRICTED | PANICKING) {
            0 => true,
            EJECTED => self.0 & PANICKING != 0 || wanted != Wanted::Healthy,
            flags => flags & (ISOLATED | REMOVED) == 0 && wanted != Wanted::Healthy,
        }
    }

    /// Whether its breaker may refuse a call. The breaker itself knows it first.
    #[inline]
    pub(super) fn is_restricted(self) -> bool {
        self.0 & RESTRICTED != 0
    }

    /// Whether it counts as healthy in the shares of the tiers. An open breaker takes no calls, and a half-open one only probes, so
    /// neither adds to the capacity of its tier.
    pub(super) fn is_healthy(self) -> bool {
        self.0 & !(STANDBY | PANICKING) == 0
    }

    pub(super) fn is_ejected(self) -> bool {
        self.0 & EJECTED != 0
    }

    pub(super) fn mode(self) -> EndpointMode {
        match self.0 & (STANDBY | DRAINING | ISOLATED) {
            STANDBY => EndpointMode::Standby,
            DRAINING => EndpointMode::Draining,
            ISOLATED => EndpointMode::Isolated,
            _ => EndpointMode::Serving,
        }
    }
}

impl Standing {
    #[inline]
    pub(super) fn now(&self) -> StandingNow {
        StandingNow(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn eject(&self) {
        self.0.fetch_or(EJECTED, Ordering::Relaxed);
    }

    pub(super) fn restore(&self) {
        self.0.fetch_and(!EJECTED, Ordering::Relaxed);
    }

    pub(super) fn remove(&self) {
        // A call that reads this flag has to see the version of the new set, too: otherwise `Balancer::is_replaced` returns `false`, and the
        // call is refused though the new set has endpoints.
        self.0.fetch_or(REMOVED, Ordering::Release);
    }

    /// It is in the set again. What was set by hand still holds: a discovery that flaps must not undo it.
    pub(super) fn come_back(&self) {
        self.0.fetch_and(!REMOVED, Ordering::Relaxed);
    }

    /// Returns whether that is a change.
    pub(super) fn set_restricted(&self, is_restricted: bool) -> bool {
        self.set_flag(RESTRICTED, is_restricted)
    }

    pub(super) fn set_panicking(&self, is_panicking: bool) {
        self.set_flag(PANICKING, is_panicking);
    }

    /// Returns whether that is a change.
    fn set_flag(&self, flag: u8, is_set: bool) -> bool {
        let before =
            if is_set { self.0.fetch_or(flag, Ordering::Relaxed) } else { self.0.fetch_and(!flag, Ordering::Relaxed) };
        (before & flag != 0) != is_set
    }

    /// Callers must serialise calls of this.
    pub(super) fn set_mode(&self, mode: EndpointMode) {
        let flag = match mode {
            EndpointMode::Serving => 0,
            EndpointMode::Standby => STANDBY,
            EndpointMode::Draining => DRAINING,
            EndpointMode::Isolated => ISOLATED,
        };
        self.0.fetch_or(flag, Ordering::Relaxed);
        self.0.fetch_and(flag | EJECTED | REMOVED | RESTRICTED | PANICKING, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    #[test]
    fn mode_and_ejection_are_apart() {
        let standing = Standing::default();
        for mode in [EndpointMode::Isolated, EndpointMode::Draining, EndpointMode::Standby, EndpointMode::Serving] {
            standing.set_mode(mode);
            standing.eject();
            assert_eq!(
                (standing.now().mode(), standing.now().is_ejected(), standing.now().is_healthy()),
                (mode, true, false)
            );
            standing.restore();
            assert_eq!((standing.now().mode(), standing.now().is_ejected()), (mode, false));
        }
    }

    #[test]
    fn usable_by_mode() {
        let usable = |mode, ejected: bool| {
            let standing = Standing::default();
            standing.set_mode(mode);
            if ejected {
                standing.eject();
            }
            [(Wanted::Healthy, false), (Wanted::Healthy, true), (Wanted::Any, false)].map(|(wanted, panics)| {
                standing.set_panicking(panics);
                standing.now().is_usable(wanted)
            })
        };
        for (mode, ejected, expected) in [
            (EndpointMode::Serving, false, [true, true, true]),
            (EndpointMode::Serving, true, [false, true, true]),
            (EndpointMode::Standby, false, [true, true, true]),
            (EndpointMode::Standby, true, [false, true, true]),
            (EndpointMode::Draining, false, [false, false, true]),
            (EndpointMode::Draining, true, [false, false, true]),
            (EndpointMode::Isolated, false, [false, false, false]),
        ] {
            assert_eq!(usable(mode, ejected), expected, "{mode} {ejected}");
        }
    }

    #[test]
    fn restricted_breaker_is_usable_and_not_healthy() {
        let standing = Standing::default();
        assert!(standing.set_restricted(true) && !standing.set_restricted(true));
        standing.set_panicking(true);
        standing.set_mode(EndpointMode::Standby);
        assert!(standing.now().is_restricted() && standing.now().is_usable(Wanted::Healthy));
        assert!(!standing.now().is_healthy());
        assert!(standing.set_restricted(false) && !standing.set_restricted(false));
        assert!(standing.now().is_healthy());
    }
}
