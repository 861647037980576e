//! Every named piece of an argument is taken away by some model.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The string literals right after `opening` in all sources under `folder`.
fn names(folder: &Path, openings: &[&str], found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names(&path, openings, found);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for opening in openings {
            for rest in source.split(opening).skip(1) {
                let literals = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                found.extend(literals.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_named_end_and_step_is_missed_by_some_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = BTreeSet::new();
    let openings = ["at(", "fence(", "total_order(", "planted("];
    names(&root.join("../ring/src"), &openings, &mut named);
    names(&root.join("src"), &["planted("], &mut named);
    names(&root.join("tests"), &["planted("], &mut named);
    assert!(named.len() > 40, "{named:?}");
    let mut models = String::new();
    for entry in fs::read_dir(root.join("tests/models")).unwrap() {
        models += &fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    // A model names what it takes away in a list of such names; elsewhere it only asks for it.
    let taken = |name: &String| {
        let quoted = |before: &str, after: &str| models.contains(&format!("{before}{name}{after}"));
        let asked = models.matches(&format!("planted(\"{name}\")")).count();
        let all = models.matches(&format!("\"{name}\"")).count();
        all > asked || quoted("\"", " + ") || quoted(" + ", "\"")
    };
    let left: Vec<&String> = named.iter().filter(|name| !taken(name)).collect();
    assert!(left.is_empty(), "no model does without {left:?}");
}
