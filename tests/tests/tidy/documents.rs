//! What documents say of the repository is so.

use std::fs;

use weft_tests::root;

/// The document that names where everything is.
const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";

/// Longest that it may be: two pages.
const MAX_ARCHITECTURE_LINES: usize = 110;

#[test]
fn every_path_in_the_architecture_exists() {
    let text = fs::read_to_string(root().join(ARCHITECTURE)).unwrap();
    let lines = text.lines().count();
    assert!(lines <= MAX_ARCHITECTURE_LINES, "{lines} lines");
    let named = paths(&text);
    assert!(named.len() > 30, "paths were found: {named:?}");
    let missing: Vec<_> = named.iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "{ARCHITECTURE} names {missing:?}");
}

#[test]
fn every_source_file_has_a_place_in_the_code_map() {
    let text = fs::read_to_string(root().join(ARCHITECTURE)).unwrap();
    let map = text.split("## Code map").nth(1).unwrap();
    let map = paths(map.split("\n## ").next().unwrap_or(map));
    let mut unknown = Vec::new();
    for name in [
        "proto",
        "switch",
        "controller",
        "northbound-api",
        "lab",
        "cli",
        "tests",
        "fuzz",
    ] {
        let folder = root().join(name).join("src");
        let whole = map.iter().any(|path| path.trim_end_matches('/') == name);
        if whole || !folder.exists() {
            assert!(whole, "{name}/ is not in the code map");
            continue;
        }
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().file_name().to_string_lossy().into_owned();
            let path = format!("{name}/src/{file}");
            let is_meant = |pattern: &String| match pattern.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => {
                    path == *pattern
                        || path.starts_with(&format!("{}/", pattern.trim_end_matches('/')))
                }
            };
            if file != "lib.rs" && !map.iter().any(is_meant) {
                unknown.push(path);
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "the code map has no place for {unknown:#?}"
    );
}

/// What a text has in backticks and looks like a path from the root, with braces expanded: it has a `/`, and its first part
/// is something there, or it ends like a file.
fn paths(text: &str) -> Vec<String> {
    let ticked = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| {
        let odd = |character: char| {
            !(character.is_ascii_alphanumeric() || "/._-*{},".contains(character))
        };
        word.contains('/') && !word.starts_with('/') && !word.contains(odd)
    };
    ticked.filter(is_path).flat_map(expanded).collect()
}

/// `a{b,c}d` as `abd` and `acd`.
fn expanded(word: &str) -> Vec<String> {
    let parts = word
        .split_once('{')
        .and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
    let Some((head, (choices, tail))) = parts else {
        return vec![word.to_owned()];
    };
    choices
        .split(',')
        .flat_map(|choice| expanded(&format!("{head}{choice}{tail}")))
        .collect()
}

/// Whether a path from the root exists; with `*` at its end, whether a file or folder begins so.
fn exists(path: &str) -> bool {
    let Some(start) = path.strip_suffix('*') else {
        return root().join(path).exists();
    };
    let (folder, prefix) = start.rsplit_once('/').unwrap_or((".", start));
    fs::read_dir(root().join(folder)).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        })
    })
}
