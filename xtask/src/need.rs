//! Programs that tests need, and how they are installed.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program that some tests start. They find it by an environment variable. If the variable is set, they fail without the
/// program.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    /// Which tests need it.
    pub(crate) purpose: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) find: fn() -> Option<PathBuf>,
    /// The commands that install it as root; `None` if they are not known for this system.
    pub(crate) install: fn() -> Option<Vec<Command>>,
    /// How to get it without root.
    pub(crate) by_hand: &'static str,
}

impl Need {
    /// The path of the program. Installs the program if it is missing.
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
        let root = Root::here();
        if commands.is_empty() || !may_install || root == Root::No {
            return Err(format!("{missing}.{by_hand}"));
        }
        println!("{missing}. Installing it:{steps}");
        for command in commands {
            run(&mut root.command(command)).map_err(|error| format!("{error}{by_hand}"))?;
        }
        find().ok_or_else(|| format!("{name} was installed, but does not start.{by_hand}"))
    }
}

/// The command as typed in a shell.
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

/// The output of a command, if it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let shown = shown(command);
    let output = command.output().map_err(|error| format!("`{shown}` does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}` failed: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{shown}` prints no text: {error}"))
}

/// Installs Debian's packages, or fetches their list.
pub(crate) fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y", "--no-install-recommends"]).args(arguments);
    command
}

/// How to run commands as root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Root {
    Already,
    /// In continuous integration, where `sudo` asks for no password. Elsewhere nothing is installed without a request.
    BySudo,
    No,
}

impl Root {
    fn here() -> Self {
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
        if is_root {
            return Self::Already;
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        let has_sudo = env::var_os("CI").is_some() && sudo.status().is_ok_and(|status| status.success());
        if has_sudo { Self::BySudo } else { Self::No }
    }

    fn command(self, command: Command) -> Command {
        if self != Self::BySudo {
            return command;
        }
        // `sudo` clears the environment.
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        for (name, value) in command.get_envs() {
            let mut variable = name.to_owned();
            variable.push("=");
            variable.push(value.unwrap_or_default());
            sudo.arg(variable);
        }
        sudo.arg(command.get_program()).args(command.get_args());
        sudo
    }
}
