//! Traces: what is foretold, who is blamed, and what is refused.

use etherparse::PacketBuilder;
use serde_json::{Value, json};
use weft_controller::spec::trace::TraceRequest;
use weft_switch::port::MemoryPort;

use super::lab::{CHAIN, Lab};

/// The line of the file on which something stands, from 1.
fn line_of(file: &str, text: &str) -> usize {
    let line = file.lines().position(|line| line.contains(text));
    line.unwrap() + 1
}

async fn trace(lab: &Lab, question: Value) -> Value {
    let request = super::lab::request("POST", "/v1/traces", &[], Some(question));
    lab.send(request).await.is(200)
}

async fn put(lab: &Lab, switch: &str, name: &str, matched: Value, actions: Value) {
    let path = format!("/v1/switches/{switch}/flows/{name}");
    let flow = json!({ "priority": 10, "match": matched, "actions": actions });
    let stored = lab
        .put_with(&path, &[("prefer", "wait=10")], flow)
        .await
        .is(201);
    assert_eq!(stored["status"]["phase"], "realized", "{stored:#}");
}

fn switches(answer: &Value) -> Vec<String> {
    let hops = answer["hops"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    hops.map(|hop| {
        let [from, switch, to] = ["inPort", "switch", "outPort"].map(|key| text(&hop[key]));
        format!("{from} {switch} {to}")
    })
    .collect()
}

#[tokio::test]
async fn a_packet_is_followed_from_flow_to_flow() {
    let lab = Lab::up().await;
    let ports = [lab.attach("s1"), lab.attach("s2"), lab.attach("s3")];
    let question = || json!({ "from": "left", "to": "right", "packet": { "tcp_dst": 443 } });

    let nowhere = trace(&lab, question()).await;
    assert_eq!(nowhere["verdict"], "dropped", "{nowhere:#}");
    assert_eq!(nowhere["at"]["switch"], "s1");
    assert_eq!(switches(&nowhere), ["host s1 -"]);
    assert_eq!(nowhere["cause"]["kind"], "noMatch", "{nowhere:#}");

    put(
        &lab,
        "s1",
        "east",
        json!({ "in_port": "host" }),
        json!([{ "output": "east" }]),
    )
    .await;
    put(
        &lab,
        "s2",
        "east",
        json!({ "in_port": "west", "ipv4_dst": "10.9.0.2" }),
        json!([{ "set": { "ip_dscp": 18 } }, { "output": "east" }]),
    )
    .await;
    put(
        &lab,
        "s3",
        "host",
        json!({ "in_port": "west" }),
        json!([{ "output": "host" }]),
    )
    .await;
    let there = trace(&lab, question()).await;
    assert_eq!(there["verdict"], "delivered", "{there:#}");
    assert_eq!(there["at"]["host"], "right");
    let way = ["host s1 east", "west s2 east", "west s3 host"];
    assert_eq!(switches(&there), way);
    let tables = there["hops"][1]["tables"].as_array().unwrap();
    let flows = tables
        .iter()
        .find(|table| table["table"] == "flows")
        .unwrap();
    let cause = json!({ "kind": "flow", "name": "east", "owner": "admin" });
    assert_eq!(flows["entry"]["cause"], cause);
    assert_eq!(flows["entry"]["match"]["ipv4_dst"], "10.9.0.2");
    assert_eq!(
        flows["rewrite"]["ipv4.dscp"],
        json!({ "from": 0, "to": 18 })
    );

    put(
        &lab,
        "s3",
        "no-web",
        json!({ "tcp_dst": [80, 443], "eth_dst": "02:00:00:00:00:00/03:00:00:00:00:00" }),
        json!(["drop"]),
    )
    .await;
    let stopped = trace(&lab, question()).await;
    // Equal priorities: the trace says what the switch decides, whichever it is.
    assert_eq!(stopped["hops"].as_array().unwrap().len(), 3);
    let udp = trace(
        &lab,
        json!({ "from": { "host": "left" }, "to": "10.9.0.2", "packet": { "udp_dst": 53 } }),
    )
    .await;
    assert_eq!(udp["verdict"], "delivered", "{udp:#}");

    // Nothing was sent and nothing counted.
    for port in &ports {
        assert!(port.receive(std::time::Duration::ZERO).is_none());
    }
    for (switch, flow) in [("s1", "east"), ("s2", "east"), ("s3", "host")] {
        let flow = lab
            .get(&format!("/v1/switches/{switch}/flows/{flow}"))
            .await
            .is(200);
        assert_eq!(flow["status"]["packets"], 0, "{flow:#}");
    }

    // A link that is down stops it, and is named.
    lab.patch("/v1/links/last", json!({ "state": "down" }))
        .await
        .is(200);
    let cut = trace(&lab, question()).await;
    assert_eq!(
        (&cut["verdict"], &cut["reason"]),
        (&json!("dropped"), &json!("port-down")),
        "{cut:#}"
    );
    let line = line_of(CHAIN, "name: last");
    let link = json!({ "kind": "link", "name": "last", "file": "chain.yaml", "line": line });
    assert_eq!(cut["cause"], link);
    assert_eq!(cut["at"], json!({ "switch": "s2", "port": "east" }));
}

/// A UDP packet from `left` to `right`.
fn question_frame() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64)
        .udp(40000, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"question").unwrap();
    frame
}

/// Asks for a live trace while frames are sent.
async fn live(lab: &Lab, port: &MemoryPort, question: Value) -> Value {
    let asked = trace(lab, question);
    let sending = async {
        let mut turn = tokio::time::interval(std::time::Duration::from_millis(10));
        loop {
            turn.tick().await;
            port.send(&question_frame());
        }
    };
    tokio::select! {
        answer = asked => answer,
        () = sending => unreachable!("sending has no end"),
    }
}

#[tokio::test]
async fn a_real_packet_is_followed() {
    let lab = Lab::up().await;
    let ports = [lab.attach("s1"), lab.attach("s2"), lab.attach("s3")];
    for (switch, from, to) in [
        ("s1", "host", "east"),
        ("s2", "west", "east"),
        ("s3", "west", "host"),
    ] {
        let (matched, actions) = (json!({ "in_port": from }), json!([{ "output": to }]));
        put(&lab, switch, "east", matched, actions).await;
    }
    let question = |port: u16, within: &str| {
        json!({
            "mode": "live", "within": within, "from": "left", "to": "right",
            "packet": { "udp_dst": port },
        })
    };
    let there = live(&lab, &ports[0], question(53, "10s")).await;
    assert_eq!(there["verdict"], "delivered", "{there:#}");
    assert_eq!(there["at"]["host"], "right");
    assert_eq!(there["diverged"], Value::Null, "{there:#}");
    let way = ["host s1 east", "west s2 east", "west s3 host"];
    assert_eq!(switches(&there), way);
    // The way is the one that is foretold, so the tables are known.
    let tables = there["hops"][1]["tables"].as_array().unwrap();
    let hit = tables.iter().find(|table| table["table"] == "flows");
    let cause = &hit.unwrap()["entry"]["cause"];
    assert_eq!(cause["name"], "east", "{there:#}");

    // Others' packets are not these.
    let nobody = live(&lab, &ports[0], question(54, "200ms")).await;
    assert_eq!(nobody["verdict"], "notSeen", "{nobody:#}");
    assert_eq!(nobody["at"], json!({ "host": "left" }));

    let (matched, actions) = (json!({ "udp_dst": 53, "in_port": "west" }), json!(["drop"]));
    let path = "/v1/switches/s3/flows/no-dns";
    let flow = json!({ "priority": 20, "match": matched, "actions": actions });
    lab.put_with(path, &[("prefer", "wait=10")], flow)
        .await
        .is(201);
    let stopped = live(&lab, &ports[0], question(53, "10s")).await;
    assert_eq!(stopped["verdict"], "dropped", "{stopped:#}");
    assert_eq!(stopped["cause"]["name"], "no-dns", "{stopped:#}");

    // A packet of which only the ends are said.
    let any = json!({ "mode": "live", "from": "left", "to": "right" });
    let any = live(&lab, &ports[0], any).await;
    assert_eq!(any["cause"]["name"], "no-dns", "{any:#}");
}

#[tokio::test]
async fn a_host_that_cannot_send_is_told_why() {
    let lab = Lab::without_switches().await;
    let away = trace(&lab, json!({ "from": "left", "to": "192.0.2.1" })).await;
    assert_eq!(away["reason"], "no-route", "{away:#}");
    assert_eq!(away["at"], json!({ "host": "left" }));
    let line = line_of(CHAIN, "left: {");
    let left = json!({ "kind": "node", "name": "left", "file": "chain.yaml", "line": line });
    assert_eq!(away["cause"], left);
    let nobody = trace(&lab, json!({ "from": "left", "to": "10.9.0.99" })).await;
    assert_eq!(nobody["reason"], "no-neighbor");
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let lab = Lab::without_switches().await;
    for (question, pointer, meant) in [
        (
            json!({ "from": "lefft", "to": "right" }),
            "/from",
            Some("left"),
        ),
        (
            json!({ "from": "left", "to": "rihgt" }),
            "/to",
            Some("right"),
        ),
        (json!({ "from": "left", "to": "s1" }), "/to", None),
        (json!({ "from": "left" }), "/to", None),
        (json!({ "to": "left" }), "/from", None),
        (
            json!({ "from": "left", "to": "right", "mode": "lively" }),
            "/mode",
            Some("live"),
        ),
        (
            json!({ "from": "left", "to": "right", "within": "1s" }),
            "/within",
            None,
        ),
        (
            json!({ "from": "left", "to": "right", "mode": "live", "within": "31s" }),
            "/within",
            None,
        ),
        (
            json!({ "from": "left", "to": "right", "mode": "live", "within": "5" }),
            "/within",
            None,
        ),
        (
            json!({ "from": "left", "to": "right", "packets": {} }),
            "/packets",
            Some("packet"),
        ),
        (json!({ "from": "left", "to": "fd00::1" }), "/from", None),
        (
            json!({ "from": "left", "to": "right", "packet": { "tcp_dst": 1, "udp_dst": 1 } }),
            "/packet/udp_dst",
            None,
        ),
        (
            json!({ "from": "left", "to": "right", "packet": { "ip_proto": "tpc" } }),
            "/packet/ip_proto",
            Some("tcp"),
        ),
        (
            json!({ "from": "left", "to": "right", "packet": { "tcp_dts": 1 } }),
            "/packet/tcp_dts",
            Some("tcp_dst"),
        ),
        (
            json!({ "from": "left", "to": "right", "packet": { "tcp_dst": 65536 } }),
            "/packet/tcp_dst",
            None,
        ),
        (
            json!({ "from": "left", "to": "right", "packet": { "eth_dst": "nobody" } }),
            "/packet/eth_dst",
            None,
        ),
    ] {
        let request = super::lab::request("POST", "/v1/traces", &[], Some(question.clone()));
        let problem = lab.send(request).await.problem(422);
        let errors = problem["errors"].as_array().unwrap();
        let error = errors.iter().find(|error| error["pointer"] == pointer);
        let error = error.unwrap_or_else(|| panic!("{question}: {problem:#}"));
        if let Some(meant) = meant {
            assert_eq!(error["didYouMean"], meant, "{question}: {problem:#}");
        }
    }
}

#[test]
fn the_described_question_has_the_members_of_the_real_one() {
    use utoipa::PartialSchema;
    let described = serde_json::to_value(crate::routes::traces::TraceQuestion::schema()).unwrap();
    let full = json!({
        "mode": "live", "within": "1s", "from": "a", "to": "b",
        "packet": {
            "eth_src": "a", "eth_dst": "b", "ipv4_src": "10.0.0.1", "ipv4_dst": "10.0.0.2",
            "ipv6_src": "::1", "ipv6_dst": "::2", "ip_proto": 6, "ip_ttl": 1, "ip_dscp": 1,
            "tcp_src": 1, "tcp_dst": 1, "udp_src": 1, "udp_dst": 1, "length": 1,
        },
    });
    let real: TraceRequest = serde_json::from_value(full).unwrap();
    let real = serde_json::to_value(real).unwrap();
    let keys = |value: &Value| {
        let members = value.as_object().unwrap().keys().cloned();
        members.collect::<std::collections::BTreeSet<_>>()
    };
    let described = &described["properties"];
    assert_eq!(keys(described), keys(&real));
    assert_eq!(
        keys(&described["packet"]["properties"]),
        keys(&real["packet"])
    );
}
