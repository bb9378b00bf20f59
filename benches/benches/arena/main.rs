//! What the layers are worth: reproducible scenarios in virtual time, on the same traces for every contestant, scored against the best
//! that is possible.
//!
//! ```text
//! cargo bench -p seawall-benches --bench arena [-- --scenarios E1,E3] [--contestants seawall_default,tower] [--seeds 3] [--quick]
//! ```
//!
//! It prints a table of scores and writes a page with curves to `target/arena/`. It exits with 1 if the independent model of an
//! unprotected server does not agree with the arena, or if something collapses in a quick run that must not.

mod body;
mod clock;
mod contestants;
mod curves;
mod drive;
mod events;
mod model;
mod options;
mod report;
mod runs;
mod scenarios;
mod score;
mod server;
mod trace;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let results = runs::run(&options);
    report::table(&results);
    report::figures(&results);
    match report::page(&results, &options.report) {
        Ok(path) => println!("\n{}", path.display()),
        Err(error) => {
            eprintln!("error: the report was not written: {error}");
            return ExitCode::FAILURE;
        }
    }
    let faults = runs::faults(&results, &options);
    for fault in &faults {
        eprintln!("error: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
