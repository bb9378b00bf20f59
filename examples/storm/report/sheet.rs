//! A table of text, for the terminal and for the page.

use comfy_table::{CellAlignment, Table};

/// Rows under headings, with a legend.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) headings: &'static [&'static str],
    pub(super) lines: Vec<Vec<String>>,
    /// The number of columns with names; the other columns are numbers, aligned to the right.
    pub(super) names: usize,
    pub(super) legend: String,
}

impl Sheet {
    /// For the terminal.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(self.headings);
        table.add_rows(&self.lines);
        for column in table.column_iter_mut().skip(self.names) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n{}", self.legend)
    }
}

pub(super) fn number(number: Option<f64>, digits: usize) -> String {
    number.map_or("–".into(), |number| format!("{number:.digits$}"))
}

pub(super) fn milliseconds(wait: Option<std::time::Duration>) -> String {
    wait.map_or("–".into(), |wait| format!("{} ms", wait.as_millis()))
}
