//! The committed list of public items, and its file.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The rustc that they were read with, without the patch level: `1.95`.
    pub(super) rustc: String,
    /// One per line, sorted.
    pub(super) items: Vec<String>,
}

const HEAD: &str = "\
# The public API of the library with all features, one item a line. Blanket impls, those of auto traits and
# functions of trait impls are left out.
# Written by `cargo xtask api --bless`, which is how a change is accepted. The check gates only with this rustc.
";
const RUSTC: &str = "# rustc ";

impl Snapshot {
    /// The text of the file.
    pub(super) fn to_text(&self) -> String {
        let Self { rustc, items } = self;
        format!("{HEAD}{RUSTC}{rustc}\n\n{}\n", items.join("\n"))
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rustc = text.lines().find_map(|line| line.strip_prefix(RUSTC));
        let rustc = rustc.ok_or_else(|| format!("a line `{RUSTC}VERSION` is missing"))?.to_owned();
        let is_item = |line: &&str| !line.is_empty() && (!line.starts_with('#') || line.starts_with("#["));
        Ok(Self { rustc, items: text.lines().filter(is_item).map(str::to_owned).collect() })
    }

    /// The lines that are missing in `items`, with `-`, and those that are new, with `+`, in the order of the items.
    pub(super) fn changes(&self, items: &[String]) -> Vec<String> {
        // A line may occur twice, such as an inherent method of two impls.
        let mut counts = BTreeMap::<&str, isize>::new();
        for item in &self.items {
            *counts.entry(item).or_default() -= 1;
        }
        for item in items {
            *counts.entry(item).or_default() += 1;
        }
        let changed = counts.into_iter().filter(|(_, count)| *count != 0);
        let mut changed: Vec<_> = changed.map(|(item, count)| (path(item), count > 0, item)).collect();
        changed.sort_unstable();
        changed.iter().map(|(_, is_new, item)| format!("{} {item}", if *is_new { '+' } else { '-' })).collect()
    }
}

/// The text from the item's path on. Sorting by it lists the old and the new form of an item side by side.
fn path(item: &str) -> &str {
    item.find("seawall::").map_or(item, |at| &item[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(items: &[&str]) -> Snapshot {
        Snapshot { rustc: "1.95".to_owned(), items: items.iter().map(|item| (*item).to_owned()).collect() }
    }

    #[test]
    fn snapshot_survives_its_file() {
        let snapshot = snapshot(&["pub mod seawall", "#[non_exhaustive] pub enum seawall::Reason"]);
        assert_eq!(Snapshot::parse(&snapshot.to_text()), Ok(snapshot));
    }

    #[test]
    fn snapshot_without_rustc_is_an_error() {
        assert!(Snapshot::parse("pub mod seawall\n").is_err());
    }

    #[test]
    fn changes_list_lines_removed_and_added() {
        let committed = snapshot(&["pub mod seawall", "pub fn seawall::seed(u64)", "pub fn seawall::gone()"]);
        let now = ["pub mod seawall", "pub fn seawall::seed(u32)", "pub fn seawall::new()"].map(str::to_owned);
        let changes = committed.changes(&now);
        assert_eq!(
            changes,
            [
                "- pub fn seawall::gone()",
                "+ pub fn seawall::new()",
                "+ pub fn seawall::seed(u32)",
                "- pub fn seawall::seed(u64)"
            ]
        );
    }

    #[test]
    fn removal_of_one_of_two_equal_lines_is_listed_once() {
        let committed = snapshot(&["pub fn seawall::new()", "pub fn seawall::new()"]);
        assert_eq!(committed.changes(&["pub fn seawall::new()".to_owned()]), ["- pub fn seawall::new()"]);
        assert!(committed.changes(&committed.items).is_empty());
    }
}
