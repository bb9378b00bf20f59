//! Sums over the states of all keys, at a bounded cost per read.

use super::table::EntryPosition;
use super::{Forgettable, Keyed, Keying};
use crate::ground::sync::{Mutex, lock};

/// How many keys one read visits: about a millisecond's work.
const KEYS: usize = 4096;

/// A running sum. With up to [`KEYS`] keys each read visits all of them, and the sum is current. With more, each read visits the
/// next batch, and the sum is that of the last complete round.
#[derive(Debug, Default)]
pub(crate) struct Survey<S> {
    /// Only our own sums run under the lock.
    progress: Mutex<SurveyProgress<S>>,
}

#[derive(Debug)]
struct SurveyProgress<S> {
    /// Where the next read continues, in a round that has begun.
    after: Option<EntryPosition>,
    round: S,
    last_round: Option<S>,
}

impl<S: Default> Default for SurveyProgress<S> {
    fn default() -> Self {
        Self { after: None, round: S::default(), last_round: None }
    }
}

impl<S: Default + Clone> Survey<S> {
    /// One read. `add` adds a state to a sum that starts at the default.
    pub(crate) fn read<K: Keying, T: Forgettable>(&self, keyed: &Keyed<K, T>, mut add: impl FnMut(&mut S, &T)) -> S {
        let mut progress = lock(&self.progress);
        let SurveyProgress { after, round, last_round } = &mut *progress;
        let position = after.unwrap_or_else(|| {
            *round = S::default();
            keyed.for_each_without_key(|state| add(round, state));
            EntryPosition::BEGIN
        });
        *after = keyed.for_each_after(KEYS, position, |state| add(round, state));
        if after.is_none() {
            *last_round = Some(round.clone());
        }
        last_round.clone().unwrap_or_else(|| round.clone())
    }
}
