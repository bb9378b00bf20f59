//! From a tree to settings, with all faults on the way.
//!
//! serde stops at its first error. So the value at fault is recorded and removed, its default takes its place, and the reading
//! resumes from there, until it succeeds. Then everything is read once more, and the values are validated. An error that follows
//! only from a removed or skipped value is no fault: a table that lacks a removed field, an enum without its content, a value that
//! was compared with a default in place of a removed one.
//!
//! A resumed reading skips what earlier ones have read, so that many faults cost about as much as a few readings.

use std::cell::Cell;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeOwned};

use super::draft::Draft;
use super::node::Reader;
use crate::ground::error::InvalidConfig;
use crate::ground::validation::{Finding, Validate, Validation};

/// The most visits of nodes for faults that are only counted. Each fault needs a reading of the tree, and a large file may have
/// faults everywhere.
const MAX_VISITS: u64 = 200_000;

/// The fault of an empty file: a file that is rewritten in place is empty for a moment.
pub(crate) const EMPTY: &str =
    "empty: there are no settings in it. Defaults are asked for by name, as in `[client.payments]`";

/// Reads settings, and lists all faults at once. See the [module](crate::config).
///
/// Costs a reading of the file and one of its tree; with faults, about two more.
///
/// # Errors
/// All faults with their paths, in the order of the paths: wrong types and forms, unknown fields, duplicate keys, numbers that are
/// not finite, values that are out of range or contradict each other. If the file itself cannot be read, that is the one fault, and
/// its path is empty. Of very many faults [some are only counted](InvalidConfig::unlisted).
pub fn load<'de, T, D>(deserializer: D) -> Result<T, InvalidConfig>
where
    T: DeserializeOwned + Validate,
    D: Deserializer<'de>,
{
    Draft::deserialize(deserializer).map_err(InvalidConfig::unreadable)?.load()
}

impl Draft {
    /// Reads the file's tree as settings.
    ///
    /// # Errors
    /// All faults, as for [`load`].
    pub fn load<T: DeserializeOwned + Validate>(self) -> Result<T, InvalidConfig> {
        self.load_counted(&Cell::new(0))
    }

    /// Counts the visits of nodes.
    fn load_counted<T: DeserializeOwned + Validate>(self, visits: &Cell<u64>) -> Result<T, InvalidConfig> {
        let Self { mut root, mut log } = self;
        if root.is_empty() {
            // Not all defaults: a reload would apply them to a live service.
            return Err(InvalidConfig::unreadable(EMPTY));
        }
        let mut resume = Vec::new();
        let value = loop {
            match T::deserialize(Reader::new(&root, visits, &resume)) {
                Ok(value) if resume.is_empty() => break Some(value),
                Ok(_) => resume.clear(),
                Err(error) => match error.skip_to(&resume) {
                    Some(next) => resume = next,
                    None => {
                        if log.remove(&mut root, &error).is_none() {
                            // The error's path does not exist in the tree.
                            log.fault("", error);
                            break None;
                        }
                        resume = error.steps().map(|step| step.index).collect();
                    }
                },
            }
            if root.is_omitted() || (log.list_is_full() && visits.get() > MAX_VISITS) {
                break None;
            }
        };
        if let Some(value) = &value {
            let mut validation = Validation::default();
            value.check(&mut validation);
            for Finding { fault, against } in validation.findings {
                if !against.iter().chain([&fault.path]).any(|path| log.touches_a_gap(path)) {
                    log.fault(&fault.path, fault.problem);
                }
            }
        }
        log.into_result(value)
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use super::*;
    use crate::stack::config::Config;

    /// The faults of a file whose last ninety clients are invalid, and the number of visited nodes.
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
    fn cost_depends_on_the_file_not_on_its_faults() {
        for clients in [1_000, 10_000] {
            let (faults, visits) = faults_at_the_end(clients);
            assert_eq!(faults, 90);
            assert!(visits < 10 * u64::from(clients), "{visits} visits of {clients} clients");
        }
    }
}
