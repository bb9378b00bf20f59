//! What a call costs in instructions. The figure does not depend on other load on the machine, so a check can gate on
//! it.
//!
//! ```text
//! cargo xtask instructions [--bless] [--only NAME]
//! ```
//!
//! This program makes the calls of one row, and nothing else. `cargo xtask instructions` runs it under callgrind with
//! two numbers of calls. The cost of a call is the difference between the counts divided by the difference between the
//! numbers. One-time work (the runtime, the layers, calls that are held, the first allocations) is in both counts and
//! cancels out.
//!
//! The figure of a row is everything that a call executes, with the loop around it and the inner service; the row
//! `bare` is these two alone. No row waits, and none depends on chance: the library's randomness is seeded. The
//! remaining variation comes from readings of the clock (which calls are samples of an estimate, when a bucket of a
//! window ends) and from the seeds of hash maps. Two runs of one program differ by less than half a percent, and with
//! a rate for each key by one percent.
//!
//! The accepted figures are in `benches/instructions.toml`; `cargo xtask help` explains how to replace them.

mod refusals;
mod rows;

use std::env;
use std::process::ExitCode;

use tokio::runtime::Builder;

const USAGE: &str = "\
Makes the calls of one row, for callgrind to count: see `cargo xtask help`.

usage: instructions ROW CALLS
       instructions list
  list  the path of this program, and then the names of all rows, each on a line";

fn main() -> ExitCode {
    // `cargo bench` adds the flag.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => list(),
        [name, calls] => {
            let row = rows::all().into_iter().find(|row| row.name == name);
            let (Some(row), Ok(calls)) = (row, calls.parse()) else {
                eprintln!("there is no row `{name}`, or `{calls}` is not a number\n\n{USAGE}");
                return ExitCode::from(2);
            };
            make_calls(row, calls);
        }
        _ => println!("{USAGE}"),
    }
    ExitCode::SUCCESS
}

fn list() {
    println!("{}", env::current_exe().expect("the path of this program").display());
    for row in rows::all() {
        println!("{}", row.name);
    }
}

fn make_calls(row: rows::Row, calls: u64) {
    seawall::seed(1);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut service = (row.make)(&runtime);
    runtime.block_on(service.make(calls));
}
