//! Groups and meters on real packets: shares by weight, ports that are watched, copies, rates.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json as body};
use weft_tests::{Lab, can_build_labs, json, text};

/// Two switches with two links between them and a host each; every hop is programmed by the test.
const FILE: &str = r#"
topology:
  nodes:
    s[1-2]: { kind: switch }
    left: { kind: host, ip: 10.9.0.1/24 }
    right: { kind: host, ip: 10.9.0.2/24 }
  links:
    - endpoints: ["left:eth0", "s1:host"]
    - endpoints: ["right:eth0", "s2:host"]
    - { name: upper, endpoints: ["s1:a", "s2:a"] }
    - { name: lower, endpoints: ["s1:b", "s2:b"] }
controller: { fabric: none }
"#;

fn put(lab: &Lab, path: &str, resource: &Value) -> Value {
    let path = format!("/v1/switches/{path}");
    let wait = "Prefer: wait=5";
    let said = resource.to_string();
    let stored = json(&lab.weft("api", ["-X", "PUT", "-H", wait, &path, "-d", &said]));
    assert_eq!(stored["status"]["phase"], "realized", "{stored:#}");
    stored
}

/// A lab in which everything from `left` takes what the group `g` of `s1` says, but for ARP.
fn lab(name: &str, group: &Value) -> Lab {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.yaml");
    std::fs::write(&file, FILE).unwrap();
    let lab = Lab::up(&file, name);
    put(&lab, "s1/groups/g", group);
    let flow =
        |from: &str, action: Value| body!({ "match": { "in_port": from }, "actions": [action] });
    put(
        &lab,
        "s1/flows/spread",
        &flow("host", body!({ "group": "g" })),
    );
    for (switch, port) in [("s1", "a"), ("s1", "b"), ("s2", "a"), ("s2", "b")] {
        let path = format!("{switch}/flows/in-{port}");
        put(&lab, &path, &flow(port, body!({ "output": "host" })));
    }
    put(
        &lab,
        "s2/flows/back",
        &flow("host", body!({ "output": "b" })),
    );
    let arp = body!({
        "priority": 20, "match": { "in_port": "host", "eth_type": 0x806 }, "actions": [{ "output": "b" }]
    });
    put(&lab, "s1/flows/arp", &arp);
    lab
}

/// Sends datagrams, each from a port of its own.
fn send(lab: &Lab, count: u32, size: u32) {
    let program = format!(
        "payload=$(head -c {size} /dev/zero | tr '\\0' x); \
         for i in $(seq {count}); do printf %s \"$payload\" > /dev/udp/10.9.0.2/9000; done"
    );
    let sent = lab.exec("left", ["bash", "-c", &program]);
    assert!(sent.status.success(), "{}", text(&sent));
}

/// UDP packets that the two links have carried, by flows that count them.
fn carried(lab: &Lab) -> [u64; 2] {
    ["a", "b"].map(|port| {
        let flow = lab.get(&format!("/v1/switches/s2/flows/udp-{port}"));
        flow["status"]["packets"].as_u64().unwrap()
    })
}

fn count_udp(lab: &Lab) {
    for port in ["a", "b"] {
        let flow = body!({
            "priority": 30, "match": { "in_port": port, "udp_dst": 9000 }, "actions": [{ "output": "host" }]
        });
        put(lab, &format!("s2/flows/udp-{port}"), &flow);
    }
}

/// How many of `count` datagrams take each link.
fn shares(lab: &Lab, count: u32) -> [u64; 2] {
    let before = carried(lab);
    send(lab, count, 20);
    let after = carried(lab);
    [after[0] - before[0], after[1] - before[1]]
}

fn set(lab: &Lab, link: &str, state: &str) {
    let set = lab.weft("link", ["set", link, state]);
    assert!(set.status.success(), "{}", text(&set));
}

#[test]
fn a_select_group_spreads_by_weight_and_leaves_a_dead_port() {
    if !can_build_labs("a_select_group") {
        return;
    }
    let group = body!({
        "kind": "select",
        "buckets": [{ "output": "a", "weight": 3, "watchPort": true }, { "output": "b", "watchPort": true }]
    });
    let lab = lab("group-select", &group);
    count_udp(&lab);
    let [upper, lower] = shares(&lab, 300);
    println!("{upper} and {lower} of 300 by weights 3 and 1");
    assert_eq!(upper + lower, 300);
    // Three quarters, give or take five standard deviations.
    assert!((187..=263).contains(&upper), "{upper} of 300");
    set(&lab, "upper", "down");
    assert_eq!(shares(&lab, 50), [0, 50]);
    set(&lab, "upper", "up");
    let [upper, lower] = shares(&lab, 100);
    assert!(upper > 0 && lower > 0, "{upper} and {lower} of 100");
}

#[test]
fn a_failover_group_prefers_its_first_bucket() {
    if !can_build_labs("a_failover_group") {
        return;
    }
    let group = body!({ "kind": "failover", "buckets": [{ "output": "a" }, { "output": "b" }] });
    let lab = lab("group-failover", &group);
    count_udp(&lab);
    assert_eq!(shares(&lab, 20), [20, 0]);
    set(&lab, "upper", "down");
    assert_eq!(shares(&lab, 20), [0, 20]);
    set(&lab, "upper", "up");
    assert_eq!(shares(&lab, 20), [20, 0]);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "what a meter lets pass depends on the time that the sender took"
)]
fn an_all_group_copies_and_a_meter_limits() {
    if !can_build_labs("an_all_group") {
        return;
    }
    let group = body!({ "kind": "all", "buckets": [{ "output": "a" }, { "output": "b" }] });
    let lab = lab("group-all", &group);
    count_udp(&lab);
    assert_eq!(shares(&lab, 20), [20, 20]);

    put(
        &lab,
        "s1/meters/gold",
        &body!({ "rate": "100kbit", "burst": "20kb", "exceed": "drop" }),
    );
    let metered = body!({
        "priority": 40, "match": { "in_port": "host", "udp_dst": 9000 },
        "actions": [{ "meter": "gold" }, { "output": "b" }]
    });
    put(&lab, "s1/flows/metered", &metered);
    let [_, before] = carried(&lab);
    // Frames of 1,042 bytes: 19 fit into the burst, and the rate adds twelve a second.
    let begin = std::time::Instant::now();
    send(&lab, 200, 1000);
    let seconds = begin.elapsed().as_secs() + 1;
    let passed = carried(&lab)[1] - before;
    let drops = lab.get("/v1/switches/s1/ports/host")["counters"]["drops"]["meter"].as_u64();
    println!("{passed} of 200 passed in less than {seconds} s");
    assert_eq!(drops, Some(200 - passed));
    assert!(passed >= 19, "{passed} of 200");
    assert!(
        passed <= 20 + 12 * seconds,
        "{passed} of 200 in {seconds} s"
    );
    // While flows name it, it stays.
    let refused = lab.weft("api", ["-X", "DELETE", "/v1/switches/s1/meters/gold"]);
    assert_eq!(refused.status.code(), Some(65), "{}", text(&refused));
    assert_eq!(lab.get("/v1/switches/s1/diff")["inSync"], true);
}
