//! `weft test` tells failures, warnings and nothing to test apart, and writes reports that CI systems read.

use serde_json::Value;
use weft_tests::{can_build_labs, text, weft};

const LAB: &str = "
name: verdicts
topology:
  nodes:
    s1: { kind: switch }
    a: { kind: host }
    b: { kind: host, listen: [{ tcp: 7000, reply: hello }, { http: 80, status: 404, body: gone }] }
";

/// Runs `weft test` on the lab with some tests; the output and the JUnit report.
fn run(tests: &str, args: &[&str]) -> (std::process::Output, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, junit) = (
        folder.path().join("verdicts.yaml"),
        folder.path().join("junit.xml"),
    );
    std::fs::write(&file, format!("{LAB}{tests}")).expect("the file is written");
    let fixed = [
        "test",
        file.to_str().expect("the path is text"),
        "--junit",
        junit.to_str().expect("the path is text"),
        "-o",
        "json",
    ];
    let output = weft(fixed.iter().chain(args));
    (output, std::fs::read_to_string(junit).unwrap_or_default())
}

#[test]
fn a_failed_expectation_is_exit_status_1_with_its_reason() {
    if !can_build_labs("a_failed_expectation") {
        return;
    }
    let tests = "
tests:
  - { name: reply, tcp: { from: a, to: 'b:7000', count: 2 }, expect: { reply: bye, servedBy: a } }
  - { name: never, tcp: { from: a, to: 'b:7001', timeout: 200ms }, expect: { connect: never } }
  - { name: path, ping: { from: a, to: b }, expect: { path: { exact: [a, b] } } }
  - { name: page, http: { from: a, url: 'http://b/x' }, expect: { status: 200 } }
  - { name: later, eventually: 200ms, ping: { from: a, to: 10.0.0.99, timeout: 50ms }, expect: { loss: 0% } }
  - { name: sim, modes: [sim], ping: { from: a, to: b } }
  - { name: fine, ping: { from: a, to: b } }
";
    let (output, junit) = run(tests, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["totals"],
        serde_json::json!({ "pass": 1, "fail": 5, "warn": 0, "skip": 1 })
    );
    for (test, part) in [
        ("reply", "the reply is \"hello\", not \"bye\""),
        ("reply", "`b` answered, not `a`"),
        ("never", "1 packet reached b:7001"),
        ("path", "the path is a > s1 > b, not a > b"),
        ("page", "the status is 404, not 200"),
        ("later", "loss 100% is above 0%"),
    ] {
        let case = report["cases"]
            .as_array()
            .unwrap()
            .iter()
            .find(|case| case["test"] == test)
            .unwrap();
        assert!(case["detail"].as_str().unwrap().contains(part), "{case:#}");
        assert!(case["name"].as_str().unwrap().starts_with(test));
    }
    assert!(
        junit.contains("tests=\"7\"") && junit.contains("failures=\"5\""),
        "{junit}"
    );
}

#[test]
fn selection_and_warnings_decide_the_exit_status() {
    if !can_build_labs("selection_and_warnings") {
        return;
    }
    let tests = "
tests:
  - { name: good, tags: [quick], ping: { from: a, to: b } }
  - { name: bad, tcp: { from: a, to: 'b:9' } }
verify: [ { loopFree: true } ]
";
    assert_eq!(run(tests, &["--only", "quick"]).0.status.code(), Some(0));
    assert_eq!(run(tests, &["--only", "b*"]).0.status.code(), Some(1));
    assert_eq!(run(tests, &["--only", "none*"]).0.status.code(), Some(2));
    assert_eq!(
        run(
            "tests: [ { name: s, modes: [sim], ping: { from: a, to: b } } ]\n",
            &[]
        )
        .0
        .status
        .code(),
        Some(2)
    );
    let impaired = "  links: [ { endpoints: ['a:eth0', 's1:p1'], impair: { delay: 1ms } } ]\ntests: [ { name: good, ping: { from: a, to: b } } ]\n";
    let (output, _) = run(impaired, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
}
