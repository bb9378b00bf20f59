//! A retry storm on real sockets, twice: with what most services do, and with seawall.
//!
//! ```text
//! callers (open loop) ──HTTP──> service (axum) ──HTTP, pooled──> dependency (axum, few slots)
//! ```
//! For some seconds the dependency is five times slower. The bare service's retries keep it overloaded long after it is
//! healthy again: a metastable failure. The protected service is back within two seconds. Both see the same requests.
//!
//! `cargo run --release --example storm` prints a table and writes `target/storm/report.html` and `storm.svg`; it exits with
//! 1 if either half of the claim does not hold. `--help` tells the rest.

#![allow(
    clippy::disallowed_methods,
    reason = "a storm happens in real time; only the library's clock is one file's matter"
)]

mod acts;
mod claim;
mod dependency;
mod front;
mod leak;
mod listen;
mod load;
mod overload;
mod progress;
mod record;
mod report;
mod run;
mod scenario;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use acts::Scripts;
use progress::Progress;
use report::Report;
use run::Contestant;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A retry storm on real sockets, twice: with what most services do, and with seawall.
///
/// Exits with 1 if the bare service does not stay down, or the protected one does not recover as promised.
#[derive(Debug, Parser)]
struct Arguments {
    /// Short phases: under 20 seconds of load instead of a minute
    #[arg(long)]
    quick: bool,
    /// Draws arrivals and service times; both runs see the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The dependency listens on this port of the loopback interface, the service on the next one; 0 takes free ones
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=65534))]
    port: u16,
    /// Where the report is written
    #[arg(long, value_name = "DIR", default_value = "target/storm")]
    out: PathBuf,
    /// Run only one of the two
    #[arg(long, value_enum)]
    only: Option<Contestant>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match storm(&arguments) {
        Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the storm, reports it, and returns the promises that were not kept.
fn storm(arguments: &Arguments) -> Result<Vec<String>, Error> {
    let scripts = if arguments.quick { Scripts::quick(arguments.seed) } else { Scripts::full(arguments.seed) };
    let contestants = match arguments.only {
        Some(contestant) => vec![contestant],
        None => Contestant::ALL.to_vec(),
    };
    // Before the run, not after it: nobody likes to wait for a report that cannot be written.
    let report = Report::create(&arguments.out)?;
    let progress = Progress::new(scripts.length() * contestants.len() as u32)?;
    let runs = scripts.run(&contestants, arguments.port, &progress)?;
    progress.finish();
    report.write(&scripts, &runs)?;

    println!("{}", report::tables(&scripts, &runs));
    println!(
        "At most {} descriptors were open at once. The curves: {}",
        progress.most_descriptors(),
        report.page().display()
    );
    let broken = scripts.broken_promises(&runs);
    for sentence in &broken {
        eprintln!("promise not kept: {sentence}");
    }
    // The very last lines are for machines.
    for figure in runs.figures() {
        println!("{figure}");
    }
    Ok(broken)
}
