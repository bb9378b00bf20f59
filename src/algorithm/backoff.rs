//! How long to wait before another attempt.
//!
//! Growth sets how the longest wait grows with the number of the retry; jitter sets which part of it is waited. Callers that failed
//! together must not retry together: a fleet that backs off in step collides at every step, so the waits grow and the load at each
//! collision does not shrink. See Marc Brooker, *Exponential Backoff And Jitter* (AWS Architecture Blog, 2015), which names the
//! kinds of jitter used here.
//!
//! # After a refusal
//! A dependency that is full answers at once, and is less full when one of the calls that fill it has ended. If a call takes a second
//! and the waits are a twentieth of that, all attempts of a call find it as full as the first one did. So after a failure that came
//! sooner than a success usually does, the waits grow from what is left of the usual time, if that is more than `base`: by its end
//! most of the calls that were in service when the attempt was refused have ended. [`UsualTime`] is measured, and need not
//! be known. A failure that took as long as a success was no refusal, and its retry waits by `base`.

mod usual_time;

use std::time::Duration;

pub(crate) use self::usual_time::UsualTime;
use crate::ground::validation::{Validate, Validation};
#[cfg(feature = "config")]
use crate::loader::HumanTime;

/// How long to wait before another attempt: a growth, bounded by a cap, and a jitter.
///
/// The default is what most calls between services want: exponential from 50 ms, doubling, at most 2 s, full jitter.
///
/// ```
/// use std::time::Duration;
/// use seawall::retry::{Backoff, Jitter};
///
/// let backoff = Backoff { cap: Duration::from_secs(30), ..Backoff::exponential(Duration::from_secs(2), 2.0) };
/// let longest: Vec<_> = (1..=5).map(|retry| backoff.longest(retry).as_secs()).collect();
/// assert_eq!(longest, [2, 4, 8, 16, 30]);
///
/// // Exact waits are for tests and for a lone caller.
/// let every_second = Backoff { jitter: Jitter::None, ..Backoff::constant(Duration::from_secs(1)) };
/// # let _ = every_second;
/// ```
///
/// Write `..Default::default()`: a new field is [no breaking change](crate#settings).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
pub struct Backoff {
    /// How the wait grows from one retry to the next. Default: exponential, doubling.
    pub growth: Growth,
    /// The wait before the first retry, before jitter; more than zero. After a [quick
    /// refusal](crate::retry#after-a-quick-refusal) it is longer where a call usually takes longer. Default: 50 ms.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub base: Duration,
    /// No wait is longer, whatever the growth. At least `base`. Default: 2 s.
    #[cfg_attr(feature = "config", serde(with = "HumanTime"))]
    pub cap: Duration,
    /// What part of the wait chance decides. Default: all of it, full jitter.
    pub jitter: Jitter,
}

/// How the wait grows from one retry to the next. [`Jitter::Decorrelated`] grows by its own law and leaves it out.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Growth {
    /// It does not: `base` each time.
    Constant,
    /// By `base` each time: `base`, 2 `base`, 3 `base`.
    Linear,
    /// By this factor each time, at least 1.
    Exponential(#[cfg_attr(all(test, feature = "config"), schemars(range(min = 1.0)))] f64),
}

/// What a wait after a quick refusal is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusalBounds {
    /// How much of the usual time of a success is left, counted from the start of the attempt that was refused.
    pub(crate) rest: Duration,
    /// The longest wait after which a usual call still fits into the call's time.
    pub(crate) room: Duration,
}

/// What part of the wait chance decides. `d` is the wait that growth and cap allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Jitter {
    /// None: always `d`, as `base`, growth and cap say it, whatever is measured. Callers that failed together come back together.
    None,
    /// All: anything in `0..d`. Spreads best, and waits half as long on average.
    #[default]
    Full,
    /// Half: anything in `d/2..d`, where there must be some rest between attempts.
    Equal,
    /// Anything between `base` and three times the wait before; at most the cap.
    Decorrelated,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            growth: Growth::Exponential(2.0),
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
            jitter: Jitter::Full,
        }
    }
}

impl Validate for Backoff {
    fn check(&self, validation: &mut Validation) {
        if let Growth::Exponential(factor) = self.growth {
            validation.check(
                factor >= 1.0 && factor.is_finite(),
                "growth",
                format_args!("invalid value: {factor}, must be finite and at least 1"),
            );
        }
        validation.positive("base", self.base);
        validation.positive("cap", self.cap);
        validation.check_against(
            self.base <= self.cap,
            "cap",
            &["base"],
            format_args!("invalid value: {:?}, must be at least `base`", self.cap),
        );
    }
}

impl Backoff {
    /// Waits of up to `base` each, with full jitter.
    pub const fn constant(base: Duration) -> Self {
        Self { growth: Growth::Constant, base, cap: base, jitter: Jitter::Full }
    }

    /// Waits of up to `base`, 2 `base`, 3 `base` and so on, at most ten times `base`, with full jitter.
    pub const fn linear(base: Duration) -> Self {
        Self { growth: Growth::Linear, base, cap: base.saturating_mul(10), jitter: Jitter::Full }
    }

    /// Waits of up to `base`, and `factor` times longer each time, at most forty times `base`, with full jitter.
    pub const fn exponential(base: Duration, factor: f64) -> Self {
        Self { growth: Growth::Exponential(factor), base, cap: base.saturating_mul(40), jitter: Jitter::Full }
    }

    /// The longest wait before the given retry (1 is the first), which no jitter exceeds; decorrelated jitter knows
    /// only the cap. After a [quick refusal](crate::retry#after-a-quick-refusal) it may be longer, up to the cap.
    pub fn longest(&self, retry: u32) -> Duration {
        if self.jitter == Jitter::Decorrelated { self.cap } else { self.grown(retry) }
    }

    /// The wait before the given retry (1 is the first); `previous` is the wait before the last one, zero if there was
    /// none, and `chance` a sample in `0.0..1.0`.
    pub(crate) fn delay(&self, retry: u32, previous: Duration, chance: f64) -> Duration {
        let grown = self.grown(retry);
        match self.jitter {
            Jitter::None => grown,
            Jitter::Full => part(grown, chance),
            Jitter::Equal => {
                let half = grown / 2;
                half + part(grown - half, chance)
            }
            Jitter::Decorrelated => {
                let base = self.base.min(self.cap);
                // Before the first retry there was no wait; the formula assumes one of `base`.
                // Capped before the sample, not after: otherwise most waits of a long series would equal the cap, together.
                base + part(self.bound(retry, previous).saturating_sub(base), chance)
            }
        }
    }

    /// The wait after a quick refusal: as [`delay`](Self::delay), but it grows from what is left of a usual call, if that is more than
    /// the base. `bounds` never make a wait shorter than `delay` would, nor one that fits the call's time one that does not.
    pub(crate) fn delay_after_refusal(
        &self,
        retry: u32,
        previous: Duration,
        RefusalBounds { rest, room }: RefusalBounds,
        chance: f64,
    ) -> Duration {
        if self.jitter == Jitter::None {
            return self.delay(retry, previous, chance);
        }
        // Bounded before the sample, not after: waits that are cut to the same length would end together.
        let cap = self.cap.min(room.max(self.bound(retry, previous)));
        let base = rest.min(room).min(cap).max(self.base);
        Self { base, cap, ..*self }.delay(retry, previous, chance)
    }

    /// The longest wait before the given retry, after a wait of `previous`.
    fn bound(&self, retry: u32, previous: Duration) -> Duration {
        match self.jitter {
            Jitter::Decorrelated => previous.max(self.base).saturating_mul(3).min(self.cap),
            _ => self.grown(retry),
        }
    }

    fn grown(&self, retry: u32) -> Duration {
        let before = retry.saturating_sub(1);
        let grown = match self.growth {
            Growth::Constant => self.base,
            Growth::Linear => self.base.saturating_mul(before.saturating_add(1)),
            Growth::Exponential(factor) => {
                let times = factor.powi(i32::try_from(before).unwrap_or(i32::MAX));
                // Zero stays zero, even times infinity; a value beyond `Duration` is the cap.
                Duration::try_from_secs_f64(self.base.as_secs_f64() * times).unwrap_or(if self.base.is_zero() {
                    Duration::ZERO
                } else {
                    Duration::MAX
                })
            }
        };
        grown.min(self.cap)
    }
}

/// The share `chance` of `whole`, never more than the whole.
fn part(whole: Duration, chance: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * chance.clamp(0.0, 1.0)).map_or(whole, |part| part.min(whole))
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
