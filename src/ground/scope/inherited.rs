//! The context that a call inherits from the call that it serves.

use super::share_key::ShareKey;
use crate::ground::instant::Instant;

/// How much a call matters. When there is not room for all, the most important are served first.
///
/// A call inherits it from the call that is being served; [`with_priority`](crate::context::with_priority) sets it. Between processes it travels as
/// `x-priority`, see `http::propagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(all(test, feature = "config"), derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Priority {
    /// No caller waits for it: batch, prefetch.
    Low,
    /// The default.
    #[default]
    Normal,
    /// A user waits for it.
    High,
    /// The service does not work without it: logins, payments, health checks.
    Critical,
}

/// The inherited context: two instants, and the rest in one word, so that it is moved and compared in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The deadline of the response. All waits for one end then.
    pub(crate) deadline: Option<Instant>,
    pub(super) end: Option<Instant>,
    pub(super) word: u64,
}

const KEY_SHIFT: u32 = 32;
const ENFORCED: u64 = 1 << 31;
const PRIORITY_SHIFT: u32 = 29;
const BEFORE_SHIFT: u32 = 20;
const BEFORE_MASK: u64 = (1 << (PRIORITY_SHIFT - BEFORE_SHIFT)) - 1;
const LASTS: u64 = 1 << 19;
pub(super) const HAS_END: u64 = 1 << 18;
const PAID_IN: u64 = 1 << 17;
const LOSS_REPEATED: u64 = 1 << 16;
const ATTEMPT_MASK: u64 = LOSS_REPEATED - 1;

impl Context {
    pub(crate) const NONE: Self = Self { deadline: None, end: None, word: (Priority::Normal as u64) << PRIORITY_SHIFT };

    /// The end of the response, if it may continue beyond the deadline.
    #[inline]
    pub(crate) fn end(&self) -> Option<Instant> {
        self.end
    }

    /// The last instant of the call, if it is bounded.
    #[inline]
    pub(crate) fn last_instant(&self) -> Option<Instant> {
        self.end.or(self.deadline)
    }

    /// Whether the response is long-lived, so that no shorter timeout cuts it.
    #[inline]
    pub(crate) fn lasts(&self) -> bool {
        self.word & LASTS != 0
    }

    /// Whether an outer layer in this task ends the call at the deadline, so that no timer is needed for it.
    #[inline]
    pub(crate) fn enforced(&self) -> bool {
        self.word & ENFORCED != 0
    }

    /// 0 without a retry, here or at the client of the served connection.
    #[inline]
    pub(crate) fn attempt(&self) -> u32 {
        (self.word & ATTEMPT_MASK) as u32
    }

    /// The attempts before this one by retries further out than the one that counts in `attempt`.
    #[inline]
    pub(crate) fn before(&self) -> u32 {
        (self.word >> BEFORE_SHIFT & BEFORE_MASK) as u32
    }

    #[inline]
    pub(crate) fn priority(&self) -> Priority {
        match self.word >> PRIORITY_SHIFT & 3 {
            0 => Priority::Low,
            1 => Priority::Normal,
            2 => Priority::High,
            _ => Priority::Critical,
        }
    }

    #[inline]
    pub(crate) fn with_deadline(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    #[inline]
    pub(crate) fn with_end(self, end: Option<Instant>, lasts: bool) -> Self {
        let end_bits = if end.is_none() { 0 } else { HAS_END } | if lasts { LASTS } else { 0 };
        Self { end, word: self.word & !(HAS_END | LASTS) | end_bits, ..self }
    }

    #[inline]
    pub(crate) fn with_enforced(self, enforced: bool) -> Self {
        Self { word: self.word & !ENFORCED | if enforced { ENFORCED } else { 0 }, ..self }
    }

    #[inline]
    pub(crate) fn with_attempt(self, attempt: u32) -> Self {
        Self { word: self.word & !ATTEMPT_MASK | u64::from(attempt).min(ATTEMPT_MASK), ..self }
    }

    /// Whether a layer further out has deposited into its retry budget for this call.
    #[inline]
    pub(crate) fn is_paid_in(&self) -> bool {
        self.word & PAID_IN != 0
    }

    #[inline]
    pub(crate) fn paid_in(self) -> Self {
        Self { word: self.word | PAID_IN, ..self }
    }

    /// Whether a layer further out has repeated this call because it was lost, or another attempt is in flight: if it is lost now, it is
    /// not repeated.
    #[inline]
    pub(crate) fn is_loss_repeated(&self) -> bool {
        self.word & LOSS_REPEATED != 0
    }

    #[inline]
    pub(crate) fn with_loss_repeated(self, is_repeated: bool) -> Self {
        Self { word: self.word | if is_repeated { LOSS_REPEATED } else { 0 }, ..self }
    }

    #[inline]
    fn with_before(self, before: u32) -> Self {
        Self {
            word: self.word & !(BEFORE_MASK << BEFORE_SHIFT) | u64::from(before).min(BEFORE_MASK) << BEFORE_SHIFT,
            ..self
        }
    }

    #[inline]
    pub(crate) fn with_priority(self, priority: Priority) -> Self {
        Self { word: self.word & !(3 << PRIORITY_SHIFT) | (priority as u64) << PRIORITY_SHIFT, ..self }
    }

    /// The key whose calls share the queues fairly with those of other keys.
    #[inline]
    pub(crate) fn share_key(&self) -> Option<ShareKey> {
        ShareKey::from_bits((self.word >> KEY_SHIFT) as u32)
    }

    #[inline]
    pub(crate) fn with_share_key(self, key: Option<ShareKey>) -> Self {
        let bits = u64::from(ShareKey::bits(key));
        Self { word: self.word & !(u64::MAX << KEY_SHIFT) | bits << KEY_SHIFT, ..self }
    }

    /// Whether the deadline has passed at `now`.
    #[inline]
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The context for a retry that starts its own count.
    #[inline]
    pub(crate) fn uncounted(self) -> Self {
        if self.attempt() == 0 { self } else { self.with_before(self.before_all()).with_attempt(0) }
    }

    /// All earlier attempts of this work, on any tier. A call that is itself a retry earns no retries.
    #[inline]
    pub(crate) fn before_all(&self) -> u32 {
        self.before() + self.attempt().saturating_sub(1)
    }

    /// Whether an outer layer in this task ends the call at `instant` or before.
    #[inline]
    pub(crate) fn ends_by(&self, instant: Instant) -> bool {
        self.enforced() && self.deadline.is_some_and(|deadline| deadline <= instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setters_keep_the_other_parts() {
        for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Critical] {
            for (enforced, lasts, attempt, before) in
                [(false, true, 0, 1), (true, false, 1, 0), (true, true, 60_000, 511)]
            {
                let end = Some(Instant::MAX);
                let set = |context: Context| {
                    context
                        .with_priority(priority)
                        .with_before(before)
                        .with_end(end, lasts)
                        .with_attempt(attempt)
                        .with_enforced(enforced)
                        .with_share_key(Some(ShareKey::of_hash(u64::MAX)))
                };
                let all = set(Context::NONE);
                assert_eq!(all, set(all.with_attempt(3).with_before(3).with_end(None, false).with_enforced(!enforced)));
                assert_eq!((all.priority(), all.enforced(), all.lasts()), (priority, enforced, lasts));
                assert_eq!((all.attempt(), all.before(), all.end()), (attempt, before, end));
                assert_eq!(all.share_key(), Some(ShareKey::of_hash(u64::MAX)));
                assert_eq!(all.with_share_key(None).share_key(), None);
            }
        }
        let paid_in = Context::NONE.with_attempt(3).paid_in();
        assert!(paid_in.is_paid_in() && !Context::NONE.with_attempt(u32::MAX).is_paid_in());
        assert_eq!(
            (paid_in.attempt(), paid_in.with_attempt(4).is_paid_in(), paid_in.uncounted().attempt()),
            (3, true, 0)
        );
        let lost = Context::NONE.with_attempt(u32::MAX).with_loss_repeated(true).with_loss_repeated(false);
        assert!(lost.is_loss_repeated() && lost.uncounted().is_loss_repeated() && !paid_in.is_loss_repeated());
        let most = Context::NONE.with_attempt(u32::MAX).with_before(u32::MAX);
        assert_eq!((most.attempt().into(), most.before().into()), (ATTEMPT_MASK, BEFORE_MASK));
        assert_eq!((most.priority(), most.enforced(), most.lasts()), (Priority::Normal, false, false));
    }

    #[test]
    fn uncounted_keeps_the_attempts_of_outer_retries() {
        let second = Context::NONE.with_attempt(2).uncounted();
        assert_eq!((second.attempt(), second.before_all()), (0, 1));
        let within = second.with_attempt(3).uncounted();
        assert_eq!((within.attempt(), within.before_all()), (0, 3));
        assert_eq!(Context::NONE.uncounted(), Context::NONE);
    }
}
