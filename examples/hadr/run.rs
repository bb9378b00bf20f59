//! The program: one of its processes, or all runs and their report.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::runtime::{Builder, Runtime};

use crate::Error;
use crate::claim::Results;
use crate::fault::{self, Fault};
use crate::predictor;
use crate::progress::Progress;
use crate::ramp;
use crate::record::Record;
use crate::report;
use crate::router;
use crate::topology::{Pace, Topology};

/// The topologies of a high-availability deployment, and what their users see when a part of them fails.
///
/// Exits with 1 if something that must hold does not.
#[derive(Debug, Parser)]
struct Arguments {
    /// All times are a quarter, and users come ten times as fast: less than a minute instead of four
    #[arg(long)]
    quick: bool,
    /// Where the report is written
    #[arg(long, value_name = "DIR", default_value = "target/hadr")]
    out: PathBuf,
    /// Run only this fault, without the ramps
    #[arg(long, value_enum)]
    only: Option<Fault>,
    /// The router keeps the library's defaults for breaker and retries, to see the difference
    #[arg(long)]
    defaults: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a child process is.
#[derive(Debug, Subcommand)]
enum Role {
    Router(router::Arguments),
    Predictor(predictor::Arguments),
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match begin(arguments) {
        Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread is enough for each process. The parent's is the main one, and so children end with it and not before.
fn runtime() -> Result<Runtime, Error> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Returns what does not hold.
fn begin(mut arguments: Arguments) -> Result<Vec<String>, Error> {
    let runtime = runtime()?;
    match arguments.role.take() {
        Some(Role::Router(arguments)) => runtime.block_on(router::serve(arguments))?,
        Some(Role::Predictor(arguments)) => runtime.block_on(predictor::serve(arguments))?,
        None => return runtime.block_on(all(&arguments)),
    }
    Ok(Vec::new())
}

async fn all(arguments: &Arguments) -> Result<Vec<String>, Error> {
    let pace = if arguments.quick { Pace::quick() } else { Pace::full() };
    // Checked before the runs, so that they are not wasted on a report that cannot be written.
    let files = report::create(&arguments.out)?;
    let topologies = if arguments.only.is_some() { &[][..] } else { &Topology::ALL };
    let planned = planned(arguments.only);
    let ramps_take = topologies.iter().map(|topology| ramp::length(pace, *topology)).max().unwrap_or_default();
    let batches = planned.len().div_ceil(pace.side_by_side) as u32;
    let longest = planned.iter().map(|(topology, fault)| fault::length(pace, *topology, *fault)).max();
    let faults_take = longest.unwrap_or_default() * batches;

    let progress = Progress::new(ramps_take + faults_take)?;
    let ramps = try_join_all(topologies.iter().map(|topology| ramp::run(*topology, pace, arguments.defaults)));
    let ramps = progress.follow("one more user at a time, until the first failure", ramps_take, ramps).await?;
    let runs = stream::iter(planned)
        .map(|(topology, fault)| fault::run(topology, fault, pace, arguments.defaults))
        .buffered(pace.side_by_side)
        .try_collect::<Vec<_>>();
    let runs = progress.follow("faults at steady load", faults_take, runs).await?;
    progress.finish();

    let faults = runs.into_iter().map(|run| (Record::of(&run, pace), run)).map(|(record, run)| (run, record)).collect();
    let results = Results { pace, ramps, faults };
    report::write(&files, &results)?;
    println!("{}", report::tables(&results));
    println!("The curves: {}", files.page().display());
    let broken = results.broken();
    for sentence in &broken {
        eprintln!("does not hold: {sentence}");
    }
    // The last lines are for programs.
    for figure in results.figures() {
        println!("{figure}");
    }
    Ok(broken)
}

/// A single predictor has the faults that the comparison needs; the others have all.
fn planned(only: Option<Fault>) -> Vec<(Topology, Fault)> {
    let runs = Topology::ALL.into_iter().flat_map(|topology| Fault::ALL.map(|fault| (topology, fault)));
    let compared = |(topology, fault): &(Topology, Fault)| {
        topology.is_redundant() || matches!(fault, Fault::Kill | Fault::Upgrade)
    };
    runs.filter(compared).filter(|(_, fault)| only.is_none_or(|only| only == *fault)).collect()
}
