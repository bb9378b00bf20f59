//! From measurements of a service to settings, by queueing theory: how long calls wait, how many are refused, what happens when an
//! instance is lost, and which settings fit.
//!
//! `cargo run --release --all-features --example plan -- --mean 40ms --p99 120ms --rate 350 --instances 3 --slots 10 --deadline 500ms`
//! prints a table and the settings, and writes a picture to `target/plan/plan.svg`. `--help` shows the options.
//!
//! The [formulas](queueing) assume that calls come at random and are independent of each other. Real calls come in bursts, so the
//! answer is the best case: measure afterwards.

mod arguments;
mod fleet;
mod queueing;
mod report;
mod service_time;
mod settings;
mod sizing;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match plan(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan(arguments: &Arguments) -> Result<(), Error> {
    let known = arguments.known()?;
    let sizing = known.size()?;
    let picture = arguments.out.join("plan.svg");
    write(&picture, &report::picture(&known, &sizing)?)?;

    for sentence in report::summary(&known, &sizing) {
        println!("{sentence}");
    }
    println!("\n{}\n\nThe curves: {}\n", report::table(&known, &sizing), picture.display());
    for warning in &sizing.warnings {
        println!("{warning}\n");
    }
    println!("{}", settings::toml(&known, &sizing)?);
    Ok(())
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let written = folder.and_then(|()| fs::write(path, content));
    written.map_err(|cause| {
        format!("cannot write {}: {cause}; choose another directory with --out", path.display()).into()
    })
}
