//! From a tree to settings, with all that is wrong on the way.
//!
//! serde stops at the first thing that it cannot read. So what it stopped at is noted and left out, its default takes its
//! place, and the reading goes on from there, until it comes through. Then all is read once more and the values are validated.
//! What is only wrong because something was left out or passed over is no fault: a table that lacks what was left out, an enum
//! without its content, a value that was compared with a default that nobody meant.
//!
//! To go on, a reading passes over what earlier ones have read, so that the cost of many faults is that of a few readings.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Bound;

use serde::Deserializer;
use serde::de::{Deserialize, DeserializeOwned};

use super::draft::Draft;
use super::node::{Node, Reader};
use super::stumble::{Cause, Step, Stumble, unknown_field};
use crate::ground::error::{Fault, InvalidConfig};
use crate::ground::validation::path;
use crate::ground::validation::{Finding, Validate, Validation};

/// So many faults are listed; the others are counted.
const MAX_LISTED: usize = 100;

/// After how many visits of nodes no more are made for faults that are only counted. Each needs a reading of the whole tree, and a file may be
/// large, and wrong everywhere.
const MAX_VISITS: u64 = 200_000;

/// What is longer, a path or a problem, is cut: both may quote the file.
const MAX_CHARS: usize = 500;

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

/// What has been found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    faults: Vec<Fault>,
    unlisted: usize,
    /// The paths of what was left out.
    gaps: BTreeSet<String>,
}

impl Notes {
    pub(super) fn fault(&mut self, path: &str, problem: impl Display) {
        if self.list_is_full() {
            self.unlisted += 1;
        } else {
            self.faults.push(Fault { path: cut(path.to_owned()), problem: cut(problem.to_string()) });
        }
    }

    /// What is at `path` has been left out.
    pub(super) fn gone(&mut self, path: &str) {
        self.gaps.insert(path.to_owned());
    }

    fn list_is_full(&self) -> bool {
        self.faults.len() >= MAX_LISTED
    }

    /// Notes what serde stumbled over, unless that is only so because of what had been left out, and leaves it out.
    /// `None` if there is no such place.
    fn leave_out(&mut self, root: &mut Node, stumble: &Stumble) -> Option<()> {
        let steps: Vec<_> = stumble.steps().collect();
        let (path, node) = descend(root, &steps)?;
        match &stumble.cause {
            Cause::UnknownField { field, known } => {
                if self.leave_out_unknown(root, &steps, field, known)? {
                    return Some(());
                }
                self.fault(&path, stumble);
            }
            Cause::MissingField(field) => {
                if !node.has_gap_at(field) {
                    let mut path = path;
                    path::push_key(&mut path, field);
                    self.fault(&path, stumble);
                }
            }
            Cause::Other(problem) => {
                if !node.has_gaps() {
                    self.fault(&path, problem);
                }
            }
        }
        // An enum is nothing without what its variant holds.
        let held = steps.iter().rev().take_while(|step| step.of_variant).count();
        let (path, node) = descend(root, steps.get(..steps.len() - held)?)?;
        *node = Node::Gone;
        self.gone(&path);
        Some(())
    }

    /// Where one field is unknown others may be, too: all that a table has are noted at once, for a reading each would be dear.
    /// Is false where there is no such entry.
    fn leave_out_unknown(&mut self, root: &mut Node, steps: &[Step], field: &str, known: &[&str]) -> Option<bool> {
        // serde's own code stumbles over the key, which is of the entry; code of somebody's own may do so over the table, and
        // have its own idea of what else is known.
        let (table, all) = match steps.split_last() {
            Some((entry, outer)) if descend(root, outer)?.1.has_key_at(entry.index, field) => (outer, true),
            _ => (steps, false),
        };
        let (mut path, node) = descend(root, table)?;
        let Node::Table(entries) = node else { return Some(false) };
        let (outer, mut found) = (path.len(), false);
        for (key, node) in entries {
            let is_it = key == field;
            if !node.is_gone() && (is_it || all && !known.contains(&&**key)) {
                path::push_key(&mut path, key);
                self.fault(&path, unknown_field(key, known));
                self.gone(&path);
                path.truncate(outer);
                *node = Node::Gone;
                found |= is_it;
            }
        }
        Some(found)
    }

    /// Whether what is at `path` was left out, or is in what was, or holds such a thing.
    fn touches_a_gap(&self, path: &str) -> bool {
        let ends = path.match_indices(['.', '[']).map(|(end, _)| end).chain([path.len()]);
        let is_in_one = ends.filter_map(|end| path.get(..end)).any(|outer| self.gaps.contains(outer));
        is_in_one || self.gaps.contains("") || self.holds_a_gap(path)
    }

    fn holds_a_gap(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.gaps.is_empty();
        }
        // The paths within come in two stretches: those of fields, and those of elements.
        ['.', '['].into_iter().any(|separator| {
            let from = format!("{path}{separator}");
            let next = self.gaps.range::<str, _>((Bound::Included(&*from), Bound::Unbounded)).next();
            next.is_some_and(|gap| gap.starts_with(&from))
        })
    }

    fn unless_faulty<T>(mut self, value: Option<T>) -> Result<T, InvalidConfig> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => {
                if self.faults.is_empty() {
                    self.fault("", "these are no settings");
                }
                self.faults.sort_by(|one, other| one.path.cmp(&other.path));
                Err(InvalidConfig::with_unlisted(self.faults, self.unlisted))
            }
        }
    }
}

/// What the steps lead to, and its path.
fn descend<'n>(root: &'n mut Node, steps: &[Step]) -> Option<(String, &'n mut Node)> {
    let mut path = String::new();
    let node = steps.iter().try_fold(root, |node, step| node.child(step.index, &mut path))?;
    Some((path, node))
}

/// Cut if it is too long.
pub(super) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
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
