//! A tunnel between two switches over a third that runs the built-in pipeline: VXLAN (RFC 7348), with all addresses
//! given by entries.

use std::time::Duration;

use serde_json::{Value, json};
use weft_tests::{Lab, can_build_labs, json as parsed, wait_for};

use super::{entry, pings, put_entry, restart_controller, set_pipeline, transfers};

const TOPOLOGY: &str = "
name: tunnel
topology:
  nodes:
    west: { kind: switch }
    transit: { kind: switch }
    east: { kind: switch }
    left: { kind: host, ip: 10.6.0.1/24, mtu: 1400 }
    right: { kind: host, ip: 10.6.0.2/24, mtu: 1400 }
  links:
    - endpoints: ['left:eth0', 'west:host']
    - endpoints: ['west:out', 'transit:west']
    - endpoints: ['transit:east', 'east:out']
    - endpoints: ['right:eth0', 'east:host']
";

const VXLAN_PORT: u16 = 4789;

fn number(value: u64, bits: u16) -> Value {
    json!({ "const": { "value": format!("{value:#x}"), "bits": bits } })
}

fn set(field: &str, value: Value) -> Value {
    json!({ "set": { "dst": field, "value": value } })
}

/// A tunnel's outer length: what was received and the headers in front of it.
fn length(headers: u64) -> Value {
    let length = json!({ "cast": { "bits": 16, "value": { "field": "std.wire_length" } } });
    json!({ "binary": ["add", length, number(headers, 16)] })
}

fn pipeline() -> Value {
    let fields = |list: &[(&str, u16)]| -> Vec<Value> {
        list.iter()
            .map(|(name, bits)| json!({ "name": name, "bits": bits }))
            .collect()
    };
    let ipv4 = [
        ("version", 4),
        ("ihl", 4),
        ("tos", 8),
        ("length", 16),
        ("id", 16),
        ("fragment", 16),
        ("ttl", 8),
        ("protocol", 8),
        ("checksum", 16),
        ("source", 32),
        ("destination", 32),
    ];
    let covered: Vec<String> = (ipv4.iter())
        .filter(|(name, _)| *name != "checksum")
        .map(|(name, _)| format!("ip.{name}"))
        .collect();
    let outer = ["underlay", "ip", "udp", "vxlan"];
    let param = |name: &str| json!({ "param": name });
    let encapsulate: Vec<Value> = (outer.iter().map(|header| json!({ "setValid": header })))
        .chain([
            set("underlay.destination", param("next_hop")),
            set("underlay.source", param("own_mac")),
            set("underlay.type", number(0x0800, 16)),
            set("ip.version", number(4, 4)),
            set("ip.ihl", number(5, 4)),
            set("ip.length", length(20 + 8 + 8)),
            set("ip.fragment", number(0x4000, 16)),
            set("ip.ttl", number(64, 8)),
            set("ip.protocol", number(17, 8)),
            set("ip.source", param("from")),
            set("ip.destination", param("to")),
            set("udp.source", json!({ "hash": { "bits": 16, "fields": ["customer.source", "customer.destination"] } })),
            set("udp.destination", number(VXLAN_PORT.into(), 16)),
            set("udp.length", length(8 + 8)),
            set("vxlan.flags", number(8, 8)),
            set("vxlan.vni", param("vni")),
            json!({ "output": param("port") }),
        ])
        .collect();
    let decapsulate: Vec<Value> = (outer.iter().map(|header| json!({ "setInvalid": header })))
        .chain([json!({ "output": param("port") })])
        .collect();
    let ahead =
        |bytes: u16, bits: u16| json!({ "lookahead": { "offset": bytes * 8, "bits": bits } });
    let is = |value: u64| json!({ "value": format!("{value:#x}"), "mask": "0xffff" });
    let parameter = |name: &str, bits: u16, format: &str| json!({ "name": name, "bits": bits, "format": format });
    json!({
        "name": "tunnel",
        "version": "1.0",
        "headers": [
            { "name": "ethernet_t", "fields": fields(&[("destination", 48), ("source", 48), ("type", 16)]) },
            { "name": "ipv4_t", "fields": fields(&ipv4) },
            { "name": "udp_t", "fields": fields(&[("source", 16), ("destination", 16), ("length", 16), ("checksum", 16)]) },
            { "name": "vxlan_t", "fields": fields(&[("flags", 8), ("reserved", 24), ("vni", 24), ("reserved2", 8)]) },
        ],
        "instances": [
            { "name": "underlay", "header": "ethernet_t" },
            { "name": "ip", "header": "ipv4_t" },
            { "name": "udp", "header": "udp_t" },
            { "name": "vxlan", "header": "vxlan_t" },
            { "name": "customer", "header": "ethernet_t" },
        ],
        "parser": { "start": "start", "states": [
            // EtherType, protocol, UDP port: behind them is a frame of the tunnel.
            { "name": "start", "select": [ahead(12, 16), ahead(23, 8), ahead(36, 16)],
              "cases": [{ "values": [is(0x0800), is(17), is(VXLAN_PORT.into())], "next": "outer" }],
              "default": "inner" },
            { "name": "outer", "extract": outer.map(|name| json!({ "instance": name })), "default": "inner" },
            { "name": "inner", "extract": [{ "instance": "customer" }], "default": "accept" },
        ] },
        "actions": [
            { "name": "encapsulate", "ops": encapsulate, "params": [
                parameter("vni", 24, "number"), parameter("from", 32, "ipv4"), parameter("to", 32, "ipv4"),
                parameter("own_mac", 48, "mac"), parameter("next_hop", 48, "mac"), parameter("port", 32, "port") ] },
            { "name": "decapsulate", "ops": decapsulate, "params": [parameter("port", 32, "port")] },
            { "name": "refuse", "ops": [{ "drop": "no-tunnel" }] },
        ],
        "tables": [
            { "name": "entrances", "keys": [
                { "name": "port", "value": { "field": "std.in_port" }, "kind": "exact", "format": "port" } ],
              "actions": [{ "name": "encapsulate" }, { "name": "refuse" }],
              "defaultAction": { "action": "refuse" }, "size": 64, "counters": true },
            { "name": "exits", "keys": [
                { "name": "vni", "value": { "field": "vxlan.vni" }, "kind": "exact" },
                { "name": "to", "value": { "field": "ip.destination" }, "kind": "exact", "format": "ipv4" } ],
              "actions": [{ "name": "decapsulate" }, { "name": "refuse" }],
              "defaultAction": { "action": "refuse" }, "size": 64, "counters": true },
        ],
        "ingress": { "start": "which", "nodes": [
            { "name": "which", "kind": { "if": { "cond": { "valid": "vxlan" }, "then": "exits", "otherwise": "entrances" } } },
            { "name": "exits", "kind": { "table": { "table": "exits" } } },
            { "name": "entrances", "kind": { "table": { "table": "entrances" } } },
        ] },
        "deparser": [outer[0], outer[1], outer[2], outer[3], "customer"],
        "checksums": [{ "field": "ip.checksum", "covers": covered }],
        "linkInstances": ["underlay", "customer"],
    })
}

/// One end of the tunnel: what comes from its host goes to the other end, and the reverse.
fn join(lab: &Lab, switch: &str, from: &str, to: &str, vni: u32) {
    let way = json!({
        "vni": vni, "from": from, "to": to,
        "own_mac": "02:00:00:00:00:0a", "next_hop": "02:00:00:00:00:0b", "port": "out",
    });
    put_entry(
        lab,
        switch,
        "entrances",
        "host",
        &entry(json!({ "port": "host" }), "encapsulate", way),
    );
    let arrival = json!({ "vni": vni, "to": from });
    put_entry(
        lab,
        switch,
        "exits",
        "host",
        &entry(arrival, "decapsulate", json!({ "port": "host" })),
    );
}

#[test]
fn a_tunnel_is_pushed_to_running_switches_and_carries_hosts() {
    if !can_build_labs("a_tunnel") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tunnel.yaml");
    std::fs::write(&file, TOPOLOGY).expect("the file can be written");
    let lab = Lab::up(&file, "tunnel");
    for switch in ["west", "east"] {
        let set = parsed(&set_pipeline(&lab, dir.path(), switch, &pipeline()));
        assert_eq!(set["status"]["phase"], "realized", "{set:#}");
    }
    assert!(!pings(&lab, "left", "10.6.0.2"), "nothing has an entry");
    let drops = &lab.get("/v1/switches/west/ports/host")["counters"]["drops"];
    assert!(drops["no-tunnel"].as_u64() > Some(0), "{drops}");

    join(&lab, "west", "192.0.2.1", "192.0.2.2", 77);
    join(&lab, "east", "192.0.2.2", "192.0.2.1", 77);
    assert!(
        !pings(&lab, "left", "10.6.0.2"),
        "the switch between knows nothing of the tunnel"
    );
    // It runs the built-in pipeline, whose flows see the outer headers.
    for (name, from, to, address) in [
        ("there", "west", "east", "192.0.2.2"),
        ("back", "east", "west", "192.0.2.1"),
    ] {
        let flow = json!({
            "match": { "in_port": from, "ipv4_dst": address, "udp_dst": VXLAN_PORT }, "actions": [{ "output": to }],
        });
        let path = format!("/v1/switches/transit/flows/{name}");
        let body = flow.to_string();
        let args = ["-X", "PUT", "-H", "Prefer: wait=5", &path, "-d", &body];
        let stored = parsed(&lab.weft("api", args));
        assert_eq!(stored["status"]["phase"], "realized", "{stored:#}");
    }
    // The host asks for its neighbour again when it has given up.
    wait_for("the tunnel carries", Duration::from_secs(10), || {
        pings(&lab, "left", "10.6.0.2")
    });
    assert!(
        lab.exec("left", ["ping", "-c1", "-W1", "-Mdo", "-s1372", "10.6.0.2"])
            .status
            .success()
    );
    // Super-packets of TCP cross the tunnel.
    assert!(transfers(&lab, "left", "right", "10.6.0.2", 8 << 20));
    let carried = lab.get("/v1/switches/transit/flows/there");
    assert!(
        carried["status"]["bytes"].as_u64() > Some(8 << 20),
        "{carried:#}"
    );

    // Another network's frames do not come out here.
    let exit = entry(
        json!({ "vni": 78, "to": "192.0.2.2" }),
        "decapsulate",
        json!({ "port": "host" }),
    );
    put_entry(&lab, "east", "exits", "host", &exit);
    assert!(!pings(&lab, "left", "10.6.0.2"));
    join(&lab, "east", "192.0.2.2", "192.0.2.1", 77);
    assert!(pings(&lab, "left", "10.6.0.2"));
    restart_controller(&lab);
    assert!(pings(&lab, "left", "10.6.0.2"));
}
