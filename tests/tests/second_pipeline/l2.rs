//! A learning switch: what it does not know it shows the controller and floods; what learns is a program beside the
//! API.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use weft_tests::{Lab, can_build_labs, json as parsed, text, wait_for};

use super::{
    assert_done, entry, pings, put_entry, restart_controller, set_pipeline, shown, transfers,
};

const TOPOLOGY: &str = "
name: learning
topology:
  nodes:
    s[1-2]: { kind: switch }
    ann: { kind: host, ip: 10.5.0.1/24 }
    bea: { kind: host, ip: 10.5.0.2/24 }
    cas: { kind: host, ip: 10.5.0.3/24 }
  links:
    - endpoints: ['ann:eth0', 's1:ann']
    - endpoints: ['bea:eth0', 's1:bea']
    - endpoints: ['s1:trunk', 's2:trunk']
    - endpoints: ['cas:eth0', 's2:cas']
";

fn pipeline() -> Value {
    json!({
        "name": "learning-switch",
        "version": "1.0",
        "headers": [{ "name": "ethernet_t", "fields": [
            { "name": "destination", "bits": 48 }, { "name": "source", "bits": 48 }, { "name": "type", "bits": 16 } ] }],
        "instances": [{ "name": "ethernet", "header": "ethernet_t" }],
        "parser": { "start": "start", "states": [
            { "name": "start", "extract": [{ "instance": "ethernet" }], "default": "accept" } ] },
        "actions": [
            { "name": "learn", "doc": "Shows the controller a station, once", "ops": ["toController"] },
            { "name": "known" },
            { "name": "forward", "params": [{ "name": "port", "bits": 32, "format": "port" }],
              "ops": [{ "output": { "param": "port" } }] },
            { "name": "flood", "ops": ["flood"] },
        ],
        "tables": [
            { "name": "stations", "doc": "Stations that were learnt, and where",
              "keys": [
                  { "name": "mac", "value": { "field": "ethernet.source" }, "kind": "exact", "format": "mac" },
                  { "name": "port", "value": { "field": "std.in_port" }, "kind": "exact", "format": "port" } ],
              "actions": [{ "name": "known" }, { "name": "learn", "scope": "defaultOnly" }],
              "defaultAction": { "action": "learn" }, "constDefault": true, "size": 1024 },
            { "name": "ways", "doc": "Where frames go",
              "keys": [{ "name": "mac", "value": { "field": "ethernet.destination" }, "kind": "exact", "format": "mac" }],
              "actions": [{ "name": "forward" }, { "name": "flood" }],
              "defaultAction": { "action": "flood" }, "size": 1024, "counters": true },
        ],
        "ingress": { "start": "stations", "nodes": [
            { "name": "stations", "kind": { "table": { "table": "stations", "next": "ways" } } },
            { "name": "ways", "kind": { "table": { "table": "ways" } } } ] },
        "deparser": ["ethernet"],
        "linkInstances": ["ethernet"],
        "packetIn": [
            { "name": "port", "field": "std.in_port", "format": "port" },
            { "name": "station", "field": "ethernet.source", "format": "mac" } ],
    })
}

/// What learns: packets that switches show become entries.
#[derive(Default)]
struct Learner {
    since: u64,
    known: BTreeSet<(String, String)>,
}

impl Learner {
    /// Takes in what switches have shown since; returns how many stations there are.
    fn look(&mut self, lab: &Lab) -> usize {
        let shown = lab.get(&format!("/v1/packetIns?since={}", self.since));
        self.since = shown["next"].as_u64().expect("a number");
        for packet in shown["items"].as_array().expect("a list") {
            let word = |value: &Value| value.as_str().expect("a word").to_owned();
            let switch = word(&packet["switch"]);
            let (port, mac) = (&packet["metadata"]["port"], &packet["metadata"]["station"]);
            let station = word(mac);
            if !self.known.insert((switch.clone(), station.clone())) {
                continue;
            }
            let name = station.replace(':', "-");
            let known =
                json!({ "match": { "mac": mac, "port": port }, "action": { "name": "known" } });
            put_entry(lab, &switch, "stations", &name, &known);
            let way = entry(json!({ "mac": mac }), "forward", json!({ "port": port }));
            put_entry(lab, &switch, "ways", &name, &way);
        }
        self.known.len()
    }
}

/// Frames that left by a port.
fn sent_by(lab: &Lab, switch: &str, port: &str) -> u64 {
    let port = lab.get(&format!("/v1/switches/{switch}/ports/{port}"));
    port["counters"]["txFrames"].as_u64().expect("a number")
}

#[test]
fn a_learning_switch_is_pushed_to_running_switches_and_forwards() {
    if !can_build_labs("a_learning_switch") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("learning.yaml");
    std::fs::write(&file, TOPOLOGY).expect("the file can be written");
    let lab = Lab::up(&file, "learning");
    assert!(
        pings(&lab, "ann", "10.5.0.3"),
        "the fabric forwards at first"
    );

    // A mistake is told before anything is sent.
    let mut wrong = pipeline();
    wrong["tables"][1]["keys"][0]["value"]["field"] = json!("ethernet.destinatio");
    let refused = set_pipeline(&lab, dir.path(), "s1", &wrong);
    assert_eq!(refused.status.code(), Some(65), "{}", text(&refused));
    assert!(
        text(&refused).contains("no field destinatio"),
        "{}",
        text(&refused)
    );
    assert_eq!(shown(&lab, "s1")["name"], "fabric");

    for switch in ["s1", "s2"] {
        let set = parsed(&set_pipeline(&lab, dir.path(), switch, &pipeline()));
        assert_eq!(set["status"]["phase"], "realized", "{set:#}");
        assert_eq!(set["tables"][1]["name"], "ways");
    }
    // It floods before anybody has learnt anything.
    assert!(pings(&lab, "ann", "10.5.0.3"));

    let mut learner = Learner::default();
    wait_for(
        "both switches know ann and cas",
        Duration::from_secs(10),
        || {
            assert!(pings(&lab, "ann", "10.5.0.3"));
            learner.look(&lab) >= 4
        },
    );
    // Who is known is not flooded any more: bea sees nothing of it.
    let before = sent_by(&lab, "s1", "bea");
    for _ in 0..3 {
        assert!(pings(&lab, "ann", "10.5.0.3"));
    }
    assert!(transfers(&lab, "ann", "cas", "10.5.0.3", 4 << 20));
    assert_eq!(sent_by(&lab, "s1", "bea"), before);
    assert!(pings(&lab, "bea", "10.5.0.3"), "and bea is served as well");

    // Flows are not for this pipeline, and it says so.
    let flow = json!({ "match": {}, "actions": ["drop"] });
    let refused = lab.api("PUT", "/v1/switches/s1/flows/f", Some(&flow));
    assert!(
        text(&refused).contains("no table for flows"),
        "{}",
        text(&refused)
    );

    // A new controller finds all as it must be, and writes nothing.
    restart_controller(&lab);
    let pipeline_now = shown(&lab, "s1");
    assert_eq!(pipeline_now["name"], "learning-switch");
    assert_eq!(
        pipeline_now["status"]["phase"], "realized",
        "{pipeline_now:#}"
    );
    let diff = lab.get("/v1/switches/s1/diff");
    assert_eq!(
        (&diff["missing"], &diff["extra"]),
        (&json!([]), &json!([])),
        "{diff:#}"
    );
    assert!(pings(&lab, "ann", "10.5.0.3"));
    let before = sent_by(&lab, "s1", "bea");
    assert!(pings(&lab, "ann", "10.5.0.3"));
    assert_eq!(
        sent_by(&lab, "s1", "bea"),
        before,
        "what was learnt is still there"
    );

    for switch in ["s1", "s2"] {
        assert_done(&lab.weft("pipeline", ["clear", switch]));
    }
    assert_eq!(shown(&lab, "s1")["name"], "fabric");
    wait_for("the fabric forwards again", Duration::from_secs(10), || {
        pings(&lab, "ann", "10.5.0.3")
    });
}
