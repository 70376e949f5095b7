//! Flows by REST decide what real packets do, at once and until they are deleted.

use serde_json::{Value, json as body};
use weft_tests::{Lab, can_build_labs, json, text, topology};

fn put(lab: &Lab, switch: &str, name: &str, flow: &Value) -> Value {
    let answer = lab.weft(
        "api",
        [
            "-X",
            "PUT",
            "-H",
            "Prefer: wait=5",
            &format!("/v1/switches/{switch}/flows/{name}"),
            "-d",
            &flow.to_string(),
        ],
    );
    json(&answer)
}

fn pings(lab: &Lab) -> bool {
    lab.exec("left", ["ping", "-c1", "-W1", "10.9.0.2"])
        .status
        .success()
}

#[test]
fn a_chain_without_fabric_forwards_by_flows_alone() {
    if !can_build_labs("a_chain_without_fabric") {
        return;
    }
    let lab = Lab::up(&topology("manual-flows"), "flows");
    assert!(!pings(&lab));
    for (switch, one, other) in [
        ("s1", "host", "east"),
        ("s2", "west", "east"),
        ("s3", "west", "host"),
    ] {
        for (name, from, to) in [("there", one, other), ("back", other, one)] {
            let flow = body!({ "priority": 10, "match": { "in_port": from }, "actions": [{ "output": to }] });
            let stored = put(&lab, switch, name, &flow);
            assert_eq!(stored["status"]["phase"], "realized", "{stored:#}");
        }
    }
    assert!(pings(&lab));
    let counted = lab.get("/v1/switches/s2/flows/there");
    assert!(
        counted["status"]["packets"]
            .as_u64()
            .is_some_and(|packets| packets >= 1),
        "{counted:#}"
    );

    // The larger priority wins; the address is rewritten on the way, so nobody answers any more.
    let drop = body!({ "priority": 20, "match": { "icmpv4_type": 8 }, "actions": ["drop"] });
    let stored = put(&lab, "s2", "no-echo", &drop);
    assert_eq!(
        stored["match"]["ip_proto"].to_string().trim_matches('"'),
        "1",
        "{stored:#}"
    );
    assert!(!pings(&lab));
    let deleted = lab.weft(
        "api",
        [
            "-X",
            "DELETE",
            "-H",
            "Prefer: wait=5",
            "/v1/switches/s2/flows/no-echo",
        ],
    );
    assert!(deleted.status.success(), "{}", text(&deleted));
    assert!(pings(&lab));
    let deleted = lab.weft(
        "api",
        [
            "-X",
            "DELETE",
            "-H",
            "Prefer: wait=5",
            "/v1/switches/s2/flows/back",
        ],
    );
    assert!(deleted.status.success(), "{}", text(&deleted));
    assert!(!pings(&lab));
}

#[test]
fn rewriting_flows_are_checked_by_the_kernel() {
    if !can_build_labs("rewriting_flows") {
        return;
    }
    let lab = Lab::up(&topology("two-hosts"), "rewrite");
    // alice calls an address that nobody has; the flow turns it into bob's and back. A wrong checksum would be dropped by the host.
    let there = body!({ "priority": 10, "match": { "in_port": "p1", "ipv4_dst": "10.0.0.77" },
                        "actions": [{ "set": { "ipv4_dst": "10.0.0.2" } }, { "output": "p2" }] });
    let back = body!({ "priority": 10, "match": { "in_port": "p2", "ipv4_src": "10.0.0.2", "ip_proto": 6 },
                       "actions": [{ "set": { "ipv4_src": "10.0.0.77" } }, { "output": "p1" }] });
    put(&lab, "s1", "there", &there);
    put(&lab, "s1", "back", &back);
    let mac = lab.exec("bob", ["cat", "/sys/class/net/eth0/address"]);
    let mac = String::from_utf8(mac.stdout).unwrap();
    let neighbour = lab.exec(
        "alice",
        [
            "ip",
            "neigh",
            "replace",
            "10.0.0.77",
            "lladdr",
            mac.trim(),
            "dev",
            "eth0",
        ],
    );
    assert!(neighbour.status.success(), "{}", text(&neighbour));
    let call = lab.exec(
        "alice",
        [
            "bash",
            "-c",
            "exec 3<>/dev/tcp/10.0.0.77/7000; timeout 3 head -c5 <&3",
        ],
    );
    assert_eq!(
        String::from_utf8_lossy(&call.stdout),
        "hello",
        "{}",
        text(&call)
    );
}

#[test]
fn a_wrong_flow_is_refused_with_pointer_and_suggestion_and_nothing_is_stored() {
    if !can_build_labs("a_wrong_flow") {
        return;
    }
    let lab = Lab::up(&topology("manual-flows"), "wrong");
    let wrong = [
        (
            body!({ "priority": 1, "match": { "ipv4_dts": "10.0.0.0/8" }, "actions": ["drop"] }),
            "/match/ipv4_dts",
            Some("ipv4_dst"),
        ),
        (
            body!({ "priority": 1, "match": { "tcp_dst": 70000 }, "actions": ["drop"] }),
            "/match/tcp_dst",
            None,
        ),
        (
            body!({ "priority": 1, "match": {}, "actions": [{ "output": "eats" }] }),
            "/actions/0/output",
            Some("east"),
        ),
        (
            body!({ "priority": 1, "match": {}, "actions": [{ "output": "east" }, { "set": { "eth_src": "02:00:00:00:00:01" } }] }),
            "/actions/1",
            None,
        ),
        (
            body!({ "priority": 1, "match": {}, "actions": ["drop"], "prioritty": 2 }),
            "/prioritty",
            Some("priority"),
        ),
    ];
    for (flow, pointer, suggestion) in wrong {
        let answer = lab.weft(
            "api",
            [
                "-X",
                "PUT",
                "/v1/switches/s1/flows/wrong",
                "-d",
                &flow.to_string(),
            ],
        );
        assert!(!answer.status.success());
        let problem: Value =
            serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{}", text(&answer)));
        assert_eq!(problem["status"], 422, "{problem:#}");
        let error = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .find(|error| error["pointer"] == pointer);
        let error = error.unwrap_or_else(|| panic!("no error at {pointer}: {problem:#}"));
        if let Some(suggestion) = suggestion {
            assert_eq!(error["didYouMean"], suggestion, "{problem:#}");
        }
    }
    assert_eq!(lab.get("/v1/flows")["items"].as_array().unwrap().len(), 0);
}
