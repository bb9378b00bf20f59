//! The browser that the tests of the live page drive.

#[path = "../../tests/dashboard/program.rs"]
mod program;

use std::path::PathBuf;
use std::process::Command;

use crate::need::{Need, apt};

pub(crate) const NEED: Need = Need {
    name: "Chromium",
    purpose: "the tests of the live page",
    variable: program::VARIABLE,
    find,
    install,
    by_hand: "npx @puppeteer/browsers install chrome-headless-shell@stable",
};

fn find() -> Option<PathBuf> {
    program::find().filter(|program| program::starts(program)).or_else(program::installed)
}

/// Debian has a package. Ubuntu's package installs a snap, which does not work in a container, so Ubuntu gets Google's package.
fn install() -> Option<Vec<Command>> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let is = |name: &str| release.lines().any(|line| line.trim_matches('"') == format!("ID={name}"));
    if is("ubuntu") {
        let package = "/tmp/google-chrome-stable.deb";
        let mut download = Command::new("curl");
        download.args(["-fsSL", "-o", package]);
        download.arg("https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb");
        let tools = apt(&["install", "curl", "ca-certificates"]);
        return Some(vec![apt(&["update"]), tools, download, apt(&["install", package])]);
    }
    is("debian").then(|| vec![apt(&["update"]), apt(&["install", "chromium"])])
}
