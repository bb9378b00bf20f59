//! Checks that every row of `src/failures.md`, and of the invariants in `docs/ARCHITECTURE.md`, names tests that exist.

use std::fs;
use std::path::Path;

fn sources(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_row_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);

    let failures = fs::read_to_string(root.join("src/failures.md")).unwrap();
    let architecture = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let (_, invariants) = architecture.split_once("## Invariants").unwrap();
    let (invariants, _) = invariants.split_once("\n## ").unwrap();
    assert!(check(&failures, &code) > 20);
    assert!(check(invariants, &code) > 20);
}

/// Checks the rows of a page, and returns how many tests they name.
fn check(page: &str, code: &str) -> usize {
    let heads = ["| failure", "| invariant", "| absent"];
    let is_row = |line: &&str| line.starts_with("| ") && !heads.iter().any(|head| line.starts_with(head));
    let mut checked = 0;
    for row in page.lines().filter(is_row) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names = tests.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
        let before = checked;
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "no test is named {name}: {row}");
            checked += 1;
        }
        assert!(checked > before, "no test is named: {row}");
    }
    checked
}
