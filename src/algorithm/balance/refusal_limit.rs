//! How many calls an endpoint takes at once, as its refusals show.
//!
//! A full instance refuses at once what exceeds its slots, and nobody has told its clients how many it has. A client that sends more
//! uses up its attempts, while a call that waits for a moment would have been served. So an endpoint has a limit as soon as its refusals
//! show one: calls that begin with so many others in flight are refused, and calls with fewer are answered.
//!
//! Refusals for other reasons have no such level: errors and quotas hit any call. So only refusals with more calls in flight than were ever
//! answered count: a single one if the last [`ANSWERS`] calls were answered, otherwise [`ABOVE_ALL`] in a row.
//!
//! The limit is tried again with one more call after as many answers at the limit as its number, while it is in use. An answer doubles the
//! step, as TCP does in its slow start, so a limit that is wrong is gone soon. A refusal doubles the answers that the next trial waits for,
//! up to [`MOST_ROUNDS`] times the limit. So a limit that is right costs one refused call in 64 times its number, which a retry repeats.
//!
//! An endpoint that takes fewer calls than before is not noticed: its refusals are like those for other reasons.

/// After so many answers a refusal with more calls in flight than ever shows a limit by itself.
const ANSWERS: u32 = 32;

/// So many refusals in a row show a limit where other calls were refused too. One or two may be chance.
const ABOVE_ALL: u32 = 3;

/// The longest pause between two trials, in answers for each call of the limit.
const MOST_ROUNDS: u32 = 64;

/// So often an endpoint may refuse at its limit or below, and answer there again: a caller that has given up frees its slot late. More often, the
/// refusals have another reason, and there is no limit.
const STRAYS: u32 = 2;

/// After so many trials in a row that have found room there is no limit: each has doubled its step.
const AMPLE: u32 = 16;

/// No limit.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusalLimit {
    limit: u32,
    /// The limit without the trial that is under way.
    proven: u32,
    /// The highest level that was answered.
    most: u32,
    /// Answers until a single refusal counts.
    doubt: u32,
    /// Refusals in a row, and the lowest level among them.
    refusals: u32,
    lowest: u32,
    /// How often refusals at the limit or below were followed by an answer there.
    strays: u32,
    /// Answers at the limit since it last changed, and for how many times the limit they are counted.
    answers: u32,
    rounds: u32,
    /// By how much the next trial raises the limit.
    step: u32,
}

impl Default for RefusalLimit {
    fn default() -> Self {
        Self {
            limit: UNLIMITED,
            proven: UNLIMITED,
            most: 0,
            doubt: ANSWERS,
            refusals: 0,
            lowest: UNLIMITED,
            strays: 0,
            answers: 0,
            rounds: 1,
            step: 1,
        }
    }
}

impl RefusalLimit {
    /// How many calls may be in flight.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Answers at levels up to this one change nothing.
    pub(crate) fn unmoved_up_to(&self) -> u32 {
        if self.doubt > 0 { 0 } else { self.most.min(self.lowest - 1).min(self.proven - 1) }
    }

    /// A call was answered that was the `level`th in flight when it began.
    pub(crate) fn answered(&mut self, level: u32) {
        self.most = self.most.max(level);
        self.doubt = self.doubt.saturating_sub(1);
        if level >= self.lowest {
            (self.refusals, self.lowest) = (0, UNLIMITED);
            self.strays = self.strays.saturating_add(1);
        }
        if self.limit == UNLIMITED {
            return;
        }
        if self.strays >= STRAYS {
            return self.lift();
        }
        if level > self.proven {
            // The trial has found room.
            (self.proven, self.answers, self.rounds, self.strays) = (self.limit, 0, 1, 0);
            self.step = self.step.saturating_mul(2);
            self.raise();
        } else if level == self.proven && self.limit == self.proven {
            self.answers += 1;
            if self.answers >= self.proven.saturating_mul(self.rounds) {
                self.raise();
            }
        }
    }

    fn raise(&mut self) {
        self.answers = 0;
        self.limit = self.proven.saturating_add(self.step);
        if self.step >= AMPLE {
            self.lift();
        }
    }

    fn lift(&mut self) {
        *self = Self { most: self.most, ..Self::default() };
    }

    /// The endpoint has refused a call that was the `level`th in flight when it began. Returns whether it was more than the endpoint takes.
    pub(crate) fn refused(&mut self, level: u32) -> bool {
        if level > self.proven {
            // The trial has found none. Calls that began before it ended may be refused, too.
            if self.limit > self.proven {
                (self.limit, self.step, self.answers) = (self.proven, 1, 0);
                self.rounds = (self.rounds * 2).min(MOST_ROUNDS);
            }
            return true;
        }
        self.refusals = self.refusals.saturating_add(1);
        self.lowest = self.lowest.min(level);
        let needed = if std::mem::replace(&mut self.doubt, ANSWERS) == 0 { 1 } else { ABOVE_ALL };
        if self.lowest > self.most && self.refusals >= needed {
            let limit = self.lowest.saturating_sub(1).max(1);
            *self = Self { limit, proven: limit, most: limit, ..Self::default() };
            return level > limit;
        }
        false
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refuse(law: &mut RefusalLimit, level: u32) {
        law.refused(level);
    }

    /// An endpoint with so many slots, at which calls begin until it is at its limit, and end.
    fn use_fully(law: &mut RefusalLimit, slots: u32, wanted: u32, times: usize) -> u32 {
        let mut refused = 0;
        for _ in 0..times {
            let calls = wanted.min(law.limit());
            let taken = calls.min(slots);
            (taken + 1..=calls).for_each(|level| refuse(law, level));
            refused += calls - taken;
            (1..=taken).for_each(|level| law.answered(level));
        }
        refused
    }

    #[test]
    fn limit_is_the_number_of_slots() {
        let mut law = RefusalLimit::default();
        use_fully(&mut law, 10, 8, 10);
        assert_eq!(law.limit(), UNLIMITED);
        use_fully(&mut law, 10, 13, 1);
        assert_eq!(law.limit(), 10);
        let refused = use_fully(&mut law, 10, 64, 2000);
        assert!((10..=11).contains(&law.limit()) && refused <= 40, "{refused} of 20,000, {law:?}");
    }

    #[test]
    fn answers_change_nothing_below_a_single_refusal_or_a_limit() {
        let mut law = RefusalLimit::default();
        (0..32).for_each(|_| law.answered(50));
        law.refused(50);
        (0..32).for_each(|_| law.answered(10));
        assert_eq!(law.unmoved_up_to(), 49);
        law.answered(50);
        law.refused(51);
        (0..32).for_each(|_| law.answered(50));
        assert_eq!((law.limit(), law.unmoved_up_to()), (50, 49), "{law:?}");
    }

    #[test]
    fn single_refusal_counts_after_answers() {
        let mut law = RefusalLimit::default();
        (0..32).for_each(|_| law.answered(5));
        law.refused(5);
        (0..31).for_each(|_| law.answered(5));
        law.refused(6);
        assert_eq!(law.limit(), UNLIMITED, "others were refused");
        (0..32).for_each(|_| law.answered(6));
        law.refused(7);
        assert_eq!(law.limit(), 6);
    }

    #[test]
    fn three_refusals_count_among_failures() {
        let mut law = RefusalLimit::default();
        law.answered(10);
        law.refused(12);
        law.refused(11);
        assert_eq!(law.limit(), UNLIMITED);
        law.refused(13);
        assert_eq!(law.limit(), 10);
    }

    #[test]
    fn more_room_is_found_soon() {
        let mut law = RefusalLimit::default();
        use_fully(&mut law, 4, 20, 200);
        assert_eq!(law.limit() / 4, 1);
        // At most one pause of 64 times the limit.
        use_fully(&mut law, 50, 64, 90);
        assert!(law.limit() > 40, "{law:?}");
        use_fully(&mut law, 1000, 64, 90);
        assert_eq!(law.limit(), UNLIMITED);
    }

    #[test]
    fn limit_that_is_not_in_use_is_not_tried() {
        let mut law = RefusalLimit::default();
        law.answered(9);
        (10..13).for_each(|level| refuse(&mut law, level));
        assert_eq!(law.limit(), 9);
        (0..1000).for_each(|_| law.answered(5));
        assert_eq!(law.limit(), 9);
        (0..9).for_each(|_| law.answered(9));
        assert_eq!(law.limit(), 10);
    }

    /// All calls are refused for a while, whatever the level is: by a quota for each second, or in an outage.
    #[test]
    fn quota_is_no_limit() {
        let mut law = RefusalLimit::default();
        for _ in 0..10 {
            use_fully(&mut law, 12, 12, 8);
            (0..8).for_each(|_| (1..=12).for_each(|level| refuse(&mut law, level)));
            assert_eq!(law.limit(), UNLIMITED);
        }
    }

    /// The first calls are refused, as during a start.
    #[test]
    fn endpoint_that_refused_its_first_calls_is_used_fully_soon() {
        let mut law = RefusalLimit::default();
        (1..=3).for_each(|level| refuse(&mut law, level));
        assert_eq!(law.limit(), 1);
        use_fully(&mut law, 1000, 64, 12);
        assert_eq!(law.limit(), UNLIMITED, "{law:?}");
    }

    proptest! {
        /// Failures at random are no limit: seldom one by chance, which does not last.
        #[test]
        fn random_failures_set_no_limit(seed: u64, share in 0.0..0.3f64) {
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut law = RefusalLimit::default();
            let mut held = 0;
            for round in 0..2000 {
                for level in 1..=(round % 60 + 1).min(law.limit()) {
                    if chance.f64() < share { refuse(&mut law, level) } else { law.answered(level) }
                }
                held += u32::from(law.limit() < 30);
            }
            prop_assert!(held <= 200, "below 30 for {held} of 2000 rounds");
        }

        #[test]
        fn limit_is_never_zero(steps in prop::collection::vec((1..20u32, any::<bool>()), 0..500)) {
            let mut law = RefusalLimit::default();
            for (level, is_answered) in steps {
                if is_answered { law.answered(level) } else { refuse(&mut law, level) }
                prop_assert!(law.limit() >= 1 && law.proven <= law.limit());
            }
        }
    }
}
