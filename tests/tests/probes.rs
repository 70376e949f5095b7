//! The probes of `weft test` that look behind the packets: names, programs, headers and bulk transfers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use serde_json::Value;
use weft_tests::{can_build_labs, has_programs, text, weft};

/// Runs a lab's tests in a folder; the report. The lab knows more addresses of `many.example` than a datagram holds.
fn run(folder: &Path, name: &str, status: i32, tests: &str) -> Value {
    let many: Vec<String> = (1..=100).map(|n| format!("10.7.0.{n}")).collect();
    let many = many.join(", ");
    let file = folder.join("lab.yaml");
    let lab = format!(
        "
name: {name}
topology:
  nodes:
    s1: {{ kind: switch }}
    a: {{ kind: host, ip: [10.0.0.1/24, 'fd00::1/64'] }}
    b: {{ kind: host, ip: [10.0.0.2/24, 'fd00::2/64'], listen: [{{ tcp: 7000, reply: hello }}, {{ tcp: 7001 }}, {{ http: 80, status: 201, body: made }}] }}
    ns:
      kind: host
      ip: [10.0.0.53/24, 'fd00::53/64']
      listen:
        - dns: 53
          records: {{ web.example: [10.0.0.2, 'fd00::2'], www.example: web.example, many.example: [{many}] }}
tests:
{tests}"
    );
    std::fs::write(&file, lab).unwrap();
    let lab = format!("probes-{name}-{}", std::process::id());
    let args = ["test", file.to_str().unwrap(), "--name", &lab, "-o", "json"];
    let output = weft(args);
    assert_eq!(output.status.code(), Some(status), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The case of a test.
fn case<'a>(report: &'a Value, test: &str) -> &'a Value {
    let cases = report["cases"].as_array().unwrap();
    cases.iter().find(|case| case["test"] == test).unwrap()
}

#[test]
fn names_are_looked_up() {
    if !can_build_labs("names_are_looked_up") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = run(
        folder.path(),
        "names",
        0,
        "
  - { name: both, dns: { from: '[a-b]', server: ns, name: WEB.example. }, expect: { a: 10.0.0.2, aaaa: ['fd00::2'], within: 5s, servedBy: ns } }
  - { name: alias, dns: { from: a, server: 'ns:53', name: www.example, count: 3 }, expect: { cname: web.example, a: [10.0.0.2], path: { exact: [a, s1, ns] } } }
  - { name: alias only, dns: { from: a, server: 10.0.0.53, name: www.example }, expect: { cname: web.example } }
  - { name: by IPv6, dns: { from: a, server: '[fd00::53]:53', name: www.example, type: AAAA }, expect: { aaaa: 'fd00::2', cname: web.example } }
  - { name: none, dns: { from: a, server: ns, name: nobody.example }, expect: { rcode: NXDOMAIN } }
  - { name: none of the type, dns: { from: a, server: ns, name: web.example, type: MX }, expect: { rcode: NOERROR } }
  - { name: by TCP, dns: { from: a, server: ns, name: many.example } }
"
        .replace("'[a-b]'", "[a, b]")
        .as_str(),
    );
    assert_eq!(report["totals"]["pass"], 8, "{report:#}");
    let many = &case(&report, "by TCP")["measured"];
    assert_eq!(many["a"].as_array().unwrap().len(), 100);
    assert_eq!(
        case(&report, "alias only")["detail"]
            .as_str()
            .unwrap()
            .split(", rtt")
            .next(),
        Some("1/1 answered, web.example")
    );
}

#[test]
fn wrong_names_say_what_was_found() {
    if !can_build_labs("wrong_names") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = run(
        folder.path(),
        "wrong-names",
        1,
        "
  - { name: other, dns: { from: a, server: ns, name: web.example }, expect: { a: 10.0.0.9 } }
  - { name: missing, dns: { from: a, server: ns, name: nobody.example } }
  - { name: nobody, dns: { from: a, server: b, name: web.example } }
  - { name: nowhere, dns: { from: a, server: 10.0.0.99, name: web.example, timeout: 100ms } }
",
    );
    for (test, part) in [
        ("other", "A is 10.0.0.2, not 10.0.0.9"),
        ("missing", "the answer is NXDOMAIN, not NOERROR"),
        ("nobody", "1 of 1 not answered: 1 refused"),
        ("nowhere", "1 of 1 not answered: 1 without answer"),
    ] {
        let case = case(&report, test);
        assert_eq!(
            (&case["verdict"], &case["detail"]),
            (&"fail".into(), &part.into()),
            "{case:#}"
        );
    }
}

#[test]
fn programs_are_run_judged_and_ended() {
    if !can_build_labs("programs_are_run")
        || !has_programs("programs_are_run", &["sh", "pgrep", "setsid", "sleep"])
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Nobody else sleeps for so long; a daemon that left its session is one of the things that have to end.
    let long = format!("88{}", std::process::id());
    let tests = "
  - { name: in the host, exec: { from: [a, b], cmd: [ip, -o, address] }, expect: { stdoutMatches: 'inet 10\\.0\\.0\\.[12]/24' } }
  - { name: settings, exec: { from: a, cmd: [sh, -c, 'echo $WHO; pwd; exit 3'], env: { WHO: me }, cwd: / }, expect: { exit: 3, stdoutMatches: '^me\\n/$' } }
  - { name: in the end, eventually: 20s, exec: { from: a, cmd: [sh, -c, 'test -e seen || { touch seen; exit 1; }'] } }
  - { name: wrong, exec: { from: a, cmd: [sh, -c, 'echo so far; echo why >&2; exit 4'] }, expect: { stdoutMatches: all } }
  - { name: missing, exec: { from: a, cmd: [no-such-program] } }
  - { name: too long, exec: { from: a, cmd: [sh, -c, 'setsid sleep LONG & echo begun; sleep LONG'] }, expect: { within: 500ms } }
  - { name: leaves something, exec: { from: a, cmd: [sh, -c, 'setsid sleep LONG >&- 2>&- & exit 0'] } }
  - { name: all are gone, exec: { from: b, cmd: [pgrep, -f, '[s]leep LONG'] }, expect: { exit: 1 } }
  - { name: a signal, exec: { from: a, cmd: [sh, -c, 'sh -c \"kill -9 \\$\\$\"; exit $?'] }, expect: { exit: 137 } }
"
    .replace("LONG", &long);
    let report = run(folder.path(), "programs", 1, &tests);
    for test in [
        "in the host",
        "settings",
        "in the end",
        "leaves something",
        "all are gone",
        "a signal",
    ] {
        let case = case(&report, test);
        assert_eq!(case["verdict"], "pass", "{case:#}");
    }
    for (test, detail) in [
        (
            "wrong",
            "exit status 4, not 0; nothing of its output fits \"all\"\nstdout: so far\nstderr: why",
        ),
        (
            "missing",
            "exit status 127, not 0\nstderr: cannot run `no-such-program`: No such file or directory (os error 2)",
        ),
        (
            "too long",
            "it did not end within 500ms and was killed\nstdout: begun",
        ),
    ] {
        let case = case(&report, test);
        assert_eq!(
            (&case["verdict"], &case["detail"]),
            (&"fail".into(), &detail.into()),
            "{case:#}"
        );
    }
    assert_eq!(case(&report, "settings")["measured"]["exit"], 3);
}

#[test]
fn headers_and_bulk_transfers_are_judged() {
    if !can_build_labs("headers_and_bulk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let report = run(
        folder.path(),
        "bulk",
        1,
        "
  - { name: header, http: { from: a, url: 'http://b/' }, expect: { status: 201, header: { Content-Type: 'text/plain; charset=utf-8', weft-served-by: b } } }
  - { name: other header, http: { from: a, url: 'http://b/' }, expect: { header: { content-type: text/html, etag: x } } }
  - { name: bulk, tcp: { from: a, to: ['b:7000', 'b:7001', '[fd00::2]:7000'], count: 2, duration: 300ms }, expect: { throughput: { min: 1mbit }, path: { exact: [a, s1, b] } } }
  - { name: too slow, tcp: { from: a, to: 'b:7000', duration: 200ms }, expect: { throughput: { min: 100tbit } } }
  - { name: too fast, tcp: { from: a, to: 'b:7000', duration: 200ms }, expect: { throughput: { max: 1kbit } } }
  - { name: nobody, tcp: { from: a, to: 'b:9' }, expect: { throughput: { min: 1kbit } } }
",
    );
    assert_eq!(case(&report, "header")["verdict"], "pass", "{report:#}");
    let detail = |test: &str| case(&report, test)["detail"].as_str().unwrap().to_owned();
    assert_eq!(
        detail("other header"),
        "the header `content-type` is \"text/plain; charset=utf-8\", not \"text/html\"; there is no header `etag`"
    );
    let bulk: Vec<&Value> = report["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["test"] == "bulk")
        .collect();
    assert_eq!(bulk.len(), 3);
    for case in bulk {
        assert_eq!(case["verdict"], "pass", "{case:#}");
        assert!(
            case["measured"]["throughputBps"].as_u64().unwrap() > 1_000_000,
            "{case:#}"
        );
    }
    assert!(
        detail("too slow").ends_with("is below 100tbit"),
        "{report:#}"
    );
    assert!(detail("too fast").ends_with("is above 1kbit"), "{report:#}");
    assert_eq!(
        detail("nobody"),
        "1 of 1 not answered: 1 refused; no throughput was measured"
    );
}
