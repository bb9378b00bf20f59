//! Finds the browser. Shared with `cargo xtask test`, which installs one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The environment variable that names the browser. If it is set, a browser that does not start is an error.
pub(crate) const VARIABLE: &str = "SEAWALL_BROWSER";

const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// The program that [`VARIABLE`] names, or a Chromium that starts.
pub(crate) fn find() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from).or_else(installed)
}

/// The first Chromium in the path that starts. Ubuntu has a `chromium-browser` that does not start.
pub(crate) fn installed() -> Option<PathBuf> {
    NAMES.into_iter().map(PathBuf::from).find(|program| starts(program))
}

pub(crate) fn starts(program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
