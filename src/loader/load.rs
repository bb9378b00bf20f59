//! From a tree to settings, with all that is wrong on the way.
//!
//! serde stops at the first thing that it cannot read. So what it stopped at is noted and left out, its default takes its
//! place, and the reading goes on from there, until it comes through. Then all is read once more and the values are validated.
//! What is only wrong because something was left out or passed over is no fault: a table that lacks what was left out, an enum
//! without its content, a value that was compared with a default that nobody meant.
//!
//! To go on, a reading passes over what earlier ones have read, so that the cost of many faults is that of a few readings.

use std::cell::Cell;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeOwned};

use super::draft::Draft;
use super::node::Reader;
use crate::ground::error::InvalidConfig;
use crate::ground::validation::{Finding, Validate, Validation};

/// After how many visits of nodes no more are made for faults that are only counted. Each needs a reading of the whole tree, and a file may be
/// large, and wrong everywhere.
const MAX_VISITS: u64 = 200_000;

/// A file that is written in place is empty for a moment.
pub(crate) const EMPTY: &str =
    "empty: there are no settings in it. Defaults are asked for by name, as in `[client.payments]`";

/// Reads settings, and lists all that is wrong with them at once. See the [module](crate::config).
///
/// Costs a reading of the file, and one of its tree; where there are faults, about two more.
///
/// # Errors
/// All faults, with the path of each, in the order of the paths: what is not of the type or in the form that is expected, fields
/// that there are not, keys that are there more than once, numbers that are not finite, values that are out of range or
/// contradict each other. If the file itself cannot be read, that is the one fault, and its path is empty. Of very many faults
/// [some are only counted](InvalidConfig::unlisted).
pub fn load<'de, T, D>(deserializer: D) -> Result<T, InvalidConfig>
where
    T: DeserializeOwned + Validate,
    D: Deserializer<'de>,
{
    Draft::deserialize(deserializer).map_err(InvalidConfig::unreadable)?.load()
}

impl Draft {
    /// Takes what the file says for settings.
    ///
    /// # Errors
    /// All that is wrong with them, as for [`load`].
    pub fn load<T: DeserializeOwned + Validate>(self) -> Result<T, InvalidConfig> {
        self.load_counted(&Cell::new(0))
    }

    /// Counts the visits of nodes.
    fn load_counted<T: DeserializeOwned + Validate>(self, visits: &Cell<u64>) -> Result<T, InvalidConfig> {
        let Self { mut root, mut notes } = self;
        if root.is_empty() {
            // Not all defaults: that would be applied to a live service.
            return Err(InvalidConfig::unreadable(EMPTY));
        }
        let mut resume = Vec::new();
        let value = loop {
            match T::deserialize(Reader::new(&root, visits, &resume)) {
                Ok(value) if resume.is_empty() => break Some(value),
                Ok(_) => resume.clear(),
                Err(stumble) => match stumble.passes_over(&resume) {
                    Some(next) => resume = next,
                    None => {
                        if notes.leave_out(&mut root, &stumble).is_none() {
                            // It says to have come by where there is nothing.
                            notes.fault("", stumble);
                            break None;
                        }
                        resume = stumble.steps().map(|step| step.index).collect();
                    }
                },
            }
            if root.is_gone() || (notes.list_is_full() && visits.get() > MAX_VISITS) {
                break None;
            }
        };
        if let Some(value) = &value {
            let mut validation = Validation::default();
            value.check(&mut validation);
            for Finding { fault, against } in validation.findings {
                if !against.iter().chain([&fault.path]).any(|path| notes.touches_a_gap(path)) {
                    notes.fault(&fault.path, fault.problem);
                }
            }
        }
        notes.unless_faulty(value)
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;
    use crate::stack::config::Config;

    /// The faults of a file whose last ninety clients are wrong, and how many nodes were visited for them.
    fn faults_at_the_end(clients: u32) -> (usize, u64) {
        let client = |n: u32| match (n + 90 >= clients, n % 3) {
            (false, _) => serde_json::json!({ "retry": { "max_attempts": 2 } }),
            (true, 0) => serde_json::json!({ "retry": { "max_attempts": "many" } }),
            (true, 1) => serde_json::json!({ "retri": {} }),
            (true, _) => serde_json::json!({ "deadline": { "timeout": "2 parsecs" } }),
        };
        let all: serde_json::Map<_, _> = (0..clients).map(|n| (format!("c{n:06}"), client(n))).collect();
        let visits = Cell::new(0);
        let draft = Draft::deserialize(serde_json::json!({ "client": all })).expect("a tree");
        let invalid = draft.load_counted::<Config>(&visits).expect_err("ninety faults");
        (invalid.faults().len(), visits.get())
    }

    #[test]
    fn cost_of_faults_grows_with_the_file_and_not_with_their_number() {
        for clients in [1_000, 10_000] {
            let (faults, visits) = faults_at_the_end(clients);
            assert_eq!(faults, 90);
            assert!(visits < 10 * u64::from(clients), "{visits} visits of {clients} clients");
        }
    }
}
