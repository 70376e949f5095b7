//! What the crates need: from where, under which licence, and who may need whom.
//!
//! `cargo deny` checks the same, and more, by the same `deny.toml`; it is not installed everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use weft_tests::{json, root, text};

use super::check;

/// Where dependencies come from.
const REGISTRY: &str = "https://github.com/rust-lang/crates.io-index";

/// What is locked: the workspace, and the fuzz targets.
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

/// Which of our crates each crate may use outside its tests.
const IMPORTS: [(&str, &[&str]); 6] = [
    ("proto", &[]),
    ("switch", &["weft-proto"]),
    ("controller", &["weft-proto"]),
    ("northbound-api", &["weft-controller", "weft-proto"]),
    (
        "lab",
        &[
            "weft-controller",
            "weft-northbound-api",
            "weft-proto",
            "weft-switch",
        ],
    ),
    (
        "cli",
        &[
            "weft-controller",
            "weft-lab",
            "weft-northbound-api",
            "weft-proto",
            "weft-switch",
        ],
    ),
];

/// Crates that the switch must not need: its tree stays small.
const TOO_HEAVY_FOR_THE_SWITCH: [&str; 5] = ["axum", "sqlx", "petgraph", "serde-saphyr", "clap"];

#[test]
fn dependencies_come_from_the_public_registry() {
    for lock in LOCKS {
        let sources: BTreeSet<_> = values(lock, "source").collect();
        let expected = format!("registry+{REGISTRY}");
        assert_eq!(sources, BTreeSet::from([expected]), "{lock}");
    }
    check(|file| {
        let configures = file.path.ends_with("pip.conf") || file.path.starts_with(".cargo/");
        configures.then(|| "configures a registry".to_owned())
    });
}

#[test]
fn no_dependency_is_banned() {
    let deny = deny("[bans]");
    let banned: BTreeSet<_> = (deny.lines())
        .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next())
        .collect();
    assert!(banned.contains("openssl-sys"), "{banned:?}");
    for lock in LOCKS {
        let locked: Vec<_> = values(lock, "name").collect();
        let found: Vec<_> = (locked.iter())
            .filter(|name| banned.contains(name.as_str()))
            .collect();
        assert!(found.is_empty(), "{lock} has {found:?}");
    }
}

#[test]
fn licences_are_allowed() {
    let deny = deny("[licenses]");
    let list = deny.lines().find_map(|line| line.strip_prefix("allow = "));
    let allowed: BTreeSet<String> = serde_json::from_str(list.unwrap()).unwrap();
    assert!(is_allowed("(MIT OR Foreign) AND Zlib", &allowed));
    assert!(!is_allowed("MIT AND Foreign", &allowed));
    // Only what is built here has been downloaded.
    let version = cargo(&["--version", "--verbose"]);
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let metadata = json(&cargo(&[
        "metadata",
        "--offline",
        "--locked",
        "--format-version=1",
        "--filter-platform",
        host,
    ]));
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "dependencies were found");
    let wrong: Vec<_> = (packages.iter())
        .map(|package| (&package["name"], &package["license"]))
        .filter(|(_, licence)| {
            !licence
                .as_str()
                .is_some_and(|text| is_allowed(text, &allowed))
        })
        .collect::<Vec<(&Value, &Value)>>();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn crates_import_one_way() {
    for (name, allowed) in IMPORTS {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let others: Vec<_> = section(&manifest, "dependencies")
            .filter(|line| line.starts_with("weft-"))
            .map(|line| line.split(['.', ' ', '=']).next().unwrap_or(line))
            .filter(|dependency| !allowed.contains(dependency))
            .collect();
        assert!(others.is_empty(), "{name} may not use {others:?}");
    }
}

#[test]
fn the_switch_needs_nothing_heavy() {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--locked",
        "--package=weft-switch",
        "--edges=normal",
        "--prefix=none",
    ]);
    let tree = String::from_utf8(tree.stdout).unwrap();
    let needed: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(needed.contains("weft-proto"), "{needed:?}");
    let heavy: Vec<_> = TOO_HEAVY_FOR_THE_SWITCH
        .iter()
        .filter(|name| needed.contains(*name))
        .collect();
    assert!(heavy.is_empty(), "the switch needs {heavy:?}");
}

/// Whether a licence expression (SPDX, or `A/B` as it was written before) can be met with what is allowed.
///
/// `OR` binds less than `AND`, and both less than parentheses.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    fn any(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
        let mut met = all(words, allowed);
        while let ["OR", rest @ ..] = *words {
            *words = rest;
            met |= all(words, allowed);
        }
        met
    }
    fn all(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
        let mut met = one(words, allowed);
        while let ["AND", rest @ ..] = *words {
            *words = rest;
            met &= one(words, allowed);
        }
        met
    }
    fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
        let (met, rest) = match *words {
            ["(", rest @ ..] => {
                *words = rest;
                let met = any(words, allowed);
                assert_eq!(words.first(), Some(&")"), "parentheses in pairs");
                (met, &words[1..])
            }
            [licence, "WITH", exception, rest @ ..] => {
                let name = format!("{licence} WITH {exception}");
                (allowed.contains(&name), rest)
            }
            [licence, rest @ ..] => (allowed.contains(*licence), rest),
            [] => panic!("{words:?} ends too early"),
        };
        *words = rest;
        met
    }
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression} is understood whole");
    met
}

/// One section of `deny.toml`.
fn deny(head: &str) -> String {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, rest) = text.split_once(head).unwrap();
    rest.split("\n[").next().unwrap_or(rest).to_owned()
}

/// The values of a key in a lock file.
fn values(lock: &str, key: &str) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(root().join(lock)).unwrap();
    let head = format!("{key} = \"");
    let values: Vec<_> = (text.lines())
        .filter_map(|line| line.strip_prefix(&head)?.strip_suffix('"'))
        .map(str::to_owned)
        .collect();
    values.into_iter()
}

/// Runs cargo in the repository; it has to succeed.
fn cargo(args: &[&str]) -> std::process::Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(args)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    output
}

/// The lines of one section of a manifest.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let head = format!("[{name}]");
    manifest
        .lines()
        .map(str::trim)
        .skip_while(move |line| *line != head)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
}
