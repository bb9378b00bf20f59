//! Compares the counts with the accepted figures.

use super::figures::Figures;

/// The share by which a row may differ from its figure.
const TOLERANCE: f64 = 0.05;
/// The number of instructions that is always tolerated: in the shortest rows, two reordered instructions exceed the share.
const SLACK: f64 = 10.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Within the tolerance.
    None,
    More,
    Less,
    /// There is no figure yet.
    New,
}

impl Change {
    pub(super) fn of(held: Option<f64>, counted: f64) -> Self {
        let Some(held) = held else { return Self::New };
        let tolerated = (held * TOLERANCE).max(SLACK);
        if counted > held + tolerated {
            Self::More
        } else if counted < held - tolerated {
            Self::Less
        } else {
            Self::None
        }
    }
}

/// Prints all rows, and returns a message for each row that the check does not accept.
pub(super) fn compare(held: &Figures, counted: &Figures, is_whole: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut has_less = false;
    println!("{:<36} {:>10} {:>10} {:>8}", "instructions a call", "committed", "counted", "change");
    for (name, count) in &counted.rows {
        let figure = held.get(name);
        let share = figure.map(|figure| (count / figure - 1.0) * 100.0);
        let percent = share.map_or(String::new(), |share| format!("{share:+.1} %"));
        let committed = figure.map_or(String::new(), |figure| format!("{figure:.1}"));
        let change = Change::of(figure, *count);
        let mark = match change {
            Change::None => "",
            Change::More => "  MORE",
            Change::Less => "  less",
            Change::New => "  NEW",
        };
        println!("{name:<36} {committed:>10} {count:>10.1} {percent:>8}{mark}");
        match change {
            Change::More => {
                problems.push(format!("{name}: {count:.1} instructions, committed are {committed} ({percent})"))
            }
            Change::New => problems.push(format!("{name}: {count:.1} instructions, and no figure is committed")),
            Change::Less => has_less = true,
            Change::None => {}
        }
    }
    if is_whole {
        let gone = held.rows.iter().filter(|(name, _)| counted.get(name).is_none());
        problems.extend(gone.map(|(name, _)| format!("{name}: a figure is committed, and there is no such row")));
    }
    if has_less {
        println!("Some rows have become cheaper: `cargo xtask instructions --bless` commits that.");
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_difference_beyond_tolerance_is_a_change() {
        assert_eq!(Change::of(Some(1000.0), 1050.0), Change::None);
        assert_eq!(Change::of(Some(1000.0), 1050.1), Change::More);
        assert_eq!(Change::of(Some(1000.0), 949.9), Change::Less);
        assert_eq!(Change::of(None, 1.0), Change::New);
    }

    #[test]
    fn short_rows_have_ten_instructions_of_slack() {
        assert_eq!(Change::of(Some(35.0), 45.0), Change::None);
        assert_eq!(Change::of(Some(35.0), 45.1), Change::More);
    }
}
