//! A retry storm, a leak and an overload on real sockets, each twice: with what most services do, and with seawall.
//!
//! ```text
//! callers (open loop) ──HTTP──> service (axum) ──HTTP, pooled──> dependency (axum, few slots)
//! ```
//! - **The storm:** for some seconds the dependency is five times slower. The bare service's retries keep it overloaded long
//!   after it is healthy again: a metastable failure. The protected service is back within two seconds.
//! - **[The leak](leak):** the dependency sends heads and stalls their bodies. The bare client piles up connections that never
//!   end; the protected one has no more than its bulkhead allows, and none when the deadline is over.
//! - **[The overload](overload):** the service itself is offered several times what it can do. The bare one answers
//!   everything too late; the protected one answers what it can do.
//!
//! `cargo run --release --example storm` prints tables and writes `target/storm/report.html` and `storm.svg`; it exits with
//! 1 if either half of a claim does not hold: bare must fail, and seawall must not. `--help` tells the rest.

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
use report::Report;
use run::Contestant;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A retry storm, a leak and an overload on real sockets, each twice: with what most services do, and with seawall.
///
/// Exits with 1 if what is bare does not fail, or what is protected does not hold what is promised.
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
    // Before the run, not after it: nobody likes to wait for a report that cannot be written.
    let report = Report::create(&arguments.out)?;
    let once: Duration = acts.iter().map(|act| scripts.length(*act)).sum();
    let progress = Progress::new(once * contestants.len() as u32)?;
    let mut runs = Runs::default();
    for act in acts {
        for contestant in &contestants {
            scripts.run(act, *contestant, arguments.port, &progress, &mut runs)?;
        }
    }
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
