//! The toolchain that cargo uses. Results from another toolchain are not comparable.

use std::env;
use std::process::Command;

use crate::need;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// Without the patch level: `1.95`.
    pub(crate) rustc: String,
    /// The target as rustc names it: `x86_64-unknown-linux-gnu`.
    pub(crate) target: String,
}

impl Toolchain {
    pub(crate) fn current() -> Result<Self, String> {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let version = need::output(rustc.arg("-vV"))?;
        Self::of(&version).ok_or_else(|| format!("`rustc -vV` says neither its release nor its host:\n{version}"))
    }

    /// Parses the output of `rustc -vV`.
    fn of(version: &str) -> Option<Self> {
        let value = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        let (major, rest) = value("release")?.split_once('.')?;
        let (minor, _) = rest.split_once('.')?;
        Some(Self { rustc: format!("{major}.{minor}"), target: value("host")?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchain_is_read_without_patch_level() {
        let version =
            "rustc 1.95.0 (abc 2026-04-14)\nhost: aarch64-apple-darwin\nrelease: 1.95.0\nLLVM version: 22.1\n";
        let toolchain = Toolchain { rustc: "1.95".to_owned(), target: "aarch64-apple-darwin".to_owned() };
        assert_eq!(Toolchain::of(version), Some(toolchain));
    }
}
