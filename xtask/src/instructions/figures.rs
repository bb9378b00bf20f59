//! The accepted figures, and their file.

use std::fmt::Write as _;

use crate::toolchain::Toolchain;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    /// The toolchain of the counts. With another toolchain a call has other instructions.
    pub(super) toolchain: Toolchain,
    /// The name of each row, and the instructions of one of its calls.
    pub(super) rows: Vec<(String, f64)>,
}

const HEAD: &str = "\
# How many instructions a call executes, row by row: `benches/benches/instructions/main.rs` says what they are.
# Written by `cargo xtask instructions --bless`, which is how new figures are accepted. The check gates only with this
# rustc and target. The profile is cargo's `bench` without RUSTFLAGS, built by `cargo bench -p seawall-benches`: another
# selection of packages has other features, and other counts. libc's plain SSE2 routines copy memory, on every processor.
";

impl Figures {
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|(row, _)| row == name).map(|(_, figure)| *figure)
    }

    /// The text of the file. It is TOML: the names are dotted keys.
    pub(super) fn to_text(&self) -> String {
        let Toolchain { rustc, target } = &self.toolchain;
        let mut text =
            format!("{HEAD}rustc = \"{rustc}\"\ntarget = \"{target}\"\nprofile = \"bench\"\n\n[instructions]\n");
        for (name, figure) in &self.rows {
            let _ = writeln!(text, "{name} = {figure:.1}");
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut rustc, mut target) = (None, None);
        let mut rows = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            let at = |problem: &str| format!("line {}: {problem}: `{line}`", number + 1);
            let (name, value) = line.split_once(" = ").ok_or_else(|| at("expected `name = value`"))?;
            let string = || value.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
            match name {
                "rustc" => rustc = string(),
                "target" => target = string(),
                "profile" => {}
                _ => rows.push((name.to_owned(), value.parse().map_err(|_| at("expected a number"))?)),
            }
        }
        let toolchain = rustc.zip(target).map(|(rustc, target)| Toolchain { rustc, target });
        Ok(Self { toolchain: toolchain.ok_or("`rustc` or `target` is missing")?, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_survive_their_file() {
        let toolchain = Toolchain { rustc: "1.95".to_owned(), target: "x86_64-unknown-linux-gnu".to_owned() };
        let rows = vec![("bare.ready".to_owned(), 35.0), ("client.yield".to_owned(), 6403.6)];
        let figures = Figures { toolchain, rows };
        assert_eq!(Figures::parse(&figures.to_text()), Ok(figures));
    }

    #[test]
    fn broken_lines_are_reported_with_number() {
        assert_eq!(
            Figures::parse("\nbare.ready = many"),
            Err("line 2: expected a number: `bare.ready = many`".to_owned())
        );
        assert_eq!(Figures::parse("# nothing"), Err("`rustc` or `target` is missing".to_owned()));
    }
}
