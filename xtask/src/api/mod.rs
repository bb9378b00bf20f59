//! The public items of the library, as a check: `cargo xtask api`.
//!
//! rustdoc's JSON is unstable, so the stable toolchain prints it only with `RUSTC_BOOTSTRAP=1`. Build scripts read that
//! variable. The build therefore has its own folder: in the shared one it would rebuild them, and everything that depends on
//! them.

mod snapshot;

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use public_api::{Builder, PublicItem};

use self::snapshot::Snapshot;
use crate::need;
use crate::toolchain::Toolchain;

const FILE: &str = "checks/api.txt";

pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), String> {
    let mut bless = false;
    for argument in arguments {
        match argument.to_str() {
            Some("--bless") => bless = true,
            _ => return Err(format!("unknown option `{}`\n\n{}", argument.to_string_lossy(), crate::HELP)),
        }
    }
    let Toolchain { rustc, .. } = Toolchain::current()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
    let file = root.join(FILE);
    let at_file = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    if bless {
        let snapshot = Snapshot { rustc, items: items(&root)? };
        fs::write(&file, snapshot.to_text()).map_err(|error| at_file(&error))?;
        println!("wrote {}", file.display());
        return Ok(());
    }
    let text = fs::read_to_string(&file).map_err(|error| at_file(&error))?;
    let committed = Snapshot::parse(&text).map_err(|error| at_file(&error))?;
    if committed.rustc != rustc {
        // Each version of rustc has its own format of the JSON, and its own way to show signatures.
        println!("api: left out. {FILE} is of rustc {}, and this is {rustc}.", committed.rustc);
        return Ok(());
    }
    let changes = committed.changes(&items(&root)?);
    if changes.is_empty() {
        println!("api: {} lines, as committed", committed.items.len());
        return Ok(());
    }
    Err(format!(
        "the public API is not as in {FILE}:\n  {}\n\
         If that is meant, accept it with `cargo xtask api --bless` and commit {FILE}. A removed or changed line breaks users.",
        changes.join("\n  ")
    ))
}

/// All public items with all features, one per line. The list omits blanket impls, impls of auto traits, and the functions
/// of trait impls, which the trait implies.
fn items(root: &Path) -> Result<Vec<String>, String> {
    let json = document(root)?;
    let api = Builder::from_rustdoc_json(&json).omit_blanket_impls(true).omit_auto_trait_impls(true).build();
    let api = api.map_err(|error| format!("{}: {error}", json.display()))?;
    let shown: Vec<_> = api.items().map(|item| (item, item.to_string())).collect();
    let is_trait_impl = |line: &str| line.starts_with("impl") && line.contains(" for ");
    let impls: HashSet<_> = shown.iter().filter(|(_, line)| is_trait_impl(line)).map(|(item, _)| item.id()).collect();
    let is_implied = |item: &PublicItem, line: &str| {
        line.contains("fn ")
            && !line.starts_with("impl")
            && item.parent_id().is_some_and(|parent| impls.contains(&parent))
    };
    Ok(shown.into_iter().filter(|(item, line)| !is_implied(item, line)).map(|(_, line)| line).collect())
}

/// Writes rustdoc's JSON, and returns its path.
fn document(root: &Path) -> Result<PathBuf, String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("api");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["rustdoc", "--quiet", "--package", "seawall", "--lib", "--all-features", "--target-dir"]).arg(&target);
    cargo.args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
    cargo.current_dir(root).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTDOCFLAGS");
    println!("running {}", need::shown(&cargo));
    need::run(&mut cargo)?;
    Ok(target.join("doc/seawall.json"))
}
