//! Counts votes until enough agree, or cannot any more.

/// The state of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoteTally {
    /// Votes are missing.
    Undecided,
    /// The votes with this number agree.
    Agreed(usize),
    /// Too few votes are missing for any number to win.
    Impossible,
}

/// The votes of one call. Answers that agree have the same number, counted from 0 as they come.
#[derive(Clone, Debug)]
pub(crate) struct Ballot {
    needed: usize,
    missing: usize,
    /// The votes for each number.
    counts: Vec<usize>,
}

impl Ballot {
    /// A vote of so many endpoints, of which so many have to agree.
    pub(crate) fn new(endpoints: usize, needed: usize) -> Self {
        Self { needed, missing: endpoints, counts: Vec::new() }
    }

    /// Counts the vote of one endpoint: the number of its answer, or none if it failed.
    pub(crate) fn vote(&mut self, answer: Option<usize>) -> VoteTally {
        self.missing = self.missing.saturating_sub(1);
        if let Some(answer) = answer {
            if self.counts.len() <= answer {
                self.counts.resize(answer + 1, 0);
            }
            if let Some(count) = self.counts.get_mut(answer) {
                *count += 1;
                if *count >= self.needed {
                    return VoteTally::Agreed(answer);
                }
            }
        }
        let most = self.counts.iter().copied().max().unwrap_or(0);
        if most + self.missing < self.needed { VoteTally::Impossible } else { VoteTally::Undecided }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn votes(endpoints: usize, needed: usize, votes: &[Option<usize>]) -> Vec<VoteTally> {
        let mut ballot = Ballot::new(endpoints, needed);
        votes.iter().map(|vote| ballot.vote(*vote)).collect()
    }

    #[test]
    fn two_of_three_agree_or_cannot() {
        use VoteTally::{Agreed, Impossible, Undecided};
        let (a, b, c, failed) = (Some(0), Some(1), Some(2), None);
        assert_eq!(votes(3, 2, &[a, b, a]), [Undecided, Undecided, Agreed(0)]);
        assert_eq!(votes(3, 2, &[a, a]), [Undecided, Agreed(0)]);
        assert_eq!(votes(3, 2, &[a, b, c]), [Undecided, Undecided, Impossible]);
        assert_eq!(votes(3, 2, &[a, failed, failed]), [Undecided, Undecided, Impossible]);
        assert_eq!(votes(3, 2, &[failed, failed]), [Undecided, Impossible]);
        assert_eq!(votes(3, 3, &[a, b]), [Undecided, Impossible]);
        assert_eq!(votes(3, 1, &[failed, a]), [Undecided, Agreed(0)]);
        assert_eq!(votes(1, 1, &[failed]), [Impossible]);
    }

    proptest! {
        /// A naive model looks at all votes so far, and at every way in which the missing ones may fall.
        #[test]
        fn ballot_is_decided_as_soon_as_it_can_be(
            given in prop::collection::vec(prop::option::of(0..4usize), 1..10),
            needed in 1..10usize,
        ) {
            let needed = needed.min(given.len());
            let mut ballot = Ballot::new(given.len(), needed);
            for counted in 1..=given.len() {
                let so_far = &given[..counted];
                let count = |answer| so_far.iter().filter(|vote| **vote == Some(answer)).count();
                let most = (0..4).map(count).max().unwrap_or(0);
                let expected = match (0..4).find(|answer| count(*answer) >= needed) {
                    Some(answer) => VoteTally::Agreed(answer),
                    None if most + given.len() - counted < needed => VoteTally::Impossible,
                    None => VoteTally::Undecided,
                };
                let tally = ballot.vote(given[counted - 1]);
                prop_assert_eq!(tally, expected);
                if tally != VoteTally::Undecided {
                    return Ok(());
                }
            }
            prop_assert!(false, "all have voted, and nothing is decided");
        }
    }
}
