//! A wrong file is refused before anything is built: with line, column, excerpt and suggestion, several mistakes at once.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

use weft_tests::{text, weft, weft_binary};

/// What the commands end with when a file is wrong (`EX_DATAERR` of sysexits.h).
const WRONG_FILE: i32 = 65;

/// Seconds after which `timeout` ends a command, with a status of 124: a hang must not stop the tests.
const HANGS: &str = "20";

/// Runs `weft up` on a file and returns what it said; it must be refused before anything is built.
fn refused(name: &str, file: impl AsRef<[u8]>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{name}.yaml"));
    std::fs::write(&path, file).unwrap();
    let labs = folder.path().join("labs");
    let output: Output = Command::new("timeout")
        .arg(HANGS)
        .arg(weft_binary())
        .arg("up")
        .arg(&path)
        .arg("--detach")
        .env("WEFT_RUNTIME_DIR", &labs)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(WRONG_FILE),
        "{name}: {}",
        text(&output)
    );
    assert!(
        output.stdout.is_empty(),
        "messages belong on standard error"
    );
    // Every lab begins with its directory.
    let built = std::fs::read_dir(&labs).map_or(0, Iterator::count);
    assert_eq!(built, 0, "{name} left something in {}", labs.display());
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

/// Aliases that stand for eight times as much from line to line.
fn bomb() -> String {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = vec![format!("*a{}", level - 1); 8].join(", ");
        bomb += &format!("a{level}: &a{level} [{before}]\n");
    }
    bomb
}

#[test]
fn aliases_that_grow_without_end_are_refused() {
    says(&refused("bomb", bomb()), &["bomb.yaml:6:", "alias", "[*a4"]);
    says(
        &refused("cycle", "name: lab\na: &a [*a]\n"),
        &["cycle.yaml:2:", "contains itself"],
    );
}

#[test]
fn deep_nesting_is_refused() {
    let lists = format!("name: lab\ntopology: {}", "[".repeat(100_000));
    let maps = format!("name: lab\ntopology: {}", "{a: ".repeat(100_000));
    let dashes = format!("name: lab\ntopology:\n  {}", "- ".repeat(100_000));
    let lines = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth)));
    for (name, file, line) in [
        ("lists", lists, 2),
        ("maps", maps, 2),
        ("dashes", dashes, 3),
        ("lines", lines.collect(), 25),
    ] {
        let place = format!("{name}.yaml:{line}:");
        says(&refused(name, file), &[&place, "nested deeper than 24"]);
    }
}

#[test]
fn what_is_no_text_is_refused() {
    says(
        &refused("latin1", b"name: lab\n# caf\xe9\n"),
        &["latin1.yaml:2:6:", "not UTF-8 text", "0xe9"],
    );
    says(
        &refused("utf16", b"\xff\xfen\0a\0m\0e\0"),
        &["utf16.yaml:1:1:", "not UTF-8 text", "0xff"],
    );
    says(
        &refused("zero", b"name: lab\ntopology: \0\n"),
        &["zero.yaml:2:11:"],
    );
    says(&refused("empty", ""), &["empty.yaml", "the file is empty"]);
}

#[test]
fn large_files_are_refused() {
    let whole = ["large.yaml: ", "more than the 4194304 bytes"];
    let line = format!("name: lab\nx-note: {}\n", "y".repeat(10 << 20));
    says(&refused("large", line), &whole);
    let lines = format!("name: lab\nx-notes:\n{}", "- y\n".repeat(10 << 18));
    says(&refused("large", lines), &whole);
    let values = format!("name: lab\nx-notes:\n{}", "- y\n".repeat(500_000));
    says(
        &refused("values", values),
        &["values.yaml:", "more than the 200000 values"],
    );
}

#[test]
fn keys_that_are_there_twice_are_refused() {
    let file =
        "name: lab\ntopology:\n  nodes:\n    s1: { kind: switch }\n    s1: { kind: switch }\n";
    says(
        &refused("twice", file),
        &["twice.yaml:5:5:", "the key `s1` is there twice"],
    );
    let many = format!("{}topology: {{}}\n", "name: lab\n".repeat(200_000));
    says(&refused("many", many), &["many.yaml:2:1:", "`name`"]);
}

#[test]
fn labs_that_are_too_large_are_refused() {
    let start = "name: lab\ntopology:\n  nodes:\n    s1: { kind: switch }\n";
    for (name, range) in [
        ("range", "h[1-999999999]"),
        ("product", "h[1-999]x[1-999]x[1-999]"),
    ] {
        let place = format!("{name}.yaml:5:5:");
        says(
            &refused(name, format!("{start}    {range}: {{ kind: host }}\n")),
            &[&place, "[1-999", "more than 10000 names"],
        );
    }
    let ports = "    s2: { kind: switch }\n  links:\n    - endpoints: [\"s1:p[1-999999]\", \"s2:p[1-999999]\"]\n";
    says(
        &refused("ports", format!("{start}{ports}")),
        &["ports.yaml:7:", "more than 10000 names"],
    );
    for (name, count) in [("mesh", 250), ("large-mesh", 9_000)] {
        let file = format!(
            "name: lab\ntopology:\n  nodes:\n    s[1-{count}]: {{ kind: switch }}\n  links:\n    - mesh: [\"s*\"]\n"
        );
        let place = format!("{name}.yaml:6:");
        says(&refused(name, file), &[&place, "more than 20000 links"]);
    }
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
