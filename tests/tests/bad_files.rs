//! A wrong file is refused before anything is built: with line, column, excerpt and suggestion, several mistakes at once.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use weft_tests::{text, weft};

/// Runs `weft up` on a text and returns what it said; it must be refused with a status of 64 or above.
fn refused(name: &str, file: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{name}.yaml"));
    std::fs::write(&path, file).unwrap();
    let output = weft(["up".as_ref(), path.as_os_str(), "--detach".as_ref()]);
    assert!(
        output.status.code().is_some_and(|code| code >= 64),
        "{}",
        text(&output)
    );
    assert!(
        output.stdout.is_empty(),
        "messages belong on standard error"
    );
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in:\n{message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_place_and_suggestion() {
    let said = refused(
        "unknown",
        "name: lab\ntopology:\n  nodes:\n    a: { kind: host, adress: 10.0.0.1/24 }\n    s: { kind: switch }\n",
    );
    says(
        &said,
        &["unknown.yaml:4:", "adress", "a: { kind: host, adress"],
    );
}

#[test]
fn a_quantity_without_unit_is_refused() {
    let file = "name: lab\ntopology:\n  nodes: { a: { kind: host }, s: { kind: switch } }\n  links:\n    - endpoints: [\"a:eth0\", \"s:p1\"]\n      impair: { delay: 5 }\n";
    says(&refused("unit", file), &["unit.yaml:6:", "unit", "5"]);
}

#[test]
fn an_endpoint_to_no_node_is_refused_with_a_suggestion() {
    let file = "name: lab\ntopology:\n  nodes: { alice: { kind: host }, s1: { kind: switch } }\n  links:\n    - endpoints: [\"alcie:eth0\", \"s1:p1\"]\n";
    says(&refused("node", file), &["node.yaml:5:", "alcie", "alice"]);
}

#[test]
fn two_links_on_one_interface_are_refused() {
    let file = "name: lab\ntopology:\n  nodes: { a: { kind: host }, b: { kind: host }, s1: { kind: switch } }\n  links:\n    - endpoints: [\"a:eth0\", \"s1:p1\"]\n    - endpoints: [\"b:eth0\", \"s1:p1\"]\n";
    says(&refused("twice", file), &["twice.yaml:6:", "s1:p1"]);
}

#[test]
fn overlapping_addresses_are_refused() {
    let file = "name: lab\ntopology:\n  nodes:\n    a: { kind: host, ip: 10.0.0.1/24 }\n    b: { kind: host, ip: 10.0.0.1/24 }\n    s1: { kind: switch }\n";
    says(&refused("address", file), &["address.yaml:5:", "10.0.0.1"]);
}

#[test]
fn an_interface_name_that_linux_cannot_have_is_refused() {
    let file = "name: lab\ntopology:\n  nodes: { a: { kind: host }, s1: { kind: switch } }\n  links:\n    - endpoints: [\"a:a-very-long-interface\", \"s1:p1\"]\n";
    says(
        &refused("long", file),
        &["long.yaml:5:", "a-very-long-interface", "15"],
    );
}

#[test]
fn several_mistakes_are_reported_together() {
    let file = "name: lab\nsede: 7\ntopology:\n  nodes:\n    a: { kind: hsot }\n    s1: { kind: switch, nic: 3 }\n  links:\n    - endpoints: [\"a:eth0\", \"s1:p1\"]\n      impair: { delay: 5 }\n";
    says(
        &refused("many", file),
        &[
            "many.yaml:2:",
            "sede",
            "seed",
            "many.yaml:5:",
            "hsot",
            "many.yaml:6:",
            "nic",
            "many.yaml:9:",
        ],
    );
}

#[test]
fn hostile_files_end_in_a_clear_error() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = level - 1;
        bomb += &format!(
            "a{level}: &a{level} [*a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}, *a{before}]\n"
        );
    }
    refused("bomb", &bomb);
    refused("deep", &format!("name: {}", "[".repeat(100_000)));
    refused(
        "large",
        &format!("name: lab\nx-note: {}\n", "y".repeat(10 << 20)),
    );
    refused("empty", "");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.yaml");
    std::fs::write(&path, b"name: caf\xe9\n").unwrap();
    let output = weft(["up".as_ref(), path.as_os_str()]);
    assert!(output.status.code().is_some_and(|code| code >= 64));
    says(
        &String::from_utf8(output.stderr).unwrap(),
        &["latin1.yaml", "UTF-8"],
    );
}

#[test]
fn wrong_usage_is_not_a_failed_test() {
    assert!(weft(["tset"]).status.code().unwrap() >= 64);
    assert!(weft(["test", "/nowhere/lab.yaml"]).status.code().unwrap() >= 64);
    assert!(
        weft(["status", "--lab", "no-such-lab"])
            .status
            .code()
            .unwrap()
            >= 64
    );
}

#[test]
fn a_file_without_tests_has_its_own_status() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.yaml");
    std::fs::write(
        &path,
        "name: none\ntopology:\n  nodes: { s1: { kind: switch } }\n",
    )
    .unwrap();
    assert_eq!(
        weft(["test".as_ref(), path.as_os_str()]).status.code(),
        Some(2)
    );
}

#[test]
fn the_schema_that_editors_use_is_printed() {
    let printed = weft(["schema"]);
    assert!(printed.status.success(), "{}", text(&printed));
    let committed = std::fs::read(weft_tests::root().join("docs/topology.schema.json")).unwrap();
    assert_eq!(
        String::from_utf8(printed.stdout).unwrap(),
        String::from_utf8(committed).unwrap()
    );
}
