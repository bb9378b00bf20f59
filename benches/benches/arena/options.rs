//! The options of a run.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use crate::contestants::{self, Contestant};
use crate::scenarios::{self, Scenario};

pub(crate) const USAGE: &str = "\
What the layers are worth: scenarios in virtual time, scored against the best that is possible.

usage: arena [options]
  --scenarios E1,E3       only these scenarios
  --contestants tower,..  only these contestants; a wrong name lists all, among them variants of seawall's defaults
  --seeds N               traces per scenario, 3 by default
  --clients N             clients with layers of their own that share the calls, 1 by default
  --stretch F             multiply all durations of the scenarios, 1 by default
  --report DIR            where the page goes, target/arena by default
  --quick                 one seed, shorter, and few scenarios: for continuous integration";

/// What is asked for.
pub(crate) struct Options {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) contestants: Vec<Box<dyn Contestant>>,
    pub(crate) seeds: u64,
    pub(crate) clients: u32,
    pub(crate) stretch: f64,
    pub(crate) report: PathBuf,
    pub(crate) is_quick: bool,
}

/// The scenarios of a quick run.
const QUICK: [&str; 3] = ["E0", "E1", "E3"];

/// `None` if help was asked for.
pub(crate) fn parse() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut names, mut seeds, mut is_quick) = (None, None, false);
    let mut options = Options {
        scenarios: Vec::new(),
        contestants: contestants::all(),
        seeds: 3,
        clients: 1,
        stretch: 1.0,
        report: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/arena"),
        is_quick: false,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("scenarios") => names = Some(list(&arguments.value()?.string()?)),
            Long("contestants") => {
                let names = list(&arguments.value()?.string()?);
                options.contestants.extend(contestants::variants());
                let known: Vec<_> = options.contestants.iter().map(|contestant| contestant.name()).collect();
                check("contestant", &names, &known)?;
                options.contestants.retain(|contestant| names.iter().any(|name| name == contestant.name()));
            }
            Long("seeds") => seeds = Some(at_least("--seeds", 1, &arguments.value()?.string()?)?),
            Long("clients") => options.clients = at_least("--clients", 1, &arguments.value()?.string()?)?,
            Long("stretch") => options.stretch = at_least("--stretch", 1.0, &arguments.value()?.string()?)?,
            Long("report") => options.report = arguments.value()?.into(),
            Long("quick") => is_quick = true,
            // Passed by `cargo bench`.
            Long("bench") => {}
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    let known: Vec<_> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    let names = names.unwrap_or_else(|| {
        let all = if is_quick { QUICK.to_vec() } else { known.clone() };
        all.into_iter().map(str::to_owned).collect()
    });
    check("scenario", &names, &known)?;
    options.scenarios =
        scenarios::ALL.iter().filter(|scenario| names.iter().any(|name| name == scenario.name)).collect();
    options.seeds = seeds.unwrap_or(if is_quick { 1 } else { 3 });
    options.is_quick = is_quick;
    Ok(Some(options))
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(|name| name.trim().to_owned()).collect()
}

fn check(kind: &str, names: &[String], known: &[&str]) -> Result<(), lexopt::Error> {
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown {kind} `{name}`, expected one of {}", known.join(", ")).into()),
        None => Ok(()),
    }
}

fn at_least<T: FromStr + PartialOrd + Display>(option: &str, least: T, text: &str) -> Result<T, lexopt::Error> {
    match text.parse() {
        Ok(value) if value >= least => Ok(value),
        _ => Err(format!("invalid value: `{text}`, `{option}` must be a number of at least {least}").into()),
    }
}
