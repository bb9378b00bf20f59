//! The output of a storm: tables on the terminal, a page for a browser, and one picture.

mod chart;
mod curves;
mod files;
mod html;
mod leak;
mod overload;
mod page;
mod sheet;
mod table;
mod theme;

use std::path::Path;

use files::ReportFiles;

use crate::Error;
use crate::acts::{Runs, Scripts};

/// Checks that the report can be written into `directory`, which is created if it does not exist.
pub(crate) fn create(directory: &Path) -> Result<ReportFiles, Error> {
    ReportFiles::create(directory, "storm.svg")
}

pub(crate) fn write(files: &ReportFiles, scripts: &Scripts, runs: &Runs) -> Result<(), Error> {
    files.write(&page::page(scripts, runs)?, Some(&picture(scripts, runs)?))
}

/// The picture of all acts that were run: the storm, and below it the leak beside the overload.
fn picture(scripts: &Scripts, runs: &Runs) -> Result<String, Error> {
    let mut rows = Vec::new();
    if !runs.storm.is_empty() {
        rows.extend(curves::panels(&scripts.storm, &runs.storm).map(|panel| vec![panel]));
    }
    let mut last = Vec::new();
    if !runs.leak.is_empty() {
        last.push(leak::panel(&scripts.leak, &runs.leak));
    }
    if !runs.overload.is_empty() {
        last.push(overload::panel(&runs.overload));
    }
    if !last.is_empty() {
        rows.push(last);
    }
    chart::svg(&rows, 1000, 320)
}

/// The tables for the terminal.
pub(crate) fn tables(scripts: &Scripts, runs: &Runs) -> String {
    let mut tables = String::new();
    if !runs.storm.is_empty() {
        tables += &format!("The storm\n{}\n\n", table::sheet(&runs.storm).text());
    }
    if !runs.leak.is_empty() {
        tables += &format!("The leak\n{}\n\n", leak::sheet(&scripts.leak, &runs.leak).text());
    }
    if !runs.overload.is_empty() {
        tables += &format!("The overload\n{}\n\n", overload::sheet(&scripts.overload, &runs.overload).text());
    }
    tables
}
