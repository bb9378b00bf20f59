//! A bucket with its own rates, for tests.

use super::*;
use crate::ground::settings::Settings;

pub(super) struct Rated {
    pub(super) gcra: Gcra,
    rates: Settings<Rates>,
}

impl Rated {
    pub(super) fn new(rate: Rate) -> Self {
        let rates = Rates::first(rate);
        Self { gcra: Gcra::new(&rates), rates: Settings::new(rates) }
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates.get()
    }

    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        self.gcra.take(&self.rates(), || self.rates(), now)
    }

    pub(super) fn set_rate(&self, rate: Rate, now: Instant) {
        let next = |rates: &Rates| {
            self.gcra.take_over(rates, now);
            rates.then(rate)
        };
        self.rates.update(next, |_| self.gcra.take_over(&self.rates(), now));
    }

    #[cfg(not(seawall_loom))]
    pub(super) fn next(&self, now: Instant) -> Instant {
        self.gcra.next(|| self.rates(), now)
    }

    #[cfg(seawall_loom)]
    pub(super) fn full_at(&self, now: Instant) -> u64 {
        self.gcra.load(&|| self.rates(), ticks(now)).1
    }
}
