use super::*;

/// What is said about a wrong file.
fn said(text: &str) -> String {
    model(text.as_bytes(), "lab.yaml", None)
        .unwrap_err()
        .to_string()
}

/// First lines of the mistakes: `LINE:COLUMN: message`.
fn mistakes(text: &str) -> Vec<String> {
    let first = |line: &str| line.strip_prefix("error: lab.yaml:").map(str::to_owned);
    said(text).lines().filter_map(first).collect()
}

const SWITCH: &str = "topology:\n  nodes:\n    s1: { kind: switch }\n";

#[test]
fn a_mistake_has_place_excerpt_and_suggestion() {
    let text = "name: lab\ntopology:\n  nodes:\n    a: { knd: host }\n";
    assert_eq!(
        said(text).split("\n\n").next().unwrap(),
        "error: lab.yaml:4:5: the node `a` has no `kind`\n  |\n4 |     a: { knd: host }\n  |     ^\n  help: expected one of `host`, `switch`, `router`"
    );
    assert!(said(text).contains(
        "error: lab.yaml:4:10: unknown key `knd`\n  |\n4 |     a: { knd: host }\n  |          ^^^\n  help: did you mean `kind`?\n"
    ));
}

#[test]
fn mistakes_of_form_and_meaning_come_together_in_file_order() {
    let text = "
name: lab
sede: 7
topology:
  nodes:
    a: { kind: host, ip: 10.0.0.1/24, mtu: 9 }
    b: { kind: host, ip: 10.0.0.1/24, adress: 1 }
    s1: { kind: switch }
  links:
    - endpoints: [\"a:eth0\", \"s1:p1\"]
      impair: { delay: 5, loss: 101% }
    - endpoints: [\"b:eth0\", \"s1:p1\"]
    - endpoints: [\"c:eth0\", \"s1:p2\"]
tests:
  - { name: one, ping: { from: a, to: bb } }
";
    assert_eq!(
        mistakes(text),
        [
            "3:1: unknown key `sede`",
            "6:44: mtu 9 is out of range [68, 65521]",
            "7:26: the address 10.0.0.1 is already that of `a`",
            "7:39: unknown key `adress`",
            "11:24: missing unit, for example `5ms`",
            "11:33: `101%` is out of range [0%, 100%]",
            "12:29: two links are on `s1:p1`",
            "13:19: there is no node `c`",
            "15:39: there is no host `bb`",
        ]
    );
}

#[test]
fn what_follows_from_a_reported_mistake_is_not_reported() {
    let text = "topology:\n  nodes:\n    a: { kind: hsot }\n    s1: { kind: switch }\n";
    assert_eq!(mistakes(text), ["3:16: unknown value `hsot`"]);
    let text = format!("{SWITCH}tests:\n  - {{ name: [x], ping: {{ from: a, to: a }} }}\n");
    assert_eq!(mistakes(&text), ["5:13: expected a text, found a list"]);
}

#[test]
fn missing_keys_are_named() {
    let text = format!(
        "{SWITCH}tests:\n  - {{ ping: {{ from: a, to: a }} }}\n  - {{ name: x, tcp: {{ from: s1 }} }}\n"
    );
    assert_eq!(
        mistakes(&text),
        ["5:5: missing key `name`", "6:16: missing key `to`"]
    );
    assert_eq!(mistakes("name: x\n"), ["1:1: missing key `topology`"]);
}

#[test]
fn sections_of_the_format_that_are_not_built_are_refused_by_name() {
    let text = format!("virtualNetworks: {{}}\n{SWITCH}controller: {{ api: {{ listen: x }} }}\n");
    assert_eq!(
        mistakes(&text),
        [
            "1:1: `virtualNetworks` is not supported yet",
            "5:15: `api` is not supported yet"
        ]
    );
}

#[test]
fn extension_keys_are_ignored_everywhere() {
    let text = "
x-common: &host { kind: host, x-note: 1 }
topology:
  x-why: because
  nodes: { a: *host, b: { <<: *host, mtu: 1400 }, s1: { kind: switch } }
";
    let model = model(text.as_bytes(), "lab.yaml", None).unwrap();
    assert_eq!(model.hosts["b"].interfaces[0].mtu, 1400);
}

#[test]
fn plain_scalars_are_texts_where_a_text_is_wanted() {
    let text = "
topology:
  nodes:
    s1: { kind: switch, labels: { rack: 07, hot: true } }
    a: { kind: host, run: [{ cmd: [sleep, 5] }], listen: [{ tcp: 1, reply: 200 }] }
    b:
      kind: host
      listen:
";
    let model = model(text.as_bytes(), "lab.yaml", None).unwrap();
    assert_eq!(model.hosts["a"].run[0].cmd, ["sleep", "5"]);
    assert_eq!(model.switches["s1"].labels["rack"], "07");
    assert_eq!(model.name, "lab");
}

#[test]
fn yaml_that_cannot_be_read_is_placed_too() {
    assert_eq!(
        mistakes("name: x\nname: y\n"),
        ["2:1: the key `name` is there twice"]
    );
    assert_eq!(mistakes("name: [\n"), ["1:7: unclosed bracket '['"]);
    assert_eq!(
        mistakes("name: x\n---\nname: y\n"),
        ["2:1: a second document begins here, a topology file has one"]
    );
    assert_eq!(mistakes(""), ["1:1: the file is empty"]);
    assert_eq!(
        mistakes("just text\n"),
        ["1:1: expected a map, found the text `just text`"]
    );
}

#[test]
fn hostile_files_end_soon_in_an_error() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 9].join(", "));
    }
    for text in [
        bomb,
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        (0..2_000)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect(),
        "a: &a [*a]".to_owned(),
        "y".repeat(MAX_FILE + 1),
        format!("{SWITCH}    h[1-999999999]: {{ kind: host }}\n"),
        format!("{SWITCH}    [1-9][1-9][1-9][1-9][1-9][1-9]: {{ kind: host }}\n"),
        "- x: y\n".repeat(10_000),
        "? ".repeat(1_000) + "x",
        format!("{}: 1\n", "x".repeat(3_000_000)),
        (0..100_000)
            .map(|number| format!("k{number}: 1\n"))
            .collect(),
        (0..100_000)
            .map(|number| format!("x-{number}: {{ x-a: 1 }}\n"))
            .chain(["name: [".to_owned()])
            .collect(),
    ] {
        said(&text);
    }
    let error = model(b"name: caf\xe9\n", "lab.yaml", None).unwrap_err();
    assert_eq!(
        error.to_string().lines().next(),
        Some("error: lab.yaml:1:10: the file is not UTF-8 text: byte 0xe9")
    );
}

#[test]
fn limits_are_told_in_plain_words() {
    let aliases = format!("a: &a [x, x]\nb: [{}]\n", vec!["*a"; 10_001].join(", "));
    let anchors: String = (0..1_001).map(|n| format!("k{n}: &k{n} 1\n")).collect();
    for (text, expected) in [
        (
            "[".repeat(50) + &"]".repeat(50),
            "1:25: nested deeper than 24 levels",
        ),
        ("[".repeat(100_000), "nested deeper than 24 levels"),
        (
            "- x\n".repeat(300_000),
            "200000:3: the file has more than the 200000 values that are read",
        ),
        (aliases, "aliases stand for more than is read"),
        (anchors, "more than the 1000 anchors that are read"),
        (
            "y".repeat(MAX_FILE + 9),
            "the file has more than the 4194304 bytes that are read",
        ),
    ] {
        let error = model(text.as_bytes(), "lab.yaml", None).unwrap_err();
        let said = error.to_string();
        let said = said.lines().next().unwrap_or_default();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn wrong_tests_are_told_in_plain_words() {
    for (test, expected) in [
        ("ping: a", "expected a map, found the text `a`"),
        (
            "ping: { from: a, to: b, count: ten }",
            "expected a whole number, 0 or more, found the text `ten`",
        ),
        (
            "ping: { from: a, to: b }, expect: { rtt: 5ms }",
            "expected a map of `min`, `max`, `p99`, found the text `5ms`",
        ),
        (
            "exec: { from: a, cmd: ls }",
            "expected a list, found the text `ls`",
        ),
        (
            "exec: { from: a, cmd: [x] }, expect: { exit: 300 }",
            "the number 300 is out of range, expected a whole number from 0 to 255",
        ),
        (
            "dns: { from: a, server: b, name: c.d }, expect: { a: c.d }",
            "expected an IPv4 address, for example `10.0.0.1`",
        ),
        (
            "udp: { from: a, to: 'b:http' }",
            "`http` is no port, for example `80`",
        ),
        (
            "http: { from: a, url: 'https://b/' }",
            "`https` is not supported yet, only `http` is",
        ),
        ("steps: []", "`steps` is not supported yet"),
        (
            "tcp: { from: a, to: 'b:1' }, expect: { jitter: 1ms }",
            "`jitter` is not supported yet",
        ),
    ] {
        let text = format!(
            "{SWITCH}    a: {{ kind: host }}\n    b: {{ kind: host }}\ntests: [ {{ name: t, {test} }} ]\n"
        );
        let found = mistakes(&text);
        let details: Vec<&str> = found
            .iter()
            .filter_map(|mistake| mistake.strip_prefix("6:")?.split_once(": "))
            .map(|(_, detail)| detail)
            .collect();
        assert_eq!(details, [expected], "{test}");
    }
}

#[test]
fn later_complaints_have_their_place_too() {
    let text = format!("{SWITCH}    a: {{ kind: host, run: [{{ cmd: [x] }}] }}\n");
    let error = FieldError::new("/topology/nodes/a/run/0/cmd", Code::WrongFormat, "no `x`");
    let said = placed(&text, "lab.yaml", error);
    assert_eq!(said.lines().next(), Some("lab.yaml:4:35: no `x`"));
    assert_eq!(
        said.lines().last().map(str::trim),
        Some("|                                   ^")
    );
}

#[test]
fn json_bodies_give_pointers() {
    let body = serde_json::json!({ "endpoints": ["a:eth0", { "node": "b", "prot": 1 }], "metric": "2", "impair": { "delay": 5 } });
    let errors = from_json::<crate::spec::LinkSpec>(body).unwrap_err();
    let found: Vec<_> = errors
        .iter()
        .map(|error| (error.pointer.as_str(), error.code))
        .collect();
    assert_eq!(
        found,
        [
            ("/endpoints/1/prot", Code::UnknownField),
            ("/impair/delay", Code::MissingUnit),
            ("/metric", Code::WrongType)
        ]
    );
    assert!(from_json::<crate::spec::LinkSpec>(serde_json::json!({ "x-note": 1 })).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = model(text.as_bytes(), "lab.yaml", None);
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
        let _ = model(&bytes, "lab.yaml", None);
    }
}

#[test]
fn parts_of_a_model_know_their_lines() {
    let text = "\
name: lab
topology:
  nodes:
    s[1-2]: { kind: switch }
    h:
      kind: host
      attach: s2
    g: { kind: host }
  links:
    - endpoints: [\"s1:p1\", \"s2:p1\"]
    - { name: gs, endpoints: [g, s1] }
";
    let found = model(text.as_bytes(), "dir/lab.yaml", None).unwrap();
    assert_eq!(found.origins.file, "dir/lab.yaml");
    let line = |origin: &crate::origin::Origin| origin.line;
    let nodes: Vec<_> = found
        .origins
        .nodes
        .iter()
        .map(|(name, origin)| (name.as_str(), line(origin)))
        .collect();
    assert_eq!(
        nodes,
        [
            ("g", Some(8)),
            ("h", Some(5)),
            ("s1", Some(4)),
            ("s2", Some(4))
        ]
    );
    let links: Vec<_> = found
        .origins
        .links
        .iter()
        .map(|(name, origin)| (name.as_str(), line(origin)))
        .collect();
    assert_eq!(
        links,
        [
            ("gs", Some(11)),
            ("h:eth0--s2:p2", Some(5)),
            ("s1:p1--s2:p1", Some(10))
        ]
    );
    // Comments move lines and change nothing else.
    let moved = model(format!("# A comment.\n{text}").as_bytes(), "lab.yaml", None).unwrap();
    assert_eq!(moved.origins.nodes["g"].line, Some(9));
    assert_eq!(moved, found);
}

/// One range or mesh cannot ask for more work than a file of that size may; what is refused says which limit it is.
#[test]
fn what_a_file_stands_for_has_limits() {
    let nodes = "name: x\ntopology:\n  nodes:\n    s[1-9000]: { kind: switch }\n";
    let hosts = "    h[1-9000]: { kind: host }\n";
    let link = "    - endpoints: [\"s1:a[1-9000]\", \"s2:a[1-9000]\"]\n    - endpoints: [\"s1:b[1-9000]\", \"s2:b[1-9000]\"]\n    - endpoints: [\"s1:c[1-9000]\", \"s2:c[1-9000]\"]\n";
    let links = format!("{nodes}  links:\n");
    let body = "x".repeat(20_000);
    let tests: String = (0..1_100)
        .map(|number| format!("  - {{ name: t{number}, ping: {{ from: \"*\", to: \"*\" }} }}\n"))
        .collect();
    let small = "name: x\ntopology:\n  nodes:\n    s: { kind: switch }\n    h: { kind: host }\n";
    let extensions: String = (0..1_100)
        .map(|number| format!("    n{number}: {{ kind: switch, x-a: 1, x-b: 2 }}\n"))
        .collect();
    for (text, limit) in [
        (format!("{nodes}{hosts}"), "more than 10000 nodes"),
        (
            format!("{links}    - mesh: [\"s*\"]\n"),
            "more than 20000 links",
        ),
        (format!("{links}{link}"), "more than 20000 links"),
        (
            format!(
                "{links}{}",
                "    - mesh: [\"s*5000\", \"s*5001\"]\n".repeat(200)
            ),
            "globs stand for too much",
        ),
        (
            format!(
                "{small}    many[1-9000]: {{ kind: host, listen: [{{ tcp: 1, reply: {body} }}] }}\n"
            ),
            "too large for so many nodes",
        ),
        (format!("{small}tests:\n{tests}"), "at most 1000 tests"),
        (format!("{small}{extensions}"), "begin with `x-`"),
    ] {
        let found = mistakes(&text);
        assert!(
            found.iter().any(|mistake| mistake.contains(limit)),
            "{limit}: {found:?}"
        );
        assert!(found.len() <= 60, "{}", found.len());
    }
}
