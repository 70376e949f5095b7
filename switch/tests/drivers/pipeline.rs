//! A pipeline that is just large enough: one exact table on the port of entry, one ternary table on the type.

use weft_proto::p4::v1 as wire;
use weft_proto::schema::Schema;
use weft_switch::ir::Pipeline;
use weft_switch::program::Program;

/// `forward` decides by the port of entry; then `deny` may drop by EtherType. A packet-out names its port. Each port of
/// entry has a counter and a meter. The other tables have keys and actions of every kind, and no packet sees them.
const SOURCE: &str = r#"{
  "name": "wire",
  "version": "1",
  "headers": [
    { "name": "ethernet_t", "fields": [
      { "name": "dst", "bits": 48 }, { "name": "src", "bits": 48 }, { "name": "type", "bits": 16 } ] }
  ],
  "instances": [{ "name": "ethernet", "header": "ethernet_t" }],
  "metadata": [{ "name": "egress", "bits": 32 }, { "name": "color", "bits": 2 }],
  "parser": { "start": "start", "states": [
    { "name": "start", "extract": [{ "instance": "ethernet" }], "default": "accept" } ] },
  "actions": [
    { "name": "send", "params": [{ "name": "port", "bits": 32, "format": "port" }],
      "ops": [{ "output": { "param": "port" } }] },
    { "name": "replicate", "params": [{ "name": "group", "bits": 32 }],
      "ops": [{ "multicast": { "param": "group" } }] },
    { "name": "punt", "ops": ["toController", { "drop": "punted" }] },
    { "name": "refuse", "ops": [{ "drop": "refused" }] },
    { "name": "pass" }
  ],
  "tables": [
    { "name": "forward", "keys": [{ "name": "in_port", "value": { "field": "std.in_port" }, "kind": "exact" }],
      "actions": [{ "name": "send" }, { "name": "replicate" }, { "name": "punt" }, { "name": "refuse" }],
      "defaultAction": { "action": "refuse" }, "size": 8, "counters": true, "idleTimeout": true },
    { "name": "deny", "keys": [{ "name": "type", "value": { "field": "ethernet.type" }, "kind": "ternary" }],
      "actions": [{ "name": "refuse" }, { "name": "pass" }], "size": 8 },
    { "name": "routes", "keys": [{ "name": "dst", "value": { "field": "ethernet.dst" }, "kind": "lpm" }],
      "actions": [{ "name": "send" }], "size": 16 },
    { "name": "kinds", "keys": [
        { "name": "type", "value": { "field": "ethernet.type" }, "kind": "range" },
        { "name": "src", "value": { "field": "ethernet.src" }, "kind": "optional" } ],
      "actions": [{ "name": "refuse" }, { "name": "pass" }], "size": 16 },
    { "name": "scoped", "keys": [{ "name": "type", "value": { "field": "ethernet.type" }, "kind": "exact" }],
      "actions": [{ "name": "pass", "scope": "tableOnly" }, { "name": "refuse", "scope": "defaultOnly" }], "size": 4,
      "defaultAction": { "action": "refuse" }, "constDefault": true },
    { "name": "keyless", "keys": [], "actions": [{ "name": "pass" }, { "name": "send" }],
      "defaultAction": { "action": "pass" }, "size": 0 }
  ],
  "meters": [{ "name": "rates", "size": 8, "unit": "packets" }],
  "counters": [{ "name": "seen", "size": 8 }],
  "ingress": { "start": "origin", "nodes": [
    { "name": "origin", "kind": { "if": {
      "cond": { "binary": ["eq", { "field": "std.in_port" }, { "const": { "value": "0xfffffffd", "bits": 32 } }] },
      "then": "out", "otherwise": "police" } } },
    { "name": "out", "kind": { "run": { "ops": [{ "output": { "field": "meta.egress" } }], "next": null } } },
    { "name": "police", "kind": { "run": { "ops": [
      { "count": { "counter": "seen", "index": { "field": "std.in_port" } } },
      { "meter": { "meter": "rates", "index": { "field": "std.in_port" }, "dst": "meta.color" } },
      { "if": { "cond": { "binary": ["eq", { "field": "meta.color" }, { "const": { "value": "0x2", "bits": 2 } }] },
        "then": [{ "drop": "red" }, "exit"] } }
    ], "next": "forward" } } },
    { "name": "forward", "kind": { "table": { "table": "forward", "next": "deny" } } },
    { "name": "deny", "kind": { "table": { "table": "deny" } } }
  ] },
  "deparser": ["ethernet"],
  "linkInstances": ["ethernet"],
  "packetIn": [{ "name": "in_port", "field": "std.in_port", "format": "port" }],
  "packetOut": [{ "name": "egress", "field": "meta.egress", "format": "port" }]
}"#;

/// The pipeline as a controller pushes it.
pub(crate) fn config(cookie: u64) -> wire::ForwardingPipelineConfig {
    config_of(pipeline(), cookie)
}

/// The pipeline.
pub(crate) fn pipeline() -> Pipeline {
    serde_json::from_str(SOURCE).unwrap()
}

/// The pipeline with a table of which one entry is constant.
pub(crate) fn with_constants() -> Pipeline {
    let mut pipeline = pipeline();
    let table = serde_json::json!({
        "name": "fixed",
        "keys": [{ "name": "type", "value": { "field": "ethernet.type" }, "kind": "ternary" }],
        "actions": [{ "name": "refuse" }, { "name": "pass" }],
        "constEntries": [{
            "matches": { "type": { "value": "0x806", "mask": "0xffff" } },
            "priority": 7,
            "call": { "action": "pass" },
        }],
        "size": 4,
        "counters": true,
    });
    pipeline.tables.push(serde_json::from_value(table).unwrap());
    pipeline
}

/// The pipeline with a meter for each entry of `forward`; what is red is dropped.
pub(crate) fn with_direct_meters() -> Pipeline {
    use weft_switch::ir::{BinaryOp, DirectMeter, Expr, MeterUnit, Node, NodeKind, Op};

    let mut pipeline = pipeline();
    pipeline.tables[0].meter = Some(DirectMeter {
        unit: MeterUnit::Packets,
        dst: "meta.color".into(),
    });
    let red = Expr::Const { value: 2, bits: 2 };
    let color = Expr::Field("meta.color".into());
    let ops = vec![Op::If {
        cond: Expr::Binary(BinaryOp::Eq, Box::new(color), Box::new(red)),
        then: vec![Op::Drop("red".into()), Op::Exit],
        otherwise: Vec::new(),
    }];
    let forward = pipeline.ingress.nodes.iter_mut();
    for node in forward {
        if let NodeKind::Table { table, next, .. } = &mut node.kind
            && table == "forward"
        {
            let kind = NodeKind::Run {
                ops: ops.clone(),
                next: next.replace("judge".into()),
            };
            let name = "judge".into();
            pipeline.ingress.nodes.push(Node { name, kind });
            break;
        }
    }
    pipeline
}

/// Any pipeline as a controller pushes it.
pub(crate) fn config_of(pipeline: Pipeline, cookie: u64) -> wire::ForwardingPipelineConfig {
    let device_config = serde_json::to_vec(&pipeline).unwrap();
    let program = Program::new(pipeline).unwrap();
    wire::ForwardingPipelineConfig {
        p4info: Some(program.p4info().clone()),
        p4_device_config: device_config.into(),
        cookie: Some(wire::forwarding_pipeline_config::Cookie { cookie }),
    }
}

/// Its tables and actions.
pub(crate) fn schema() -> Schema {
    Schema::new(&config(0).p4info.unwrap()).unwrap()
}
