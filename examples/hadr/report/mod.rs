//! The output: tables on the terminal, a page for a browser, and one picture. The charts are those of the storm.

#[path = "../../storm/report/chart.rs"]
mod chart;
mod curves;
mod page;
#[allow(dead_code, reason = "the storm needs more of it")]
#[path = "../../storm/report/sheet.rs"]
mod sheet;
mod tables;
#[path = "../../storm/report/theme.rs"]
mod theme;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::claim::Results;
use crate::fault::Fault;
use crate::topology::Topology;

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
        let report = Self { page: directory.join("report.html"), picture: directory.join("hadr.svg") };
        for file in [&report.page, &report.picture] {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
            opened.map_err(|cause| unwritable("write", file, &cause))?;
        }
        Ok(report)
    }

    pub(crate) fn write(&self, results: &Results) -> Result<(), Error> {
        fs::write(&self.page, page::page(results)?).map_err(|cause| unwritable("write", &self.page, &cause))?;
        if let Some((run, _)) = results.fault(Topology::TwoAndStandby, Fault::Kill) {
            let picture = chart::svg(&[vec![curves::by_node(run, results.pace)]], 1000, 320)?;
            fs::write(&self.picture, picture).map_err(|cause| unwritable("write", &self.picture, &cause))?;
        }
        Ok(())
    }

    pub(crate) fn page(&self) -> &Path {
        &self.page
    }
}

/// The tables for the terminal.
pub(crate) fn tables(results: &Results) -> String {
    let comparison = if results.ramps.is_empty() { String::new() } else { tables::topologies(results).text() + "\n\n" };
    format!("{comparison}{}\n", tables::faults(results).text())
}

fn unwritable(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    format!("cannot {verb} {}: {cause}; choose another directory for the report with --out", path.display()).into()
}
