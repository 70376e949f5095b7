//! What is accepted as a program, what is not, and what P4Info says of it.

use proptest::prelude::*;
use serde_json::{Value, json};
use weft_proto::vocab::MatchKind;

use super::*;
use crate::ir::{BinaryOp, Expr, NodeKind, Op};
use crate::packet::Packet;
use crate::testing::*;

#[test]
fn the_fabric_pipeline_is_a_program() {
    if let Err(errors) = Program::new(crate::fabric::pipeline()) {
        panic!("{errors:#?}");
    }
}

#[test]
fn a_pipeline_survives_json() {
    let pipeline = router();
    let json = serde_json::to_string(&pipeline).unwrap();
    let read: ir::Pipeline = serde_json::from_str(&json).unwrap();
    // Without printing them: a pipeline is long.
    assert!(read == pipeline);
}

#[test]
fn p4info_has_ids_by_position_and_everything_that_clients_ask_for() {
    let mut pipeline = router();
    pipeline.tables[2].keys[1].format = ir::Format::Ipv4;
    let program = Program::new(pipeline).unwrap();
    let schema = program.schema();
    let routes = schema.table_by_name("routes").unwrap();
    assert_eq!(routes.id.0, 0x0200_0003);
    assert_eq!(routes.size, 4096);
    assert!(routes.counters && routes.idle_timeout);
    let fields: Vec<_> = routes
        .fields
        .iter()
        .map(|f| (f.id.0, f.kind, f.bits))
        .collect();
    assert_eq!(fields, [(1, MatchKind::Exact, 12), (2, MatchKind::Lpm, 32)]);
    assert_eq!(routes.fields[1].format.as_deref(), Some("ipv4"));
    let default = routes.initial_default.as_ref().unwrap();
    assert_eq!(schema.action(default.action).unwrap().name, "deny");
    let route = schema.action_by_name("route").unwrap();
    assert_eq!(route.id.0, 0x0100_0007);
    let params: Vec<_> = route
        .params
        .iter()
        .map(|p| (p.id.0, p.name.as_str(), p.bits))
        .collect();
    assert_eq!(params, [(1, "port", 32), (2, "mac", 48)]);
    let spread = schema.table_by_name("spread").unwrap();
    let profile = schema.profile(spread.profile.unwrap()).unwrap();
    assert_eq!((profile.id.0, profile.max_group_size), (0x1100_0001, 10));
    assert_eq!(
        program.p4info().direct_counters[0]
            .preamble
            .as_ref()
            .unwrap()
            .id,
        0x1300_0001
    );
    let packet_in: Vec<_> = schema
        .packet_in()
        .iter()
        .map(|m| (m.id, m.name.as_str(), m.bits))
        .collect();
    assert_eq!(packet_in, [(1, "port", 32), (2, "reason", 8)]);
    assert_eq!(schema.packet_out().len(), 1);
}

#[test]
fn drop_reasons_are_the_fixed_ones_and_then_the_pipeline_s() {
    let program = Program::new(router()).unwrap();
    let (fixed, own) = program.drop_reasons().split_at(DropReason::FIXED.len());
    assert!(fixed.iter().eq(DropReason::FIXED));
    assert_eq!(own, ["denied"]);
    assert_eq!(program.drop_name(DropReason::MTU), "mtu");
}

/// Each mistake with the object that has it and a part of what is said.
#[test]
fn mistakes_are_named_with_their_object() {
    let value = |name: &str| Box::new(field(name));
    check("header type vlan", "whole bytes", |p| {
        p.headers[1].fields.pop();
        p.headers[1].fields[0].bits = 1;
    });
    check("header type udp", "1 to 128 bits", |p| {
        p.headers[6].fields[0].bits = 129
    });
    check("instance eth", "no header type ether", |p| {
        p.instances[2].header = "ether".into()
    });
    check("instance udp", "declared twice", |p| {
        p.instances[6].name = "udp".into()
    });
    check("instance meta", "reserved", |p| {
        p.instances[0].name = "meta".into()
    });
    check("metadata vrf", "1 to 128 bits", |p| p.metadata[0].bits = 0);
    check("parser", "no start state", |p| {
        p.parser.start = "begin".into()
    });
    check("parser state eth", "no next state arp", |p| {
        p.parser.states[4].cases[0].next = "arp".into()
    });
    check("parser state eth", "2 values for 1", |p| {
        let case = &mut p.parser.states[4].cases[0];
        case.values.push(case.values[0]);
    });
    check("parser state eth", "does not fit", |p| {
        p.parser.states[4].cases[0].values[0].value = 0x1_0000
    });
    check("parser state tcp", "no variable part", |p| {
        p.parser.states[9].extract[0].var_length = Some(number(1, 8));
    });
    check("action route", "no parameter mac", |p| {
        p.actions[6].params[1].name = "gateway2".into()
    });
    check("action pass", "has 48 bits", |p| {
        p.actions[5].ops.push(set("eth.dst", number(1, 8)))
    });
    check("action pass", "read only", |p| {
        p.actions[5].ops.push(set("std.in_port", number(1, 32)))
    });
    check("action pass", "no field target", |p| {
        p.actions[5]
            .ops
            .push(set("meta.vrf", cast(12, field("ipv4.target"))));
    });
    check("action pass", "parser only", |p| {
        p.actions[5]
            .ops
            .push(set("meta.vrf", field("vlan.last.vid")))
    });
    check("action pass", "cannot be shifted", |p| {
        p.actions[5].ops.push(Op::Pop {
            stack: "vlan".into(),
            count: 3,
        });
    });
    check("action pass", "is a stack", |p| {
        p.actions[5].ops.push(Op::SetValid("vlan".into()))
    });
    check("action pass", "only", |p| {
        p.actions[5].ops.push(Op::SetValid("vlan[2]".into()))
    });
    check("action pass", "have 32 and 16 bits", |p| {
        let sum = Expr::Binary(BinaryOp::Add, value("ipv4.src"), value("tcp.src"));
        p.actions[5].ops.push(set("ipv4.src", sum));
    });
    check("action pass", "does not fit 8 bits", |p| {
        p.actions[5].ops.push(set("ipv4.ttl", number(256, 8)))
    });
    check("action pass", "condition has 8 bits", |p| {
        p.actions[5].ops.push(Op::If {
            cond: field("ipv4.ttl"),
            then: vec![],
            otherwise: vec![],
        });
    });
    check("action pass", "needs a reason", |p| {
        p.actions[5].ops.push(Op::Drop(String::new()))
    });
    check("table acl", "no action block", |p| {
        p.tables[0].actions[0].name = "block".into()
    });
    check("table routes", "more than one longest-prefix", |p| {
        p.tables[2].keys[0].kind = ir::KeyKind::Lpm
    });
    check("table acl", "size 0", |p| p.tables[0].size = 0);
    check("table spread", "no selector", |p| {
        p.selectors[0].name = "other".into()
    });
    check("table routes, default action", "not allowed", |p| {
        p.tables[2].default_action.as_mut().unwrap().action = "flood".into();
    });
    check("table routes, default action", "mac is missing", |p| {
        p.tables[2].default_action = Some(ir::Call {
            action: "route".into(),
            args: [("port".to_owned(), 1)].into(),
        });
    });
    check("table bridge, constant entry 0", "no key source", |p| {
        let masked = p.tables[3].const_entries[0].matches["dst"];
        p.tables[3].const_entries[0]
            .matches
            .insert("source".into(), masked);
    });
    check(
        "table bridge, constant entry 0, key dst",
        "mask of all bits",
        |p| {
            let matches = &mut p.tables[3].const_entries[0].matches;
            matches.insert("dst".into(), ir::Masked { value: 0, mask: 1 });
        },
    );
    check("ingress node ports", "no node access", |p| {
        next(&mut p.ingress.nodes[2].kind, "access")
    });
    check("ingress node ports", "cycle", |p| {
        next(&mut p.ingress.nodes[4].kind, "ports")
    });
    check("ingress node acl", "no table access", |p| {
        if let NodeKind::Table { table, .. } = &mut p.ingress.nodes[3].kind {
            *table = "access".into();
        }
    });
    check("table acl", "two nodes", |p| {
        if let NodeKind::Table { table, .. } = &mut p.ingress.nodes[4].kind {
            *table = "acl".into();
        }
    });
    check("table out", "decides where", |p| {
        p.tables[5].actions[0].name = "flood".into()
    });
    check("deparser, eth", "twice", |p| p.deparser.push("eth".into()));
    check("checksum ipv4.ttl", "16 bits", |p| {
        p.checksums[0].field = "ipv4.ttl".into()
    });
    check("checksum ipv4.checksum", "outside stacks", |p| {
        p.checksums[0].covers.push("vlan[0].vid".into())
    });
    check("packet-out metadata egress", "cannot be used", |p| {
        p.packet_out[0].field = "std.in_port".into()
    });
    check("uncountedInstances", "no instance", |p| {
        p.uncounted_instances.push("inner".into())
    });
}

#[test]
fn all_mistakes_are_reported_together() {
    let mut pipeline = router();
    pipeline.parser.start = "begin".into();
    pipeline.tables[0].size = 0;
    pipeline.deparser.push("inner".into());
    let errors = Program::new(pipeline).unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:#?}");
}

/// Every place of a JSON document, as a path of members and indices.
fn places(value: &Value, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    out.push(path.clone());
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => (0..).map(|at: usize| at.to_string()).zip(items).collect(),
        Value::Object(members) => members.iter().map(|(name, v)| (name.clone(), v)).collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        path.push(name);
        places(child, path, out);
        path.pop();
    }
}

/// What may stand in a pipeline where something else should.
fn other(names: Vec<String>) -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        0_u64..9,
        Just(128),
        Just(255),
        Just(65_536),
        any::<u32>().prop_map(u64::from)
    ];
    prop_oneof![
        3 => proptest::sample::select(names).prop_map(Value::from),
        3 => number.clone().prop_map(Value::from),
        1 => number.prop_map(|number| format!("{number:#x}").into()),
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({ "field": "meta.vrf" })),
        1 => Just(json!({ "param": "port" })),
    ]
}

fn mutation() -> impl Strategy<Value = (Vec<String>, Value)> {
    let pipeline = serde_json::to_value(router()).unwrap();
    let mut paths = Vec::new();
    places(&pipeline, &mut Vec::new(), &mut paths);
    let names = paths
        .iter()
        .filter_map(|path| pipeline.pointer(&format!("/{}", path.join("/")))?.as_str())
        .map(str::to_owned)
        .collect();
    (proptest::sample::select(paths), other(names))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_damaged_pipeline_is_refused_or_runs(
        mutations in proptest::collection::vec(mutation(), 1..4),
        noise in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut pipeline = serde_json::to_value(router()).unwrap();
        for (path, value) in mutations {
            if let Some(place) = pipeline.pointer_mut(&format!("/{}", path.join("/"))) {
                *place = value;
            }
        }
        let Ok(pipeline) = serde_json::from_value::<ir::Pipeline>(pipeline) else {
            return Ok(());
        };
        if Program::new(pipeline.clone()).is_err() {
            return Ok(());
        }
        let mut bench = Bench::with(pipeline);
        for frame in [tcp4(HOST_MAC, &noise), udp6(ROUTER_MAC, &noise), noise] {
            bench.send(1, Packet::from_bytes(&frame));
        }
    }
}

/// The router with one change is refused, and one of the errors is this.
fn check(object: &str, problem: &str, change: impl FnOnce(&mut ir::Pipeline)) {
    let mut pipeline = router();
    change(&mut pipeline);
    let errors = Program::new(pipeline).unwrap_err();
    let named = |error: &ProgramError| error.object == object && error.problem.contains(problem);
    assert!(errors.iter().any(named), "{object}: {problem}\n{errors:#?}");
}

fn next(kind: &mut NodeKind, name: &str) {
    match kind {
        NodeKind::Run { next, .. } | NodeKind::Table { next, .. } => *next = Some(name.into()),
        NodeKind::If { then, .. } => *then = Some(name.into()),
    }
}
