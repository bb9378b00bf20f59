//! The files of a report: a page for a browser, and one picture.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::Error;

#[derive(Debug)]
pub(crate) struct ReportFiles {
    page: PathBuf,
    picture: PathBuf,
}

impl ReportFiles {
    /// Checks that the report can be written into `directory`, which is created if it does not exist.
    pub(crate) fn create(directory: &Path, picture: &str) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|cause| unwritable("create", directory, &cause))?;
        let files = Self { page: directory.join("report.html"), picture: directory.join(picture) };
        for file in [&files.page, &files.picture] {
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(file);
            opened.map_err(|cause| unwritable("write", file, &cause))?;
        }
        Ok(files)
    }

    pub(super) fn write(&self, page: &str, picture: Option<&str>) -> Result<(), Error> {
        for (file, content) in [(&self.page, Some(page)), (&self.picture, picture)] {
            if let Some(content) = content {
                fs::write(file, content).map_err(|cause| unwritable("write", file, &cause))?;
            }
        }
        Ok(())
    }

    pub(crate) fn page(&self) -> &Path {
        &self.page
    }
}

fn unwritable(verb: &str, path: &Path, cause: &std::io::Error) -> Error {
    format!("cannot {verb} {}: {cause}; choose another directory for the report with --out", path.display()).into()
}
