use std::net::IpAddr;

use weft_controller::load;
use weft_controller::spec::{Expect, TestSpec};

use super::*;
use crate::test::cases::expand;
use crate::test::observe::Flow;
use crate::test::probe::{Answer, Bulk, Names, Output, Page};

const LAB: &str = "
topology:
  nodes: { 's[1-3]': { kind: switch }, 'h[1-2]': { kind: host } }
  links:
    - endpoints: ['h1:eth0', 's1:h1']
    - endpoints: ['h2:eth0', 's2:h2']
    - { name: direct, endpoints: ['s1:p1', 's2:p1'] }
    - endpoints: ['s1:p2', 's3:p1']
    - endpoints: ['s3:p2', 's2:p2']
";

/// The lab, and the case of a test from h1 to h2.
fn lab(probe: &str, expect: &str) -> (Model, Case) {
    let text = format!("{LAB}tests: [ {{ name: t, {probe}, expect: {{ {expect} }} }} ]\n");
    let model = load::model(text.as_bytes(), "lab.yaml", None).unwrap();
    let test: &TestSpec = &model.tests[0];
    let case = expand(test, &model).unwrap().remove(0);
    (model, case)
}

const TCP: &str = "tcp: { from: h1, to: 'h2:80' }";
const PING: &str = "ping: { from: h1, to: h2 }";
const HTTP: &str = "http: { from: h1, url: 'http://h2/' }";

fn answered(millis: u64) -> Try {
    let rtt = Duration::from_millis(millis);
    Try {
        rtt: Some(rtt),
        answer: Some(Answer::Text("hello".to_owned())),
        served_by: Some("h2".to_owned()),
        ..ended(End::Answered, millis)
    }
}

fn ended(end: End, millis: u64) -> Try {
    Try {
        end,
        local: None,
        rtt: None,
        took: Duration::from_millis(millis),
        answer: None,
        served_by: None,
    }
}

fn served(status: u16, body: &str) -> Try {
    let page = Page {
        status,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: body.to_owned(),
    };
    Try {
        answer: Some(Answer::Page(page)),
        ..answered(1)
    }
}

fn way(nodes: &[&str], links: &[&str], end: WayEnd, source_port: u32) -> Way {
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let flow = Flow {
        source: address,
        destination: address,
        proto: 6,
        source_port,
        destination_port: 80,
    };
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Way {
        flow,
        nodes: owned(nodes),
        links: owned(links),
        end,
        packets: 1,
    }
}

fn direct(port: u32) -> Way {
    way(
        &["h1", "s1", "s2", "h2"],
        &["h1:eth0--s1:h1", "direct", "h2:eth0--s2:h2"],
        WayEnd::Delivered("h2".to_owned()),
        port,
    )
}

/// Judges tries and ways; what is wrong, `ok` where nothing is.
fn check(probe: &str, expect: &str, tries: Vec<Try>, ways: &[Way]) -> String {
    let (model, case) = lab(probe, expect);
    let judgement = judge(&case, &Seen { tries }, ways, &model);
    if judgement.verdict == Verdict::Pass {
        "ok".to_owned()
    } else {
        judgement.detail
    }
}

#[test]
fn loss_is_a_maximum() {
    let tries = || {
        vec![
            answered(1),
            ended(End::Silence, 9),
            answered(1),
            answered(1),
        ]
    };
    assert_eq!(
        check(PING, "loss: 0%", tries(), &[]),
        "loss 25% is above 0%"
    );
    assert_eq!(check(PING, "loss: 25%", tries(), &[]), "ok");
    assert_eq!(
        check(PING, "", tries(), &[]),
        "ok",
        "one answer is a sign of life"
    );
    assert_eq!(
        check(PING, "", vec![ended(End::Silence, 9)], &[]),
        "1 of 1 not answered: 1 without answer"
    );
    assert_eq!(
        check(TCP, "", tries(), &[]),
        "1 of 4 not answered: 1 without answer"
    );
}

#[test]
fn connect_tells_refusal_silence_and_arrival_apart() {
    let refused = || vec![ended(End::Refused, 1)];
    let silent = || vec![ended(End::Silence, 1)];
    assert_eq!(check(TCP, "connect: refused", refused(), &[]), "ok");
    assert_eq!(
        check(TCP, "connect: ok", refused(), &[]),
        "expected an answer, found 1 refused"
    );
    assert_eq!(
        check(TCP, "connect: timeout", refused(), &[]),
        "expected silence, found 1 refused"
    );
    assert_eq!(
        check(TCP, "connect: never", refused(), &[]),
        "expected silence, found 1 refused"
    );
    assert_eq!(check(TCP, "connect: never", silent(), &[]), "ok");
    assert_eq!(
        check(TCP, "connect: never", silent(), &[direct(1)]),
        "1 packet reached h2:80"
    );
    let dropped = way(&["h1", "s1"], &[], WayEnd::Dropped("acl".to_owned()), 1);
    assert_eq!(check(TCP, "connect: never", silent(), &[dropped]), "ok");
}

#[test]
fn times_have_bounds() {
    let tries = || vec![answered(1), answered(2), answered(30)];
    assert_eq!(
        check(
            PING,
            "rtt: { max: 40ms, min: 1ms, p99: 30ms }",
            tries(),
            &[]
        ),
        "ok"
    );
    assert_eq!(
        check(PING, "rtt: { max: 29ms }", tries(), &[]),
        "rtt 30.000 ms is above 29ms"
    );
    assert_eq!(
        check(PING, "rtt: { min: 2ms }", tries(), &[]),
        "rtt 1.000 ms is below 2ms"
    );
    assert_eq!(
        check(HTTP, "within: 10ms", tries(), &[]),
        "it took 30.000 ms, more than 10ms"
    );
}

#[test]
fn answers_are_compared() {
    assert_eq!(
        check(
            TCP,
            "reply: hello, servedBy: 'h[1-2]'",
            vec![answered(1)],
            &[]
        ),
        "ok"
    );
    assert_eq!(
        check(TCP, "reply: bye", vec![answered(1), answered(1)], &[]),
        "the reply is \"hello\", not \"bye\" (and 1 more)"
    );
    assert_eq!(
        check(TCP, "servedBy: h1", vec![answered(1)], &[]),
        "`h2` answered, not `h1`"
    );
    assert_eq!(
        check(HTTP, "status: 404", vec![served(200, "hello")], &[]),
        "the status is 200, not 404"
    );
    assert_eq!(
        check(HTTP, "bodyContains: ell", vec![served(200, "hello")], &[]),
        "ok"
    );
    assert_eq!(
        check(HTTP, "bodyContains: x", vec![served(200, "hello")], &[]),
        "the body is \"hello\", without \"x\""
    );
}

#[test]
fn headers_are_compared_whole_under_any_spelling_of_their_name() {
    let page = |expect: &str| check(HTTP, expect, vec![served(200, "")], &[]);
    assert_eq!(page("header: { Content-Type: text/plain }"), "ok");
    assert_eq!(
        page("header: { content-type: text }"),
        "the header `content-type` is \"text/plain\", not \"text\""
    );
    assert_eq!(page("header: { etag: x }"), "there is no header `etag`");
}

#[test]
fn names_are_compared_as_sets() {
    const DNS: &str = "dns: { from: h1, server: h2, name: www.example }";
    let names = Names {
        rcode: 0,
        a: vec!["10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap()],
        aaaa: Vec::new(),
        cname: vec!["web.example".to_owned()],
    };
    let said = |names: &Names| Try {
        answer: Some(Answer::Names(names.clone())),
        ..answered(1)
    };
    let dns = |expect: &str| check(DNS, expect, vec![said(&names)], &[]);
    assert_eq!(
        dns("a: [10.0.0.1, 10.0.0.2], aaaa: [], cname: WEB.example."),
        "ok"
    );
    assert_eq!(dns("a: 10.0.0.1"), "A is 10.0.0.2, 10.0.0.1, not 10.0.0.1");
    assert_eq!(dns("aaaa: 'fd00::1'"), "AAAA is nothing, not fd00::1");
    assert_eq!(
        dns("cname: other.example"),
        "CNAME is web.example, not other.example"
    );
    assert_eq!(
        dns("rcode: NXDOMAIN"),
        "the answer is NOERROR, not NXDOMAIN"
    );
    let none = said(&Names {
        rcode: 3,
        ..Names::default()
    });
    assert_eq!(check(DNS, "rcode: NXDOMAIN", vec![none.clone()], &[]), "ok");
    assert_eq!(
        check(DNS, "a: []", vec![none], &[]),
        "the answer is NXDOMAIN, not NOERROR"
    );
}

#[test]
fn programs_are_judged_by_status_and_output() {
    const EXEC: &str = "exec: { from: h1, cmd: [x], timeout: 2s }";
    let ran = |status: u8, end: End| {
        let output = Output {
            status,
            stdout: "one\ntwo\n".to_owned(),
            stderr: "oops\n".to_owned(),
        };
        Try {
            answer: Some(Answer::Output(output)),
            ..ended(end, 1)
        }
    };
    let exec = |expect: &str, one: Try| check(EXEC, expect, vec![one], &[]);
    assert_eq!(exec("stdoutMatches: '^two$'", ran(0, End::Answered)), "ok");
    assert_eq!(exec("exit: 3", ran(3, End::Answered)), "ok");
    assert_eq!(
        exec("stdoutMatches: three", ran(1, End::Answered)),
        "exit status 1, not 0; nothing of its output fits \"three\"\nstdout: one\ntwo\nstderr: oops"
    );
    assert_eq!(
        exec("", ran(137, End::Killed)),
        "it did not end within 2s and was killed\nstdout: one\ntwo\nstderr: oops"
    );
}

#[test]
fn throughput_is_that_of_all_connections_together() {
    let poured = || Try {
        answer: Some(Answer::Bulk(Bulk {
            bytes: 12_500_000,
            elapsed: Duration::from_secs(1),
        })),
        ..answered(1)
    };
    let bulk = |expect: &str| check(TCP, expect, vec![poured(), poured()], &[]);
    assert_eq!(bulk("throughput: { min: 200mbit, max: 200mbit }"), "ok");
    assert_eq!(
        bulk("throughput: { min: 1gbit }"),
        "throughput 200.00mbit is below 1gbit"
    );
    assert_eq!(
        bulk("throughput: { max: 1mbit }"),
        "throughput 200.00mbit is above 1mbit"
    );
    assert_eq!(
        check(TCP, "throughput: { min: 1bit }", vec![answered(1)], &[]),
        "no throughput was measured"
    );
}

#[test]
fn paths_are_those_that_were_recorded() {
    let tries = || vec![answered(1)];
    let path = |expect: &str| check(TCP, &format!("path: {{ {expect} }}"), tries(), &[direct(1)]);
    assert_eq!(path("exact: [h1, s1, s2, h2]"), "ok");
    assert_eq!(
        path("exact: [h1, s1, h2]"),
        "the path is h1 > s1 > s2 > h2, not h1 > s1 > h2"
    );
    assert_eq!(
        path("anyOf: [[h1, s1, s3, s2, h2], [h1, s1, s2, h2]], maxHops: 2"),
        "ok"
    );
    assert_eq!(
        path("maxHops: 1"),
        "the path h1 > s1 > s2 > h2 has 2 switches, more than 1"
    );
    assert_eq!(path("through: [direct, 's*', 's2:p1']"), "ok");
    assert_eq!(
        path("through: s3"),
        "the path is h1 > s1 > s2 > h2, not through s3"
    );
    assert_eq!(
        path("notThrough: s1:p1"),
        "the path is h1 > s1 > s2 > h2, through s1:p1"
    );
    assert_eq!(
        check(TCP, "path: { maxHops: 9 }", tries(), &[]),
        "no packet was seen"
    );
    let dropped = way(&["h1", "s1"], &[], WayEnd::Dropped("mtu".to_owned()), 1);
    assert_eq!(
        check(TCP, "path: { maxHops: 9 }", tries(), &[dropped]),
        "every packet was dropped: mtu"
    );
}

#[test]
fn only_the_probes_own_packets_count() {
    let mine = Try {
        local: Some("10.0.0.1:7".parse().unwrap()),
        ..answered(1)
    };
    let other = way(
        &["h1", "s3", "h2"],
        &[],
        WayEnd::Delivered("h2".to_owned()),
        8,
    );
    assert_eq!(
        check(
            TCP,
            "path: { maxHops: 2, notThrough: s3 }",
            vec![mine],
            &[other, direct(7)]
        ),
        "ok"
    );
}

#[test]
fn flows_spread_over_each_name_by_itself() {
    let (model, case) = lab(TCP, "spread: { over: ['s[2-3]'], minShare: 25% }");
    let Expect {
        spread: Some(spread),
        ..
    } = &case.expect
    else {
        panic!()
    };
    let around = |port| {
        way(
            &["h1", "s1", "s3", "s2", "h2"],
            &[],
            WayEnd::Delivered("h2".to_owned()),
            port,
        )
    };
    let check = |ways: &[Way]| {
        let judgement = judge_spread(spread, &crate::test::observe::crossed(ways), &model);
        (judgement.verdict == Verdict::Pass, judgement.detail)
    };
    assert_eq!(
        check(&[direct(1), direct(2), direct(3), around(4)]),
        (true, "4 flows: s2 100%, s3 25%".to_owned())
    );
    let (passed, detail) = check(&[direct(1), direct(2), direct(3), direct(4), around(5)]);
    assert!(
        !passed && detail.starts_with("s3 carries 20%, less than 25%"),
        "{detail}"
    );
    assert!(!check(&[]).0);
}
