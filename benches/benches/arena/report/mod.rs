//! The results as a table on the terminal, as lines for tools, and as a page.

mod page;

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

pub(crate) use self::page::page;
use crate::runs::Results;
use crate::score::of_scores;

/// Prints the median score of each contestant in each scenario, with the 5 % and 95 % quantiles over the seeds.
pub(crate) fn table(results: &Results) {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["scenario", ""].into_iter().chain(results.contestants.iter().copied()));
    for (scenario, (name, title)) in results.scenarios.iter().enumerate() {
        let mut row = vec![(*name).to_owned(), (*title).to_owned()];
        row.extend((0..results.contestants.len()).map(|contestant| {
            let scores = results.scores(scenario, contestant);
            let spread = format!(" {:.2}–{:.2}", of_scores(&scores, 0.05), of_scores(&scores, 0.95));
            let spread = if scores.len() > 1 { spread } else { String::new() };
            format!("{:.3}{spread}", results.score(scenario, contestant))
        }));
        table.add_row(row);
    }
    let mut row = vec!["R".to_owned(), "100 × geometric mean".to_owned()];
    row.extend((0..results.contestants.len()).map(|contestant| format!("{:.1}", results.total(contestant))));
    table.add_row(row);
    table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("{table}");
    for (label, note) in &results.notes {
        println!("{label}: {note}");
    }
}

/// Prints a line for each score, and for what it is made of.
pub(crate) fn figures(results: &Results) {
    for (scenario, (name, _)) in results.scenarios.iter().enumerate() {
        println!("time arena.{name} {:.1} s", results.times[scenario]);
        for (contestant, label) in results.contestants.iter().enumerate() {
            println!("figure arena.{name}.{label} {:.4}", results.score(scenario, contestant));
            let first = results.outcomes(scenario, contestant).first();
            for (what, value) in first.iter().flat_map(|outcome| &outcome.details) {
                println!("detail arena.{name}.{label} {what}: {value:.4}");
            }
        }
    }
    for (contestant, label) in results.contestants.iter().enumerate() {
        println!("figure arena.R.{label} {:.2}", results.total(contestant));
    }
}
