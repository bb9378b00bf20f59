//! What a storm leaves behind: a table on the terminal, a page to open in a browser, and one picture.

mod chart;
mod curves;
mod page;
mod table;
mod theme;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

pub(crate) use table::table;

use crate::Error;
use crate::run::Run;
use crate::scenario::Scenario;

/// The files of the report.
#[derive(Debug)]
pub(crate) struct Report {
    page: PathBuf,
    picture: PathBuf,
}

impl Report {
    /// Makes sure that the report can be written into `directory`, which is created if need be.
    pub(crate) fn create(directory: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|cause| unwritable("create", directory, &cause))?;
        let report = Self { page: directory.join("report.html"), picture: directory.join("storm.svg") };
        for file in [&report.page, &report.picture] {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
            opened.map_err(|cause| unwritable("write", file, &cause))?;
        }
        Ok(report)
    }

    pub(crate) fn write(&self, scenario: &Scenario, runs: &[Run]) -> Result<(), Error> {
        let picture = curves::picture(scenario, runs)?;
        fs::write(&self.page, page::page(scenario, runs)?).map_err(|cause| unwritable("write", &self.page, &cause))?;
        fs::write(&self.picture, picture).map_err(|cause| unwritable("write", &self.picture, &cause))?;
        Ok(())
    }

    pub(crate) fn page(&self) -> &Path {
        &self.page
    }
}

fn unwritable(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    format!("cannot {verb} {}: {cause}; choose another directory for the report with --out", path.display()).into()
}
