//! The output of a storm: tables on the terminal, a page for a browser, and one picture.

mod chart;
mod curves;
mod leak;
mod overload;
mod page;
mod sheet;
mod table;
mod theme;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::acts::{Runs, Scripts};

/// The files of the report.
#[derive(Debug)]
pub(crate) struct Report {
    page: PathBuf,
    picture: PathBuf,
}

impl Report {
    /// Checks that the report can be written into `directory`, which is created if it does not exist.
    pub(crate) fn create(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|cause| unwritable("create", directory, &cause))?;
        let report = Self { page: directory.join("report.html"), picture: directory.join("storm.svg") };
        for file in [&report.page, &report.picture] {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
            opened.map_err(|cause| unwritable("write", file, &cause))?;
        }
        Ok(report)
    }

    pub(crate) fn write(&self, scripts: &Scripts, runs: &Runs) -> Result<(), Error> {
        let picture = picture(scripts, runs)?;
        fs::write(&self.page, page::page(scripts, runs)?).map_err(|cause| unwritable("write", &self.page, &cause))?;
        fs::write(&self.picture, picture).map_err(|cause| unwritable("write", &self.picture, &cause))?;
        Ok(())
    }

    pub(crate) fn page(&self) -> &Path {
        &self.page
    }
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

fn unwritable(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    format!("cannot {verb} {}: {cause}; choose another directory for the report with --out", path.display()).into()
}
