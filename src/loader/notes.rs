//! What has been found wrong in a file, and what was left out because of it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Bound;

use super::node::Node;
use super::stumble::{Cause, Step, Stumble, unknown_field};
use crate::ground::error::{Fault, InvalidConfig};
use crate::ground::validation::path;

/// So many faults are listed; the others are counted.
const MAX_LISTED: usize = 100;

/// What is longer, a path or a problem, is cut: both may quote the file.
const MAX_CHARS: usize = 500;

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

    pub(super) fn list_is_full(&self) -> bool {
        self.faults.len() >= MAX_LISTED
    }

    /// Notes what serde stumbled over, unless that is only so because of what had been left out, and leaves it out.
    /// `None` if there is no such place.
    pub(super) fn leave_out(&mut self, root: &mut Node, stumble: &Stumble) -> Option<()> {
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
    pub(super) fn touches_a_gap(&self, path: &str) -> bool {
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

    pub(super) fn unless_faulty<T>(mut self, value: Option<T>) -> Result<T, InvalidConfig> {
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
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
