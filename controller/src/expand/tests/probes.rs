//! Tests are checked before anything is built: names, numbers, and what can be expected of whom.

use super::{mistake, topology};
use crate::load;

#[test]
fn wrong_tests_are_refused_before_anything_is_built() {
    for (test, expected) in [
        (
            "ping: { from: a, to: s }",
            "`s` is a switch, tests run between hosts",
        ),
        ("ping: { from: 'z*', to: a }", "there is no host `z*`"),
        (
            "tcp: { from: a, to: b }",
            "`b` says no port, for example `b:80`",
        ),
        (
            "tcp: { from: a, to: 'b:99999' }",
            "the port `99999` is out of range [1, 65535]",
        ),
        (
            "http: { from: a, url: 'b/x' }",
            "`b/x` is no URL, for example `http://web:8080/health`",
        ),
        (
            "http: { from: a, url: 'http://c/x' }",
            "there is no host `c`",
        ),
        (
            "ping: { from: a, to: b }, expect: { status: 200 }",
            "`status` can be expected of `http` only, this test is a `ping`",
        ),
        (
            "ping: { from: a, to: b }, expect: { path: { through: nowhere } }",
            "there is no node and no link `nowhere`",
        ),
        (
            "ping: { from: a, to: b, count: 0 }",
            "the count is out of range [1, 10000]",
        ),
        (
            "expect: {}",
            "the test `t` has no probe: exactly one of `ping`, `tcp`, `udp`, `http`, `dns`, `exec` is wanted",
        ),
        (
            "ping: { from: a, to: b }, tcp: { from: a, to: 'b:80' }",
            "the test `t` has 2 probes, `ping`, `tcp`; one is wanted",
        ),
        (
            "dns: { from: a, name: web.example }",
            "no host has a DNS server of its own: `server` has to say whom to ask",
        ),
        (
            "dns: { from: a, server: 'b:0', name: web.example }",
            "`b:0` is no server, for example `dns1` or `10.0.0.53:53`",
        ),
        (
            "dns: { from: a, server: b, name: 'web..example' }",
            "`web..example` is no DNS name, for example `web.example`",
        ),
        (
            "exec: { from: a, cmd: [] }",
            "`cmd` names no program, for example `[ip, route]`",
        ),
        (
            "exec: { from: a, cmd: [x] }, expect: { stdoutMatches: 'a(' }",
            "no regular expression: unclosed group",
        ),
        (
            "ping: { from: a, to: b }, expect: { exit: 1 }",
            "`exit` can be expected of `exec` only, this test is a `ping`",
        ),
        (
            "udp: { from: a, to: 'b:1' }, expect: { throughput: { min: 1mbit } }",
            "`throughput` can be expected of `tcp` only, this test is a `udp`",
        ),
        (
            "tcp: { from: a, to: 'b:1' }, expect: { throughput: { min: 2mbit, max: 1mbit } }",
            "the least value 2mbit is above the largest, 1mbit",
        ),
        (
            "tcp: { from: a, to: 'b:1' }, expect: { connect: never, reply: hello }",
            "`reply` wants an answer, and `connect: never` wants none",
        ),
        (
            "tcp: { from: a, to: 'b:1', duration: 2s }",
            "`duration` is that of a bulk transfer, and no `throughput` is expected",
        ),
    ] {
        let file = format!(
            "{}tests: [ {{ name: t, {test} }} ]\n",
            topology(
                "s: { kind: switch }, a: { kind: host }, b: { kind: host }",
                ""
            )
        );
        assert_eq!(mistake(&file), expected);
    }
}

/// Every probe, and every expectation with the probes that know it.
const PROBES: [(&str, &str); 6] = [
    ("ping", "ping: { from: a, to: b }"),
    ("tcp", "tcp: { from: a, to: 'b:1' }"),
    ("udp", "udp: { from: a, to: 'b:1' }"),
    ("http", "http: { from: a, url: 'http://b/' }"),
    ("dns", "dns: { from: a, server: b, name: c.d }"),
    ("exec", "exec: { from: a, cmd: [x] }"),
];
const EXPECTATIONS: [(&str, &str, &str); 18] = [
    ("loss", "0%", "ping udp"),
    (
        "rtt",
        "{ min: 1us, max: 1s, p99: 1s }",
        "ping tcp udp http dns",
    ),
    ("connect", "ok", "tcp udp http"),
    ("reply", "hello", "tcp udp"),
    ("throughput", "{ min: 1mbit }", "tcp"),
    ("status", "200", "http"),
    ("within", "1s", "ping tcp udp http dns exec"),
    ("bodyContains", "x", "http"),
    ("header", "{ etag: x }", "http"),
    ("a", "10.0.0.1", "dns"),
    ("aaaa", "'fd00::1'", "dns"),
    ("cname", "x.y", "dns"),
    ("rcode", "NOERROR", "dns"),
    ("exit", "1", "exec"),
    ("stdoutMatches", "x", "exec"),
    ("servedBy", "b", "tcp udp http dns"),
    ("path", "{ maxHops: 1 }", "ping tcp udp http dns"),
    (
        "spread",
        "{ over: s, minShare: 1% }",
        "ping tcp udp http dns",
    ),
];

#[test]
fn each_expectation_is_known_to_its_probes_and_refused_of_others() {
    let schema = crate::schema::topology();
    let keys = schema["$defs"]["Expect"]["properties"].as_object().unwrap();
    let mut tried: Vec<&str> = EXPECTATIONS.iter().map(|(key, ..)| *key).collect();
    tried.sort_unstable();
    assert!(
        keys.keys().eq(tried),
        "an expectation is not in the list: {keys:#?}"
    );
    for (key, value, who) in EXPECTATIONS {
        let fits: Vec<&str> = who.split(' ').collect();
        for (name, probe) in PROBES {
            let file = format!(
                "{}tests: [ {{ name: t, {probe}, expect: {{ {key}: {value} }} }} ]\n",
                topology(
                    "s: { kind: switch }, a: { kind: host }, b: { kind: host }",
                    ""
                )
            );
            let refused = load::model(file.as_bytes(), "lab.yaml", None).err();
            if fits.contains(&name) {
                assert!(refused.is_none(), "{key} of {name}: {refused:?}");
                continue;
            }
            let refused = refused.unwrap_or_else(|| panic!("{key} of {name} is taken"));
            let located = refused.iter().next().unwrap();
            assert_eq!(
                located.error.detail,
                format!(
                    "`{key}` can be expected of `{}` only, this test is a `{name}`",
                    fits.join("`, `")
                )
            );
            assert_eq!(located.error.pointer, format!("/tests/0/expect/{key}"));
            assert!(located.at.is_some());
        }
    }
}
