//! Which calls a service refuses while its runtime polls ready tasks too late.
//!
//! The *lag* of a runtime is the time from when a task is ready to when it is polled: the length of the queue in front of all handlers, in
//! units of time. While handlers take more CPU time than the workers have, it grows, and no permit and no queue of a layer shows it. A
//! [sample](LagShedder::polled) is the lag of one task, a probe: when it was due, and when it was polled.
//!
//! **The lag stands** if it exceeds the bound in all samples of a window, that is if the *minimum* does (after CoDel: Nichols and
//! Jacobson, "Controlling Queue Delay", 2012). A window has four samples, at least 40 ms apart. A pause of the process, however long,
//! is one sample, and the minimum does not show it.
//!
//! **The law.** A share `a` of the calls is admitted, at first all. Let `x` be the least lag of a window, `b` the bound, and `g` the growth of
//! `x` since the window before, per second from one sample's due time to the other's. A queue that is served in order grows by
//! `g = a·ρ - 1`, where `ρ` is the work that arrives in a second, in seconds of all workers. So the growth says by how much the
//! admitted calls exceed the capacity, whatever they cost and however many there are:
//!
//! ```text
//! x > b        a := a / (1 + g + r)  if g + r > 0,   r = (x - b) / (0.5 s + 2 x)
//! x <= b / 2   a := 1.1 a, at most 1
//! otherwise    a stays
//! ```
//!
//! Division by `1 + g` stops the growth in one step, and `r` is the rate at which the rest is worked off. But the growth of one window may be
//! chance: workers with a task at hand look at timers and sockets only after some dozens of tasks, so the lag of a runtime that is just full
//! jumps. So the first window divides by 1.25 at most, the next one without a pause by 2.5, and each further one by four. After a change, only
//! samples that were due later count, so that no change is made twice.
//!
//! **While the probe is overdue**, its lag is not known yet, but at least the time since it was due. In a sudden overload the first
//! probe would end too late: at ten times the capacity the lag grows by nine seconds a second. So calls that are polled before an
//! overdue probe are samples of a [lower bound](LagShedder::overdue). A window of them counts if that is far above `b`, and has doubled since
//! the lag was last known; the growth is then at least 1.
//!
//! **Why it is stable.** From one change to the next it takes a window and the time of the probe in the queue: `x + T`, with `T < 0.5 s`. The
//! queue becomes shorter by `r (x + T) < x - b` meanwhile, even if refusals take effect only at the end of the queue. So `x` approaches the
//! bound from above in shrinking steps, and does not fall below it. A share that is raised admits at most a tenth more than the capacity;
//! the queue then grows by a tenth of a second per second, and the measured growth takes that tenth back. Between `b / 2` and `b` nothing
//! changes. The noise of single calls moves the share by some tenths: the tests hold the goodput at four fifths of the capacity or more,
//! from 1.2 to 10 times the capacity, whether calls are admitted before or after they have waited, and however rarely timers are looked at.
//!
//! A law that only adds to the share while `x > b`, an integrator before an integrator, would oscillate for ever. PIE (RFC 8033) adds a term
//! for the growth for this reason. That the time in the queue is the signal, that the share is multiplied, and that calls are refused by
//! priority is as in DAGOR (Zhou et al., "Overload Control for Scaling WeChat Microservices", 2018).
//!
//! **Not all calls are refused**: of each priority, at least one in 32 is admitted. The lag is measured without calls, so the end of an
//! overload shows even if there are none.
//!
//! **Calls that do not cause the lag.** Other tasks may keep the runtime busy. Then refusals are of no use: the lag stays about the same for
//! more than eight windows, in which the admitted share has been cut to a quarter. So all calls are admitted again, until the lag is gone,
//! or more than doubles. In the latter case calls did matter, and it takes twice as many windows until refusals are found useless again.

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use crate::ground::scope::Priority;
use crate::ground::time::Instant;

/// How often the lag is to be sampled.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);

/// Samples that are closer together count as one.
const SPACING: Duration = Duration::from_millis(40);

/// The samples of a window.
const SAMPLES: u32 = 4;

/// A lag that exceeds the bound a little is worked off in this time, in seconds.
const HORIZON: f64 = 0.5;

/// The most by which one window divides the admitted share: the first one, and any. Each further one without a pause divides by twice as much.
const FIRST_CUT: f64 = 1.25;
const MAX_CUT: f64 = 4.0;

/// A lower bound of the lag counts if it is so many times the bound, or more than it by so much.
const FAR_ABOVE: u32 = 8;
const FAR_ABOVE_BY: Duration = Duration::from_secs(1);

/// A lag that has doubled since it was last known grows by at least so much.
const LEAST_GROWTH: f64 = 1.0;

/// The factor of one window without lag.
const RAISE: f64 = 1.1;

/// The least share of calls that is admitted.
const FLOOR: f64 = 1.0 / 32.0;

/// How many windows the lag has to stay, while the admitted share falls to a quarter, until refusals are found to be of no use.
const PATIENCE: u32 = 8;
const MAX_PATIENCE: u32 = 128;

const PRIORITIES: usize = 4;

/// The lag of a task that was ready at `due`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LagSample {
    due: Instant,
    lag: Duration,
}

/// The samples since the last window.
#[derive(Clone, Copy, Debug, Default)]
struct LagWindow {
    seen: u32,
    last_seen: Option<Instant>,
    /// The one with the least lag.
    least: Option<LagSample>,
}

/// Since when the lag has stayed about the same, although calls are refused.
#[derive(Clone, Copy, Debug)]
struct Unmoved {
    lag: Duration,
    admitted: f64,
    windows: u32,
}

/// The refusal of a call, with the numbers behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LagRefusal {
    /// The least lag of the last window.
    pub(crate) lag: Duration,
    /// The share of all calls that is refused.
    pub(crate) share: f64,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LagShedder {
    window: LagWindow,
    /// The share of the calls that is admitted.
    admitted: f64,
    /// When it changed. A task that was due before shows the former one.
    changed: Option<Instant>,
    /// The least sample of the last window.
    former: Option<LagSample>,
    unmoved: Option<Unmoved>,
    /// Refusals were found to be of no use at this lag.
    useless_at: Option<Duration>,
    patience: u32,
    /// The most by which the next window divides the admitted share.
    max_cut: f64,
    /// The calls of each priority, admitted or refused; halved at the end of each window.
    calls: [f64; PRIORITIES],
}

impl Default for LagShedder {
    fn default() -> Self {
        Self {
            window: LagWindow::default(),
            admitted: 1.0,
            changed: None,
            former: None,
            unmoved: None,
            useless_at: None,
            patience: PATIENCE,
            max_cut: FIRST_CUT,
            calls: [0.0; PRIORITIES],
        }
    }
}

impl LagWindow {
    /// Counts a sample, unless it is too close to the one before.
    fn count(&mut self, now: Instant) {
        if self.last_seen.is_none_or(|last| now.since(last) >= SPACING) {
            (self.seen, self.last_seen) = (self.seen + 1, Some(now));
        }
    }

    fn least_with(&self, sample: LagSample) -> LagSample {
        self.least.filter(|least| least.lag <= sample.lag).unwrap_or(sample)
    }
}

fn far_above(max_lag: Duration) -> Duration {
    max_lag.saturating_mul(FAR_ABOVE).min(max_lag.saturating_add(FAR_ABOVE_BY))
}

impl LagShedder {
    /// A task that was ready at `due` is polled now.
    pub(crate) fn polled(&mut self, max_lag: Duration, now: Instant, due: Instant) {
        let sample = LagSample { due, lag: now.since(due) };
        self.window.count(now);
        if self.changed.is_some_and(|changed| due < changed) {
            self.end_window();
            self.former = Some(sample);
            return;
        }
        let least = self.window.least_with(sample);
        self.window.least = Some(least);
        if self.window.seen >= SAMPLES {
            self.decide(max_lag, now, least, self.growth(least));
        }
    }

    /// A call is polled now, while the task that was ready at `due` has not been: its lag is not known yet, and at least this.
    pub(crate) fn overdue(&mut self, max_lag: Duration, now: Instant, due: Instant) {
        let sample = LagSample { due, lag: now.since(due) };
        self.window.count(now);
        if self.window.seen < SAMPLES {
            return;
        }
        if self.window.least.is_some() {
            let least = self.window.least_with(sample);
            self.decide(max_lag, now, least, self.growth(least));
        } else if sample.lag > self.lag().saturating_mul(2).max(far_above(max_lag)) {
            self.decide(max_lag, now, sample, self.growth(sample).max(LEAST_GROWTH));
        }
    }

    /// Admits or refuses a call. `chance` is a sample from `0.0..1.0`, drawn only if it decides.
    pub(crate) fn admit(&mut self, priority: Priority, chance: impl FnOnce() -> f64) -> Result<(), LagRefusal> {
        let index = (priority as usize).min(PRIORITIES - 1);
        self.calls[index] += 1.0;
        let share = self.share();
        if share <= 0.0 {
            return Ok(());
        }
        // What is left of the calls that have to be refused without all of lower priority.
        let lower: f64 = self.calls[..index].iter().sum();
        let excess = share * self.calls.iter().sum::<f64>() - lower;
        let own_share = (excess / self.calls[index]).clamp(0.0, 1.0 - FLOOR);
        if own_share > 0.0 && chance() < own_share { Err(LagRefusal { lag: self.lag(), share }) } else { Ok(()) }
    }

    /// The share of all calls that is refused.
    pub(crate) fn share(&self) -> f64 {
        1.0 - self.admitted
    }

    /// The least lag of the last window.
    pub(crate) fn lag(&self) -> Duration {
        self.former.map_or(Duration::ZERO, |former| former.lag)
    }

    fn end_window(&mut self) {
        self.window = LagWindow { last_seen: self.window.last_seen, ..LagWindow::default() };
        self.calls = self.calls.map(|calls| calls / 2.0);
    }

    /// Changes the admitted share after a window with this least lag.
    fn decide(&mut self, max_lag: Duration, now: Instant, least: LagSample, growth: f64) {
        let admitted = self.admitted;
        self.end_window();
        self.former = Some(least);
        if least.lag > max_lag {
            if !self.is_useless(max_lag, least.lag) {
                self.cut(max_lag, least.lag, growth);
            }
        } else {
            (self.unmoved, self.useless_at, self.max_cut) = (None, None, FIRST_CUT);
            if least.lag <= max_lag / 2 {
                self.admitted = (self.admitted * RAISE).min(1.0);
            }
            if self.admitted >= 1.0 {
                self.patience = PATIENCE;
            }
        }
        if self.admitted != admitted {
            self.changed = Some(now);
        }
    }

    /// By how many seconds the lag grows in a second of due times.
    fn growth(&self, least: LagSample) -> f64 {
        let Some(former) = self.former.filter(|former| former.due < least.due) else { return 0.0 };
        (least.lag.as_secs_f64() - former.lag.as_secs_f64()) / least.due.since(former.due).as_secs_f64()
    }

    fn cut(&mut self, max_lag: Duration, lag: Duration, growth: f64) {
        let (over, lag) = ((lag - max_lag).as_secs_f64(), lag.as_secs_f64());
        let excess = growth + over / (HORIZON + 2.0 * lag);
        if excess > 0.0 {
            self.admitted = (self.admitted / (1.0 + excess).min(self.max_cut)).max(FLOOR);
            self.max_cut = (self.max_cut * 2.0).min(MAX_CUT);
        }
    }

    /// Whether refusals do not lower a lag like this one.
    fn is_useless(&mut self, max_lag: Duration, lag: Duration) -> bool {
        if let Some(at) = self.useless_at {
            if lag <= at.saturating_mul(2).saturating_add(max_lag) {
                return true;
            }
            self.useless_at = None;
            self.patience = (self.patience * 2).min(MAX_PATIENCE);
        }
        let fresh = Unmoved { lag, admitted: self.admitted, windows: 0 };
        let has_moved = |unmoved: &Unmoved| lag < unmoved.lag / 2 || lag / 2 > unmoved.lag;
        let unmoved = self.unmoved.filter(|unmoved| !has_moved(unmoved)).unwrap_or(fresh);
        let windows = unmoved.windows + 1;
        self.unmoved = Some(Unmoved { windows, ..unmoved });
        let is_cut = self.admitted <= unmoved.admitted / MAX_CUT || self.admitted <= FLOOR;
        if windows > self.patience && is_cut {
            (self.admitted, self.unmoved, self.useless_at) = (1.0, None, Some(lag));
            return true;
        }
        false
    }
}
