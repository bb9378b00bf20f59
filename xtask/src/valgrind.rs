//! Valgrind, which counts instructions.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::need::{self, Need};

const VARIABLE: &str = "SEAWALL_VALGRIND";

pub(crate) const NEED: Need = Need {
    name: "Valgrind",
    purpose: "the counts of instructions",
    variable: VARIABLE,
    find,
    install,
    by_hand: "unpack a release from https://valgrind.org, `./configure --prefix=$HOME/.local && make install`",
};

/// The short form of [`NEED`], in one line.
pub(crate) const IN_SHORT: &str = "`apt-get install valgrind` as root, or set SEAWALL_VALGRIND to the program";

fn find() -> Option<PathBuf> {
    let program = PathBuf::from(env::var_os(VARIABLE).unwrap_or_else(|| "valgrind".into()));
    starts(&program).then_some(program)
}

fn install() -> Option<Vec<Command>> {
    starts("apt-get".as_ref()).then(|| vec![need::apt(&["update"]), need::apt(&["install", "valgrind"])])
}

fn starts(program: &std::path::Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
