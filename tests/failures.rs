//! Checks that every row of `src/failures.md` names tests that exist.

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
    let page = fs::read_to_string(root.join("src/failures.md")).unwrap();
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);

    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| failure"));
    let mut checked = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names = tests.split('`').skip(1).step_by(2).filter(|name| name.contains('_'));
        let before = checked;
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "no test is named {name}: {row}");
            checked += 1;
        }
        assert!(checked > before, "no test is named: {row}");
    }
    assert!(checked > 20);
}
