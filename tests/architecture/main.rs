//! Reads `src`, and fails where a module uses a module above it, where files use each other in a circle, or where a file names
//! something that only one file may name.
//!
//! ```text
//! dashboard      the live page
//! stack          assembled stacks
//! balance        several endpoints of one dependency
//! fallback       answers in place of a service that failed
//! http  grpc     protocol knowledge
//! hedge  quorum  several calls of one
//! layers         tower plumbing, one folder a layer; `core` and `call` are what layers share
//! admission      runtime-aware primitives
//! algorithm      plain state machines
//! loader         configuration from files
//! telemetry      names, counters, events
//! ground         time, chance, verdict, context, error, locks, validation
//! ```
//!
//! `rules` says what a file may name, and `graph` which file may use which.

mod cases;
mod graph;
mod rules;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rules::{MAX_LINES_OF_CODE, VAGUE_NAMES, check_counts, check_path, layer_folder};
use source::{File, Module};

#[test]
fn source_tree_follows_the_rules() {
    let mut sources = BTreeMap::new();
    read(Path::new(env!("CARGO_MANIFEST_DIR")), "src", &mut sources);
    for module in ["ground", "algorithm", "admission", "layers"] {
        assert!(
            sources.contains_key(&format!("src/{module}/mod.rs")),
            "no module `{module}`: is this the right folder?"
        );
    }
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{} faults in the source tree:\n{}\n", faults.len(), faults.join("\n"));
}

fn read(package: &Path, folder: &str, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(package.join(folder)).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("a plain name"));
        if entry.file_type().expect("a file type").is_dir() {
            read(package, &path, sources);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("readable source");
            sources.insert(path, text);
        }
    }
}

/// All that is wrong with these files, as `path:line: what, and why`.
fn faults(sources: &BTreeMap<String, String>) -> Vec<String> {
    let files: Vec<File> = sources.iter().map(|(path, text)| File::parse(path, text)).collect();
    let test_modules: Vec<&Module> = files.iter().flat_map(|file| &file.found.test_modules).collect();
    let is_test = |file: &File| test_modules.iter().any(|module| file.module.starts_with(module));
    let files: Vec<&File> = files.iter().filter(|file| !is_test(file)).collect();
    let layers: BTreeSet<&str> = files.iter().filter_map(|file| layer_folder(&file.path)).collect();
    let mut faults = BTreeSet::new();
    for file in &files {
        let mut report = |line: usize, what: String| {
            faults.insert((file.path.clone(), line, what));
        };
        for named in &file.found.paths {
            for what in check_path(file, &named.path, &layers) {
                report(named.line, what);
            }
        }
        for (line, what) in check_counts(file) {
            report(line, what);
        }
        let modules = file.module.last().map(|name| (1, name));
        for (line, name) in modules.into_iter().chain(file.found.modules.iter().map(|(line, name)| (*line, name))) {
            if VAGUE_NAMES.contains(&name.as_str()) {
                report(line, format!("a module named `{name}` says nothing about its content"));
            }
        }
        if file.lines_of_code > MAX_LINES_OF_CODE {
            let lines = file.lines_of_code;
            report(1, format!("{lines} lines of code are more than {MAX_LINES_OF_CODE}: one idea a file"));
        }
    }
    faults.extend(graph::faults(&files));
    faults.into_iter().map(|(path, line, what)| format!("{path}:{line}: {what}")).collect()
}
