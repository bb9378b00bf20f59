//! The faults of a file, and the values that were removed because of them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Bound;

use super::node::Node;
use super::read_error::{PathStep, ReadError, ReadErrorCause, unknown_field};
use crate::ground::error::{Fault, InvalidConfig};
use crate::ground::validation::path;

/// The most listed faults; further ones are counted.
const MAX_LISTED: usize = 100;

/// The longest path or problem; longer ones are cut, since both may quote the file.
const MAX_CHARS: usize = 500;

/// The faults so far.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultLog {
    faults: Vec<Fault>,
    unlisted: usize,
    /// The paths of removed values.
    gaps: BTreeSet<String>,
}

impl FaultLog {
    pub(super) fn fault(&mut self, path: &str, problem: impl Display) {
        if self.list_is_full() {
            self.unlisted += 1;
        } else {
            self.faults.push(Fault { path: cut(path.to_owned()), problem: cut(problem.to_string()) });
        }
    }

    /// Records that the value at `path` was removed.
    pub(super) fn add_gap(&mut self, path: &str) {
        self.gaps.insert(path.to_owned());
    }

    pub(super) fn list_is_full(&self) -> bool {
        self.faults.len() >= MAX_LISTED
    }

    /// Records serde's error, unless it follows from a removed value, and removes the value at fault. `None` if the error's path
    /// does not exist.
    pub(super) fn remove(&mut self, root: &mut Node, error: &ReadError) -> Option<()> {
        let steps: Vec<_> = error.steps().collect();
        let (path, node) = descend(root, &steps)?;
        match &error.cause {
            ReadErrorCause::UnknownField { field, known } => {
                if self.remove_unknown(root, &steps, field, known)? {
                    return Some(());
                }
                self.fault(&path, error);
            }
            ReadErrorCause::MissingField(field) => {
                if !node.has_gap_at(field) {
                    let mut path = path;
                    path::push_key(&mut path, field);
                    self.fault(&path, error);
                }
            }
            ReadErrorCause::Other(problem) => {
                if !node.has_gaps() {
                    self.fault(&path, problem);
                }
            }
        }
        // An enum is removed with the content of its variant.
        let held = steps.iter().rev().take_while(|step| step.of_variant).count();
        let (path, node) = descend(root, steps.get(..steps.len() - held)?)?;
        *node = Node::Omitted;
        self.add_gap(&path);
        Some(())
    }

    /// Records and removes all unknown fields of a table at once, because a reading for each would be expensive. `false` if there
    /// is no such entry.
    fn remove_unknown(&mut self, root: &mut Node, steps: &[PathStep], field: &str, known: &[&str]) -> Option<bool> {
        // serde's own code reports the entry of the key; a user's implementation may report the table, and have other known fields.
        let (table, all) = match steps.split_last() {
            Some((entry, outer)) if descend(root, outer)?.1.has_key_at(entry.index, field) => (outer, true),
            _ => (steps, false),
        };
        let (mut path, node) = descend(root, table)?;
        let Node::Table(entries) = node else { return Some(false) };
        let (outer, mut found) = (path.len(), false);
        for (key, node) in entries {
            let is_the_field = key == field;
            if !node.is_omitted() && (is_the_field || all && !known.contains(&&**key)) {
                path::push_key(&mut path, key);
                self.fault(&path, unknown_field(key, known));
                self.add_gap(&path);
                path.truncate(outer);
                *node = Node::Omitted;
                found |= is_the_field;
            }
        }
        Some(found)
    }

    /// Whether the value at `path` was removed, is within a removed value, or contains one.
    pub(super) fn touches_a_gap(&self, path: &str) -> bool {
        let ends = path.match_indices(['.', '[']).map(|(end, _)| end).chain([path.len()]);
        let is_in_one = ends.filter_map(|end| path.get(..end)).any(|outer| self.gaps.contains(outer));
        is_in_one || self.gaps.contains("") || self.holds_a_gap(path)
    }

    fn holds_a_gap(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.gaps.is_empty();
        }
        // The paths within are in two ranges: those of fields, and those of elements.
        ['.', '['].into_iter().any(|separator| {
            let from = format!("{path}{separator}");
            let next = self.gaps.range::<str, _>((Bound::Included(&*from), Bound::Unbounded)).next();
            next.is_some_and(|gap| gap.starts_with(&from))
        })
    }

    pub(super) fn into_result<T>(mut self, value: Option<T>) -> Result<T, InvalidConfig> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => {
                if self.faults.is_empty() {
                    self.fault("", "expected a table of settings");
                }
                self.faults.sort_by(|one, other| one.path.cmp(&other.path));
                Err(InvalidConfig::with_unlisted(self.faults, self.unlisted))
            }
        }
    }
}

/// The node at the end of the steps, and its path.
fn descend<'n>(root: &'n mut Node, steps: &[PathStep]) -> Option<(String, &'n mut Node)> {
    let mut path = String::new();
    let node = steps.iter().try_fold(root, |node, step| node.child(step.index, &mut path))?;
    Some((path, node))
}

/// Cuts the text if it is too long.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
