//! The project's tasks: `cargo xtask help`.

mod api;
mod chromium;
mod instructions;
mod need;
mod toolchain;
mod valgrind;

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::need::Need;

const HELP: &str = "\
Usage: cargo xtask test [--no-install] [-- ARGUMENTS]
       cargo xtask instructions [--bless] [--only NAME] [--no-install]
       cargo xtask api [--bless]
       cargo xtask help

test           Installs what the tests need and is missing, and runs all of them:
               `cargo test --workspace --all-features ARGUMENTS`.
  --no-install Installs nothing: what is missing is an error.

instructions   Counts the instructions of a call under valgrind, for each layer, the stacks and
               refusals, and compares them with `benches/instructions.toml`. A row that is more
               than 5 % above its figure fails, and so does one without a figure. On one toolchain
               the counts repeat within one percent; with another rustc (minor version) or target
               than that of the figures, the comparison is printed and does not gate. Without
               valgrind the step is left out, and says so.
  --bless      Writes what was counted to the file: this accepts new figures.
  --only NAME  Only rows whose name contains NAME.
  --no-install Does not install valgrind.

api            Compares the public API of the library with `checks/api.txt`, and lists the lines that
               are removed or added. With another rustc (minor version) than that of the file, the
               step is left out, and says so.
  --bless      Writes the public API to the file: this accepts a change.
";

/// The programs that tests need beside Rust.
const NEEDS: [Need; 1] = [chromium::NEED];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let outcome = match arguments.next().as_deref().and_then(|task| task.to_str()) {
        Some("test") => test(arguments),
        Some("instructions") => instructions::run(arguments),
        Some("api") => api::run(arguments),
        None | Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("unknown task `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn test(mut arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    let mut may_install = true;
    for argument in arguments.by_ref() {
        match argument.to_str() {
            Some("--no-install") => may_install = false,
            Some("--") => break,
            _ => return Err(format!("unknown option `{}`\n\n{HELP}", argument.to_string_lossy())),
        }
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tests = Command::new(cargo);
    tests.args(["test", "--workspace", "--all-features"]).args(arguments);
    for need in &NEEDS {
        let program = need.prepare(may_install)?;
        println!("{}: {}", need.name, program.display());
        tests.env(need.variable, program);
    }
    println!("running {}", need::shown(&tests));
    need::run(&mut tests)
}
