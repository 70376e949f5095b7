//! Flows on the built-in pipeline, read through its P4Info like anybody's.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;
use weft_proto::vocab::FieldMatch;
use weft_switch::program::Program;

use super::*;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let program =
        Program::new(weft_switch::fabric::pipeline()).expect("the built-in pipeline is valid");
    program.schema().clone()
});

fn ports() -> BTreeMap<String, PortNo> {
    let names = ["west", "east", "p9"];
    (1..)
        .zip(names)
        .map(|(number, name)| (name.to_owned(), PortNo(number)))
        .collect()
}

fn compiled(flow: Value) -> Result<CompiledFlow, Vec<FieldError>> {
    let spec: FlowSpec = serde_json::from_value(flow).expect("the form is right");
    compile(&SCHEMA, &ports(), "edge1", &spec, &NoReferences)
}

fn good(flow: Value) -> CompiledFlow {
    compiled(flow.clone()).unwrap_or_else(|errors| panic!("{flow}: {errors:#?}"))
}

/// The match of each entry, by field name.
fn matches(flow: &CompiledFlow) -> Vec<BTreeMap<&str, FieldMatch>> {
    let table = SCHEMA.table_by_name("flows").unwrap();
    (flow.entries.iter())
        .map(|entry| {
            (entry.key.matches.iter())
                .map(|(id, wanted)| (table.field(*id).unwrap().name.as_str(), *wanted))
                .collect()
        })
        .collect()
}

/// The action of the first entry, by names.
fn action(flow: &CompiledFlow) -> (&str, BTreeMap<&str, u128>) {
    let Some(TableAction::Call(call)) = &flow.entries[0].action else {
        panic!("an entry calls one action");
    };
    let action = SCHEMA.action(call.action).unwrap();
    let params = (call.params.iter())
        .map(|(id, value)| (action.param(*id).unwrap().name.as_str(), *value))
        .filter(|(_, value)| *value != 0);
    (action.name.as_str(), params.collect())
}

fn ternary(value: u128, bits: u32) -> FieldMatch {
    FieldMatch::Ternary {
        value,
        mask: (1 << bits) - 1,
    }
}

/// Asserts the one mistake of a flow.
fn refused(flow: Value, pointer: &str, code: Code) -> FieldError {
    let errors = compiled(flow.clone()).expect_err(&format!("{flow} is refused"));
    let [error] = errors.as_slice() else {
        panic!("{flow}: one mistake, not {errors:#?}");
    };
    assert_eq!(
        (error.pointer.as_str(), error.code),
        (pointer, code),
        "{flow}: {error:#?}"
    );
    error.clone()
}

#[test]
fn the_flow_of_the_contract_becomes_one_entry_with_its_prerequisites() {
    let flow = good(json!({
        "priority": 100,
        "match": { "in_port": "p9", "ipv4_dst": "10.20.0.0/16", "tcp_dst": 443 },
        "actions": [{ "set": { "ip_dscp": 18 } }, { "output": "west" }],
        "idleTimeout": "0s", "labels": { "app": "web" }
    }));
    assert_eq!(flow.entries.len(), 1);
    assert_eq!(flow.entries[0].key.priority, 101);
    assert_eq!(
        matches(&flow),
        [BTreeMap::from([
            ("in_port", FieldMatch::Optional(3)),
            ("eth_type", ternary(0x800, 16)),
            ("ip_proto", ternary(6, 8)),
            (
                "ipv4_dst",
                FieldMatch::Ternary {
                    value: 0x0a14_0000,
                    mask: 0xffff_0000
                }
            ),
            ("tcp_dst", ternary(443, 16)),
        ])]
    );
    let (name, params) = action(&flow);
    assert_eq!(name, "flow_edit");
    assert_eq!(
        (params["ip_dscp"], params["verdict"], params["port"]),
        (18, 1, 1)
    );
    assert_eq!(params["edits"].count_ones(), 1);
    assert_eq!(
        serde_json::to_value(&flow.normalised).unwrap(),
        json!({
            "priority": 100,
            "match": {
                "eth_type": "0x0800", "in_port": "p9", "ip_proto": 6,
                "ipv4_dst": "10.20.0.0/16", "tcp_dst": 443
            },
            "actions": [{ "set": { "ip_dscp": 18 } }, { "output": "west" }],
            "idleTimeout": "0s", "labels": { "app": "web" }
        })
    );
}

#[test]
fn a_protocol_that_both_versions_carry_becomes_an_entry_for_each() {
    let flow = good(json!({ "match": { "tcp_dst": 443 }, "actions": ["drop"] }));
    let types: Vec<_> = matches(&flow)
        .iter()
        .map(|entry| entry["eth_type"])
        .collect();
    assert_eq!(types, [ternary(0x800, 16), ternary(0x86dd, 16)]);
    assert_eq!(
        flow.normalised.r#match["eth_type"],
        json!(["0x0800", "0x86dd"])
    );
}

#[test]
fn lists_combine_and_equal_values_count_once() {
    let flow = good(json!({
        "match": { "in_port": ["west", "east", 1], "eth_type": "0x806" },
        "actions": ["flood"]
    }));
    assert_eq!(flow.entries.len(), 2);
    assert_eq!(flow.normalised.r#match["in_port"], json!(["west", "east"]));
    let many: Vec<_> = (0..300).collect();
    refused(
        json!({ "match": { "tcp_dst": many, "eth_type": 0x800 }, "actions": ["drop"] }),
        "/match",
        Code::OutOfRange,
    );
}

#[test]
fn an_empty_match_is_everything() {
    let flow = good(json!({ "match": {}, "actions": ["normal"] }));
    assert_eq!(matches(&flow), [BTreeMap::new()]);
    assert_eq!(flow.entries[0].key.priority, 1);
    let flow = good(json!({ "match": { "ipv4_src": "0.0.0.0/0" }, "actions": ["normal"] }));
    assert_eq!(
        matches(&flow),
        [BTreeMap::from([("eth_type", ternary(0x800, 16))])]
    );
}

#[test]
fn every_spelling_of_a_value_is_read_and_one_is_written() {
    for (field, given, written) in [
        ("tcp_dst", json!("0x1bb"), json!(443)),
        ("tcp_dst", json!("443"), json!(443)),
        ("tcp_dst", json!("0x1b0/0xfff0"), json!("432/0xfff0")),
        ("tcp_dst", json!("1024/6"), json!("1024/0xfc00")),
        ("eth_type", json!(2054), json!("0x0806")),
        ("tcp_flags", json!("0x2/0x2"), json!("0x002/0x2")),
        ("eth_dst", json!("2:0:0:0:0:a"), json!("02:00:00:00:00:0a")),
        (
            "eth_dst",
            json!("01-00-5E-00-00-00/24"),
            json!("01:00:5e:00:00:00/ff:ff:ff:00:00:00"),
        ),
        (
            "ipv4_dst",
            json!("10.1.2.3/255.255.0.0"),
            json!("10.1.0.0/16"),
        ),
        (
            "ipv4_dst",
            json!("10.0.0.1/255.0.0.255"),
            json!("10.0.0.1/255.0.0.255"),
        ),
        ("ipv4_dst", json!("10.1.2.3/32"), json!("10.1.2.3")),
        ("in_port", json!(2), json!("east")),
    ] {
        let flow = good(json!({ "match": { field: given }, "actions": ["drop"] }));
        assert_eq!(flow.normalised.r#match[field], written, "{field}");
        let again = compile(&SCHEMA, &ports(), "edge1", &flow.normalised, &NoReferences).unwrap();
        assert_eq!(again, flow, "{field}");
    }
}

#[test]
fn values_that_do_not_fit_are_refused() {
    let drop =
        |field: &str, value: Value| json!({ "match": { field: value }, "actions": ["drop"] });
    for (field, value, code) in [
        ("tcp_dst", json!(70000), Code::TooWide),
        ("tcp_dst", json!("65536"), Code::TooWide),
        ("tcp_dst", json!(-1), Code::OutOfRange),
        ("tcp_dst", json!(1.5), Code::OutOfRange),
        ("tcp_dst", json!("https"), Code::WrongFormat),
        ("tcp_dst", json!("+80"), Code::WrongFormat),
        ("tcp_dst", json!(""), Code::WrongFormat),
        ("tcp_dst", json!("80/17"), Code::OutOfRange),
        ("tcp_dst", json!(null), Code::WrongType),
        ("tcp_dst", json!(true), Code::WrongType),
        ("tcp_dst", json!({}), Code::WrongType),
        ("ip_dscp", json!(64), Code::TooWide),
        ("vlan_vid", json!(4096), Code::TooWide),
        ("eth_src", json!("02:00:00:00:00"), Code::WrongFormat),
        ("eth_src", json!("02:00:00:00:00:01:02"), Code::WrongFormat),
        ("eth_src", json!(5), Code::WrongFormat),
        ("ipv4_src", json!("10.0.0"), Code::WrongFormat),
        ("ipv4_src", json!("10.0.0.256"), Code::WrongFormat),
        ("ipv4_src", json!("10.0.0.0/33"), Code::OutOfRange),
        ("ipv4_src", json!("::1"), Code::WrongFormat),
        ("ipv4_src", json!([]), Code::WrongFormat),
        ("in_port", json!("p9/4"), Code::NoSuchPort),
        ("vni", json!("16/8"), Code::WrongFormat),
    ] {
        refused(drop(field, value), &format!("/match/{field}"), code);
    }
    let slip = refused(
        drop("tcp_dst", json!("443/0xfff0")),
        "/match/tcp_dst",
        Code::WrongFormat,
    );
    assert_eq!(slip.did_you_mean.as_deref(), Some("432/0xfff0"));
}

#[test]
fn unknown_fields_and_ports_come_with_a_suggestion() {
    let error = refused(
        json!({ "match": { "ip_dst": "10.0.0.1" }, "actions": ["drop"] }),
        "/match/ip_dst",
        Code::UnknownField,
    );
    assert_eq!(error.did_you_mean.as_deref(), Some("ipv4_dst"));
    assert!(error.allowed.iter().any(|name| name == "tcp_dst"));
    let error = refused(
        json!({ "match": {}, "actions": [{ "output": "eats" }] }),
        "/actions/0/output",
        Code::NoSuchPort,
    );
    assert_eq!(error.did_you_mean.as_deref(), Some("east"));
    assert_eq!(error.allowed, ["east", "p9", "west"]);
    refused(
        json!({ "match": { "in_port": 7 }, "actions": ["drop"] }),
        "/match/in_port",
        Code::NoSuchPort,
    );
}

#[test]
fn all_mistakes_are_reported_together() {
    let errors = compiled(json!({
        "match": { "colour": 1, "tcp_dst": 70000 },
        "actions": [{ "output": ["west", "nowhere"] }, { "set": { "tcp_dst": 1 } }]
    }))
    .unwrap_err();
    let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(
        pointers,
        [
            "/match/colour",
            "/match/tcp_dst",
            "/actions/0/output/1",
            "/actions/1"
        ]
    );
}

#[test]
fn fields_that_exclude_each_other_are_refused() {
    for (matched, pointer) in [
        (json!({ "tcp_dst": 1, "udp_dst": 1 }), "/match/tcp_dst"),
        (
            json!({ "eth_type": "0x0806", "ipv4_src": "10.0.0.1" }),
            "/match/ipv4_src",
        ),
        (json!({ "ip_proto": 17, "tcp_dst": 80 }), "/match/tcp_dst"),
        (json!({ "arp_op": 1, "ip_proto": 6 }), "/match/arp_op"),
    ] {
        let error = refused(
            json!({ "match": matched, "actions": ["drop"] }),
            pointer,
            Code::ImpossibleMatch,
        );
        assert!(error.detail.contains("needs"), "{error}");
    }
    good(json!({ "match": { "ip_proto": [6, 17], "tcp_dst": 80 }, "actions": ["drop"] }));
}

#[test]
fn one_output_is_an_output_and_several_are_a_group() {
    let one = good(json!({ "actions": [{ "output": "east" }] }));
    assert_eq!(action(&one), ("flow_output", BTreeMap::from([("port", 2)])));
    assert!(one.groups.is_empty());

    let two = good(json!({ "actions": [{ "output": ["p9", "west"] }] }));
    let group = &two.groups[0];
    assert!(GROUPS.contains(&group.id.0));
    assert_eq!(
        action(&two),
        (
            "flow_multicast",
            BTreeMap::from([("group", group.id.0.into())])
        )
    );
    let copies: Vec<_> = group
        .replicas
        .iter()
        .map(|replica| replica.port.0)
        .collect();
    assert_eq!(copies, [1, 3]);
    assert_eq!(
        two.normalised.actions,
        [json!({ "output": ["west", "p9"] })]
    );

    let apart = good(json!({ "actions": [{ "output": "west" }, { "output": "p9" }] }));
    assert_eq!(apart, two);
}

#[test]
fn action_lists_that_the_pipeline_cannot_do_are_refused() {
    for (actions, pointer) in [
        (json!([]), "/actions"),
        (json!([{ "set": { "ip_dscp": 1 } }]), "/actions"),
        (json!([{ "set": { "ip_dscp": 1 } }, "drop"]), "/actions"),
        (
            json!([{ "output": "west" }, { "set": { "ip_dscp": 1 } }]),
            "/actions/1",
        ),
        (
            json!([{ "output": "west" }, { "popVlan": true }]),
            "/actions/1",
        ),
        (json!([{ "output": "west" }, "drop"]), "/actions/1"),
        (json!(["drop", { "output": "west" }]), "/actions/1"),
        (json!(["normal", "normal"]), "/actions/1"),
        (
            json!([{ "pushVlan": 5 }, { "popVlan": true }, "normal"]),
            "/actions/1",
        ),
        (
            json!([{ "pushVlan": 5 }, { "pushVlan": 6 }, "normal"]),
            "/actions/1",
        ),
        (
            json!([{ "set": { "vlan_vid": 5 } }, { "pushVlan": 6 }, "normal"]),
            "/actions/1",
        ),
        (json!([{ "output": [] }]), "/actions/0/output"),
    ] {
        refused(
            json!({ "actions": actions }),
            pointer,
            Code::ImpossibleActionList,
        );
    }
    refused(
        json!({ "match": { "eth_type": "0x806" }, "actions": [{ "set": { "tcp_dst": 1 } }, "normal"] }),
        "/actions/0/set/tcp_dst",
        Code::ImpossibleActionList,
    );
}

#[test]
fn actions_that_cannot_be_read_are_refused_where_they_stand() {
    for (action, pointer, code, meant) in [
        (
            json!("dorp"),
            "/actions/0",
            Code::UnknownAction,
            Some("drop"),
        ),
        (
            json!({ "outptu": "west" }),
            "/actions/0",
            Code::UnknownAction,
            Some("output"),
        ),
        (
            json!({ "pushvlan": 4 }),
            "/actions/0",
            Code::UnknownAction,
            Some("pushVlan"),
        ),
        (
            json!({ "drop": true }),
            "/actions/0",
            Code::WrongFormat,
            Some("drop"),
        ),
        (
            json!({ "popVlan": false }),
            "/actions/0/popVlan",
            Code::WrongType,
            Some("true"),
        ),
        (
            json!({ "pushVlan": 4096 }),
            "/actions/0/pushVlan",
            Code::TooWide,
            None,
        ),
        (
            json!({ "pushVlan": "4/8" }),
            "/actions/0/pushVlan",
            Code::WrongFormat,
            None,
        ),
        (
            json!({ "set": {} }),
            "/actions/0/set",
            Code::MissingField,
            None,
        ),
        (json!({ "set": 5 }), "/actions/0/set", Code::WrongType, None),
        (
            json!({ "set": { "eth_type": 5 } }),
            "/actions/0/set/eth_type",
            Code::UnknownField,
            None,
        ),
        (
            json!({ "set": { "ipv4_dts": "10.0.0.1" } }),
            "/actions/0/set/ipv4_dts",
            Code::UnknownField,
            Some("ipv4_dst"),
        ),
        (
            json!({ "set": { "ipv4_dst": "10.0.0.0/8" } }),
            "/actions/0/set/ipv4_dst",
            Code::WrongFormat,
            None,
        ),
        (
            json!({ "output": null }),
            "/actions/0/output",
            Code::WrongType,
            None,
        ),
        (
            json!({ "output": "west", "set": {} }),
            "/actions/0",
            Code::WrongFormat,
            None,
        ),
        (json!(7), "/actions/0", Code::WrongType, None),
        (json!([]), "/actions/0", Code::WrongType, None),
    ] {
        let errors = compiled(json!({ "actions": [action, "normal"] })).unwrap_err();
        let error = errors.first().unwrap();
        assert_eq!(
            (error.pointer.as_str(), error.code),
            (pointer, code),
            "{error:#?}"
        );
        if let Some(meant) = meant {
            assert_eq!(error.did_you_mean.as_deref(), Some(meant), "{error:#?}");
        }
    }
}

#[test]
fn lists_are_normalised_to_sets_tags_and_outputs() {
    let flow = good(json!({
        "actions": [
            { "decTtl": true }, { "set": { "ip_dscp": 4 } }, { "pushVlan": "0x64" },
            { "set": { "vlan_vid": 7, "eth_src": "02:00:00:00:00:01" } }, { "set": { "ip_dscp": 5 } },
            { "output": 1 }
        ]
    }));
    assert_eq!(
        flow.normalised.actions,
        [
            json!({ "set": { "eth_src": "02:00:00:00:00:01", "ip_dscp": 5 } }),
            json!({ "decTtl": true }),
            json!({ "pushVlan": 100 }),
            json!({ "set": { "vlan_vid": 7 } }),
            json!({ "output": "west" }),
        ]
    );
    assert_eq!(
        compile(&SCHEMA, &ports(), "edge1", &flow.normalised, &NoReferences).unwrap(),
        flow
    );
    let (_, params) = action(&flow);
    assert_eq!(
        (
            params["push_vlan_vid"],
            params["vlan_vid"],
            params["ip_dscp"]
        ),
        (100, 7, 5)
    );
    assert_eq!(params["edits"].count_ones(), 5);
}

#[test]
fn a_pipeline_without_a_flow_table_says_so() {
    let errors = compile(
        &Schema::default(),
        &ports(),
        "edge1",
        &FlowSpec::default(),
        &NoReferences,
    )
    .unwrap_err();
    assert_eq!((errors.len(), errors[0].code), (1, Code::NotSupported));
}

/// A match value of any kind, good or bad.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9a-fx:./-]{0,20}".prop_map(Value::from),
        (any::<[u8; 4]>(), 0..=40_u8)
            .prop_map(|([a, b, c, d], n)| format!("{a}.{b}.{c}.{d}/{n}").into()),
        (any::<u16>(), any::<u16>()).prop_map(|(v, m)| format!("{:#x}/{m:#x}", v & m).into()),
        prop::sample::select(vec!["west", "east", "p9", "p10"]).prop_map(Value::from),
        Just(Value::Null),
        Just(json!(["east", 1, "0x800"])),
    ]
}

fn any_action() -> impl Strategy<Value = Value> {
    let field = || {
        prop::sample::select(vec![
            "eth_src", "vlan_vid", "ip_dscp", "ipv4_dst", "tcp_dst",
        ])
    };
    prop_oneof![
        prop::sample::select(vec!["drop", "normal", "flood", "controller", "x"])
            .prop_map(Value::from),
        any_value().prop_map(|value| json!({ "output": value })),
        (field(), any_value()).prop_map(|(field, value)| json!({ "set": { field: value } })),
        any_value().prop_map(|value| json!({ "pushVlan": value })),
        Just(json!({ "pushVlan": 5 })),
        Just(json!({ "popVlan": true })),
        Just(json!({ "decTtl": true })),
        Just(json!({ "set": { "vlan_vid": 9 } })),
        Just(json!({ "output": "east" })),
    ]
}

proptest! {
    #[test]
    fn any_flow_is_answered_and_the_normal_form_is_a_fixed_point(
        priority in any::<u16>(),
        fields in prop::collection::btree_map(
            prop::sample::select(SCHEMA.table_by_name("flows").unwrap().fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>()),
            any_value(),
            0..4,
        ),
        actions in prop::collection::vec(any_action(), 0..5),
    ) {
        let spec = FlowSpec { priority, r#match: fields, actions, ..FlowSpec::default() };
        match compile(&SCHEMA, &ports(), "edge1", &spec, &NoReferences) {
            Ok(flow) => {
                prop_assert!(!flow.entries.is_empty());
                let again = compile(&SCHEMA, &ports(), "edge1", &flow.normalised, &NoReferences);
                prop_assert_eq!(again, Ok(flow));
            }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }
}
