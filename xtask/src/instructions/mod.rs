//! The instructions of a call, as a check: `cargo xtask instructions`.

mod compare;
mod count;
mod figures;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use self::count::Program;
use self::figures::Figures;
use crate::valgrind;

#[derive(Default)]
struct Options {
    bless: bool,
    may_not_install: bool,
    only: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--bless") => options.bless = true,
                Some("--no-install") => options.may_not_install = true,
                Some("--only") => {
                    let name = arguments.next().and_then(|name| name.into_string().ok());
                    options.only = Some(name.ok_or("`--only` needs a name")?);
                }
                _ => return Err(format!("unknown option `{}`\n\n{}", argument.to_string_lossy(), crate::HELP)),
            }
        }
        if options.bless && options.only.is_some() {
            return Err("`--bless` is for all rows: leave out `--only`".to_owned());
        }
        Ok(options)
    }
}

pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    let valgrind = match valgrind::NEED.prepare(!options.may_not_install) {
        Ok(valgrind) => valgrind,
        Err(message) if options.bless => return Err(message),
        Err(message) => {
            let why = message.lines().next().unwrap_or_default();
            println!("instructions: left out. {why} To include this step: {}.", valgrind::IN_SHORT);
            return Ok(());
        }
    };
    let toolchain = count::toolchain()?;
    let program = Program::build()?;
    let is_asked = |row: &str| options.only.as_deref().is_none_or(|only| row.contains(only));
    let counted = Figures { toolchain, rows: program.count(&valgrind, is_asked)? };
    if counted.rows.is_empty() {
        return Err("no row has that name".to_owned());
    }
    let outcome = if options.bless { bless(&counted) } else { check(&counted, options.only.is_none()) };
    for (name, count) in &counted.rows {
        println!("figure instructions.{name} {count:.1}");
    }
    outcome
}

fn bless(counted: &Figures) -> Result<(), String> {
    let path = file();
    fs::write(&path, counted.to_text()).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

fn check(counted: &Figures, is_whole: bool) -> Result<(), String> {
    let path = file();
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let held = Figures::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let problems = compare::compare(&held, counted, is_whole);
    if held.toolchain != counted.toolchain {
        let (then, now) = (&held.toolchain, &counted.toolchain);
        println!(
            "instructions: not gated. The figures are of rustc {} for {}, and this is {} for {}.",
            then.rustc, then.target, now.rustc, now.target
        );
        return Ok(());
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "these rows are not as committed:\n  {}\n\
         If that is meant, accept it with `cargo xtask instructions --bless`, commit {} and say why.",
        problems.join("\n  "),
        FILE
    ))
}

const FILE: &str = "benches/instructions.toml";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(FILE)
}
