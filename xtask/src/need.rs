//! Programs that tests need, and how they get here.

use std::path::PathBuf;
use std::process::Command;

/// A program that some tests start. They find it by an environment variable, and where that is set they fail without it.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    /// Which tests need it.
    pub(crate) purpose: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) find: fn() -> Option<PathBuf>,
    /// As root, what installs it here; nothing if that is not known for this system.
    pub(crate) install: fn() -> Option<Vec<Command>>,
    /// How to get it without root.
    pub(crate) by_hand: &'static str,
}

impl Need {
    /// The program, which is installed if it is missing.
    pub(crate) fn prepare(&self, may_install: bool) -> Result<PathBuf, String> {
        let Self { name, purpose, variable, find, install, by_hand } = self;
        if let Some(program) = find() {
            return Ok(program);
        }
        let missing = format!("{name} is missing, which {purpose} need");
        let commands = install().unwrap_or_default();
        let steps: String = commands.iter().map(|command| format!("\n  {}", shown(command))).collect();
        let as_root = if steps.is_empty() { String::new() } else { format!("\nAs root:{steps}") };
        let by_hand = format!("{as_root}\nWithout root:\n  {by_hand}\n  and set {variable} to the program.");
        if commands.is_empty() || !may_install || !is_root() {
            return Err(format!("{missing}.{by_hand}"));
        }
        println!("{missing}. Installing it:{steps}");
        for mut command in commands {
            run(&mut command).map_err(|error| format!("{error}{by_hand}"))?;
        }
        find().ok_or_else(|| format!("{name} was installed, but does not start.{by_hand}"))
    }
}

/// As it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` failed: {status}", shown(command))),
        Err(error) => Err(format!("`{}` does not start: {error}", shown(command))),
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
