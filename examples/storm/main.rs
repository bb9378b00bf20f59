//! A retry storm, a leak and an overload on real sockets, each twice: with what most services do, and with seawall.
//!
//! ```text
//! callers (open loop) ──HTTP──> service (axum) ──HTTP, pooled──> dependency (axum, few slots)
//! ```
//! - **The storm:** for some seconds the dependency is five times slower. The retries of the bare service keep it
//!   overloaded long after it is healthy again: a metastable failure. The protected service recovers within two seconds.
//! - **[The leak](leak):** the dependency sends heads and stalls their bodies. The connections of the bare client
//!   accumulate and never end. The protected client has no more than its bulkhead allows, and none after the deadline.
//! - **[The overload](overload):** the service itself is offered several times its capacity. The bare service answers
//!   everything too late; the protected service answers as much as its capacity allows.
//!
//! `cargo run --release --example storm` prints tables and writes `target/storm/report.html` and `storm.svg`. It exits
//! with 1 if either half of a claim does not hold: the bare service must fail, and seawall must not. `--help` shows
//! the options.

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
use std::time::Duration;

use clap::Parser;

use acts::{Act, Runs, Scripts};
use progress::Progress;
use run::Contestant;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A retry storm, a leak and an overload on real sockets, each twice: with what most services do, and with seawall.
///
/// Exits with 1 if the bare service does not fail, or if the protected one breaks a promise.
#[derive(Debug, Parser)]
struct Arguments {
    /// Short phases: half a minute of load instead of a minute and a half
    #[arg(long)]
    quick: bool,
    /// Draws arrivals and service times; both runs see the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The dependency listens on this port of the loopback interface, the service in front of it on the next one; 0 takes
    /// free ones
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=65534))]
    port: u16,
    /// Where the report is written
    #[arg(long, value_name = "DIR", default_value = "target/storm")]
    out: PathBuf,
    /// Run only one of the two
    #[arg(long, value_enum)]
    only: Option<Contestant>,
    /// Run only one of the three acts
    #[arg(long, value_enum)]
    act: Option<Act>,
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
    let contestants = arguments.only.map_or(Contestant::ALL.to_vec(), |contestant| vec![contestant]);
    let acts = arguments.act.map_or(Act::ALL.to_vec(), |act| vec![act]);
    // Checked before the run, so that a run is not wasted on a report that cannot be written.
    let files = report::create(&arguments.out)?;
    let once: Duration = acts.iter().map(|act| scripts.length(*act)).sum();
    let progress = Progress::new(once * contestants.len() as u32)?;
    let mut runs = Runs::default();
    for act in acts {
        for contestant in &contestants {
            scripts.run(act, *contestant, arguments.port, &progress, &mut runs)?;
        }
    }
    progress.finish();
    report::write(&files, &scripts, &runs)?;

    println!("{}", report::tables(&scripts, &runs));
    println!(
        "At most {} descriptors were open at once. The curves: {}",
        progress.most_descriptors(),
        files.page().display()
    );
    let broken = scripts.broken_promises(&runs);
    for sentence in &broken {
        eprintln!("promise not kept: {sentence}");
    }
    // The last lines are for programs.
    for figure in runs.figures() {
        println!("{figure}");
    }
    Ok(broken)
}
