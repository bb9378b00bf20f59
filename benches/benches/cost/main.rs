//! What a call costs in every layer and in the assembled stacks, next to tower's own layers in the same run.
//!
//! ```text
//! cargo bench -p seawall-benches --bench cost [-- --quick] [--only NAME]
//! ```
//!
//! All rows are measured in turn, round after round (A B C … A B C …), so that other load on the machine affects them
//! alike. The cost of a row is the time of its calls minus that of the bare inner service in the same round. A ratio
//! is taken within each round, against the row measured next to it. Medians are reported.
//!
//! At the end the client stack is measured with a name and without, before and after a metrics recorder is installed.

mod decisions;
mod measure;
mod report;
mod rows;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
What a call costs, in nanoseconds and allocations, beside tower's own layers.

usage: cost [--quick] [--only NAME]
  --quick      fewer and shorter rounds: under 10 seconds
  --only NAME  only rows whose name contains NAME (and what they are compared with)";

struct Options {
    quick: bool,
    only: Option<String>,
}

/// `None` if help was asked for.
fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options { quick: false, only: None };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("quick") => options.quick = true,
            Long("only") => options.only = Some(arguments.value()?.string()?),
            // Passed by `cargo bench`.
            Long("bench") => {}
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let plan = if options.quick {
        measure::Plan { rounds: 60, slice: Duration::from_millis(1) }
    } else {
        measure::Plan { rounds: 400, slice: Duration::from_millis(1) }
    };
    let runtimes = measure::Runtimes::new();
    let mut rows = runtimes.inside(rows::all);
    rows.retain(|row| row.is_asked_for(options.only.as_deref()));
    if rows.iter().all(rows::Row::is_bare)
        && !options.only.as_deref().is_some_and(|only| telemetry::NAME.contains(only))
    {
        eprintln!("no row has that name\n\n{USAGE}");
        return ExitCode::from(2);
    }
    let costs = measure::measure(&runtimes, rows, &plan);
    report::table(&costs, &plan);
    report::figures(&costs);
    if options.only.as_deref().is_none_or(|only| telemetry::NAME.contains(only)) {
        telemetry::overhead(&runtimes, &plan);
    }
    ExitCode::SUCCESS
}
