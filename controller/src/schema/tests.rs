use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::load;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::options()
        .build(&topology())
        .unwrap()
}

/// A YAML text as JSON.
fn json_of(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let path = root().join("docs/topology.schema.json");
    let mut text = serde_json::to_string_pretty(&topology()).unwrap();
    text.push('\n');
    if std::env::var_os("WEFT_REWRITE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/topology.schema.json has drifted; WEFT_REWRITE=1 cargo test -p weft-controller schema"
    );
}

#[test]
fn the_schema_is_one_and_every_example_fits_it() {
    let schema = topology();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = validator();
    let mut count = 0;
    for entry in fs::read_dir(root().join("topologies")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let file = json_of(&fs::read_to_string(&path).unwrap());
        let errors: Vec<String> = validator
            .iter_errors(&file)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        count += 1;
    }
    assert!(count >= 6, "{count} examples");
}

const LAB: &str =
    "topology: { nodes: { s: { kind: switch }, a: { kind: host }, b: { kind: host } } }\n";

/// Whether the loader and the schema take a text.
fn taken(text: &str) -> (bool, bool) {
    let text = format!("{text}\n{LAB}");
    let loaded = load::load(&text, "lab.yaml").is_ok();
    (loaded, validator().is_valid(&json_of(&text)))
}

#[test]
fn what_the_loader_takes_fits() {
    for text in [
        "x-note: { any: thing }",
        "name: 7",
        "controller: { fabric: none, x-why: because }",
        "dataplane: { spin: 1.5 MS }",
        "tests:",
        "tests: [ { name: t, exec: { from: a, cmd: [sleep, 5], env: { N: 1 } }, expect: { exit: 1 } } ]",
        "tests: [ { name: t, dns: { from: a, server: b, name: c.d }, expect: { a: [], rcode: NXDOMAIN } } ]",
        "tests: [ { name: t, tcp: { from: [a], to: 'b:1' }, expect: { throughput: { min: 1gbit } } } ]",
        "tests: [ { name: t, ping: { from: a, to: b }, expect: { loss: 0.1%, path: { anyOf: [[a, s, b]] } } } ]",
    ] {
        assert_eq!(taken(text), (true, true), "{text}");
    }
}

#[test]
fn what_the_loader_refuses_for_its_form_does_not_fit() {
    for text in [
        "nmae: lab",
        "seed: many",
        "name: [a]",
        "controller: { fabric: perhaps }",
        "dataplane: { spin: 5 }",
        "dataplane: { workers: -1 }",
        "tests: [ { ping: { from: a, to: b } } ]",
        "tests: [ { name: t, ping: { from: a } } ]",
        "tests: [ { name: t, ping: { from: a, to: b }, expect: { los: 0% } } ]",
        "tests: [ { name: t, ping: { from: a, to: b }, expect: { loss: 0 } } ]",
        "tests: [ { name: t, dns: { from: a, server: b, name: c, type: AXFR } } ]",
        "tests: [ { name: t, exec: { from: a, cmd: ls } } ]",
        "virtualNetworks: {}",
    ] {
        assert_eq!(taken(text), (false, false), "{text}");
    }
    // Which keys exclude each other is known after reading, to the loader and to the schema.
    for test in [
        "name: t",
        "name: t, ping: { from: a, to: b }, tcp: { from: a, to: 'b:1' }",
    ] {
        let text = format!("tests: [ {{ {test} }} ]\n{LAB}");
        assert!(
            load::model(text.as_bytes(), "lab.yaml", None).is_err(),
            "{test}"
        );
        assert!(!validator().is_valid(&json_of(&text)), "{test}");
    }
}
