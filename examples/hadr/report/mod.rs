//! The output: tables on the terminal, a page for a browser, and one picture. The charts and the parts of the page are those of the storm.

#[path = "../../storm/report/chart.rs"]
mod chart;
mod curves;
#[path = "../../storm/report/files.rs"]
mod files;
#[path = "../../storm/report/html.rs"]
mod html;
mod page;
#[allow(dead_code, reason = "the storm needs more of it")]
#[path = "../../storm/report/sheet.rs"]
mod sheet;
mod tables;
#[path = "../../storm/report/theme.rs"]
mod theme;

use std::path::Path;

use files::ReportFiles;

use crate::Error;
use crate::claim::Results;
use crate::fault::Fault;
use crate::topology::Topology;

/// Checks that the report can be written into `directory`, which is created if it does not exist.
pub(crate) fn create(directory: &Path) -> Result<ReportFiles, Error> {
    ReportFiles::create(directory, "hadr.svg")
}

pub(crate) fn write(files: &ReportFiles, results: &Results) -> Result<(), Error> {
    let picture = match results.fault(Topology::TwoAndStandby, Fault::Kill) {
        Some((run, _)) => Some(chart::svg(&[vec![curves::by_node(run, results.pace)]], 1000, 320)?),
        None => None,
    };
    files.write(&page::page(results)?, picture.as_deref())
}

/// The tables for the terminal.
pub(crate) fn tables(results: &Results) -> String {
    let comparison = if results.ramps.is_empty() { String::new() } else { tables::topologies(results).text() + "\n\n" };
    format!("{comparison}{}\n", tables::faults(results).text())
}
