//! Rules about the repository itself, which no compiler checks.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod dependencies;
mod documents;

use std::fs;
use std::path::{Path, PathBuf};

use weft_tests::root;

/// Lines of a file that people write.
const MAX_LINES: usize = 600;

/// Folders that are not ours, or not kept.
const SKIPPED_FOLDERS: [&str; 4] = [".git", "target", "weft-failures", "__pycache__"];

/// Files that programs write.
const GENERATED: [&str; 4] = [
    "Cargo.lock",
    "docs/openapi.json",
    "docs/topology.schema.json",
    "fuzz/Cargo.lock",
];

/// The only file with `unsafe` code.
const UNSAFE_FILE: &str = "switch/src/port/sys.rs";

#[test]
fn no_file_is_too_long() {
    check(|file| {
        let lines = file.text.lines().count();
        let generated = GENERATED.contains(&file.path.as_str());
        (!generated && lines > MAX_LINES).then(|| format!("has {lines} lines"))
    });
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // In pieces, so that this file does not contain them.
    let forbidden = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["/tmp/", "pl"],
    ];
    check(|file| {
        let found = forbidden
            .iter()
            .map(|pieces| pieces.concat())
            .find(|path| file.text.contains(path))?;
        Some(format!("contains {found}"))
    });
}

#[test]
fn unsafe_code_is_in_one_file() {
    check(|file| {
        if file.path == UNSAFE_FILE || !file.is_rust() {
            return None;
        }
        let words = ["{", "fn", "impl", "extern", "trait"].map(|word| ["unsafe", word].join(" "));
        let (number, _) = file.code().find(|(_, line)| {
            words.iter().any(|word| line.contains(word))
                || line.contains(&["(unsafe", "_code"].concat())
        })?;
        Some(format!("has unsafe code in line {number}"))
    });
}

#[test]
fn the_controller_is_deterministic() {
    check(|file| {
        if !file.path.starts_with("controller/src/") || !file.is_rust() {
            return None;
        }
        let mut code = file.code().peekable();
        while let Some((number, line)) = code.next() {
            if line.contains("HashMap") || line.contains("HashSet") {
                return Some(format!("has an unordered map in line {number}"));
            }
            let opens = line.split("select! {").nth(1);
            let biased = opens.is_none_or(|rest| match rest.trim() {
                "" => code
                    .peek()
                    .is_some_and(|(_, next)| next.starts_with("biased;")),
                inline => inline.starts_with("biased;"),
            });
            if !biased {
                return Some(format!("has a select! without `biased;` in line {number}"));
            }
        }
        None
    });
}

#[test]
fn modules_are_files_with_their_own_names() {
    check(|file| {
        file.path
            .ends_with("/mod.rs")
            .then(|| "is named mod.rs".to_owned())
    });
}

#[test]
fn every_topology_proves_itself() {
    let tests = fs::read_to_string(root().join("tests/tests/topologies.rs")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root().join("topologies")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        if path.is_dir() {
            let whose = path.with_extension("yaml");
            assert!(whose.exists(), "{} belongs to nothing", path.display());
            continue;
        }
        assert_eq!(path.extension().unwrap(), "yaml", "{}", path.display());
        assert!(
            tests.contains(&format!("proves_itself(\"{name}\"")),
            "{name} has no end-to-end test"
        );
        count += 1;
    }
    assert!(count >= 5);
}

#[test]
fn continuous_integration_runs_the_tests_of_the_readme() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let commands: Vec<_> = ci
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(commands, [r#"exec "$(dirname "$0")/../tests/run""#]);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("tests/run"));
}

/// A text file of the repository.
struct File {
    /// Its path from the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|end| end == "rs")
    }

    /// Lines with their numbers, trimmed, without comments on lines of their own.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..)
            .zip(self.text.lines().map(str::trim))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }
}

/// Reports every file of which `wrong` finds something.
#[track_caller]
fn check(wrong: impl Fn(&File) -> Option<String>) {
    let files = files();
    assert!(files.len() > 50, "the repository's files were found");
    let found: Vec<_> = files
        .iter()
        .filter_map(|file| Some(format!("{} {}", file.path, wrong(file)?)))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

fn files() -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if SKIPPED_FOLDERS.contains(&name.as_ref()) || name.starts_with(".venv") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.push(File { path, text });
            }
        }
    }
    files
}
