//! The `flows` table: wide, prioritised, first on every switch; users program it.
//!
//! Annotations tell a northbound what each name means, so that nothing outside this file lists fields or actions.
//!
//! * On the table: `@weft_flows`. On the meters that flows name by index: `@weft_meters`.
//! * On a key: `@requires(FIELD=A)` or `@requires(FIELD=A|B)`: the field has a meaning only under this match.
//! * On an action: `@weft_flow(KIND)` with `drop`, `normal`, `flood`, `controller`, `output`, `multicast`, `group` or
//!   `edit`. The argument of `output` is a port, of `multicast` a multicast group, of `group` a group's number.
//! * On the parameters of `edit`: `@edits` and `@bit(NAME,N)` on the bit set that says which edits apply;
//!   `@set(FIELD,N)` on the new value of a field; `@arg(NAME)` on an argument of an edit or a verdict;
//!   `@verdict(NAME=N,…)` on what happens then.
//!
//! What the verdict `group` looks its number up in, and how those tables are annotated, is told in `groups.rs`.
//!
//! Edits apply in this order: pop a tag, push a tag, sets, TTL, meter, verdict. The meter's argument is a cell of the
//! meters; a packet that is red there is dropped as `meter`, and one that is yellow passes. The parser reads through
//! labels, so all fields are the customer's, and edits change the inner packet; `output`, `multicast` and `group` take
//! the labels off.

use super::build::{
    action, any_scope, bit, copy, drop, either, eq, field, formatted, key, le, number, param, pop,
    push, set, sub, valid, when,
};
use super::stages::summary;
use super::{drops, groups, strip_fabric};
use crate::ir::{Action, Call, Format, Key, KeyKind, Meter, MeterUnit, Op, Param, Table};

/// The table's name.
pub(super) const TABLE: &str = "flows";

/// The meters' name.
const METERS: &str = "flow_meters";
/// What they say of a packet that is dropped.
const RED: u128 = 2;

/// A field that flows can set.
struct Settable {
    name: &'static str,
    /// Of those, the packet has one.
    targets: &'static [&'static str],
    bits: u16,
    format: Format,
}

const fn settable(
    name: &'static str,
    targets: &'static [&'static str],
    bits: u16,
    format: Format,
) -> Settable {
    Settable {
        name,
        targets,
        bits,
        format,
    }
}

// Bits of `edits`, and after them one for each settable field.
const POP_VLAN: u16 = 0;
const PUSH_VLAN: u16 = 1;
const DEC_TTL: u16 = 2;
const METER: u16 = 3;
const FIRST_SET: u16 = 4;
const EDITS_BITS: u16 = 32;

// Values of `verdict`; 4, `normal`, goes on with the fabric.
const VERDICTS: &str =
    "@verdict(drop=0,output=1,flood=2,controller=3,normal=4,multicast=5,group=6)";
const DROP: u128 = 0;
const OUTPUT: u128 = 1;
const FLOOD: u128 = 2;
const CONTROLLER: u128 = 3;
const MULTICAST: u128 = 5;
const GROUP: u128 = 6;

const SETTABLE: [Settable; 19] = [
    settable("eth_src", &["eth.src"], 48, Format::Mac),
    settable("eth_dst", &["eth.dst"], 48, Format::Mac),
    settable("vlan_vid", &["vlan[0].vid"], 12, Format::Number),
    settable("ip_dscp", &["ipv4.dscp", "ipv6.dscp"], 6, Format::Number),
    settable("ipv4_src", &["ipv4.src"], 32, Format::Ipv4),
    settable("ipv4_dst", &["ipv4.dst"], 32, Format::Ipv4),
    settable("tcp_src", &["tcp.src"], 16, Format::Number),
    settable("tcp_dst", &["tcp.dst"], 16, Format::Number),
    settable("udp_src", &["udp.src"], 16, Format::Number),
    settable("udp_dst", &["udp.dst"], 16, Format::Number),
    settable("icmpv4_type", &["icmp.type"], 8, Format::Number),
    settable("icmpv4_code", &["icmp.code"], 8, Format::Number),
    settable("arp_op", &["arp.op"], 16, Format::Number),
    settable("arp_spa", &["arp.spa"], 32, Format::Ipv4),
    settable("arp_tpa", &["arp.tpa"], 32, Format::Ipv4),
    settable("ipv6_src", &["ipv6.src"], 128, Format::Ipv6),
    settable("ipv6_dst", &["ipv6.dst"], 128, Format::Ipv6),
    settable("icmpv6_type", &["icmpv6.type"], 8, Format::Number),
    settable("icmpv6_code", &["icmpv6.code"], 8, Format::Number),
];

pub(super) fn table() -> Table {
    let actions = actions();
    let names: Vec<&str> = actions.iter().map(|action| action.name.as_str()).collect();
    Table {
        name: TABLE.into(),
        doc: "What users want done with a packet first of all; a miss goes on with the fabric"
            .into(),
        keys: keys(),
        actions: any_scope(&names),
        default_action: Some(Call {
            action: "flow_normal".into(),
            ..Call::default()
        }),
        const_default: false,
        const_entries: Vec::new(),
        size: 65_536,
        selector: None,
        counters: true,
        meter: None,
        idle_timeout: true,
        annotations: vec!["@weft_flows".into()],
    }
}

/// Rates that any number of flows share.
pub(super) fn meters() -> Meter {
    Meter {
        name: METERS.into(),
        doc: "Rates that flows keep to, in bytes a second; a packet above the peak rate is dropped"
            .into(),
        size: 4_096,
        unit: MeterUnit::Bytes,
        annotations: vec!["@weft_meters".into()],
    }
}

fn keys() -> Vec<Key> {
    const IP: &[&str] = &["eth_type=0x800|0x86dd"];
    const IPV4: &[&str] = &["eth_type=0x800"];
    const ARP: &[&str] = &["eth_type=0x806"];
    const TCP: &[&str] = &["ip_proto=6"];
    const UDP: &[&str] = &["ip_proto=17"];
    const IPV6: &[&str] = &["eth_type=0x86dd"];
    const ICMPV6: &[&str] = &["eth_type=0x86dd", "ip_proto=58"];
    const ICMPV4: &[&str] = &["eth_type=0x800", "ip_proto=1"];
    let optional = |name, value, format| key(name, field(value), KeyKind::Optional, format);
    let ternary = |name, value, format, requires: &[&str]| Key {
        annotations: requires
            .iter()
            .map(|what| format!("@requires({what})"))
            .collect(),
        ..key(name, field(value), KeyKind::Ternary, format)
    };
    vec![
        optional("in_port", "std.in_port", Format::Port),
        ternary("eth_src", "eth.src", Format::Mac, &[]),
        ternary("eth_dst", "eth.dst", Format::Mac, &[]),
        ternary("eth_type", "meta.eth_type", Format::Hex, &[]),
        ternary("vlan_vid", "vlan[0].vid", Format::Number, &[]),
        ternary("ip_proto", "meta.ip_proto", Format::Number, IP),
        ternary("ip_dscp", "meta.ip_dscp", Format::Number, IP),
        ternary("ipv4_src", "ipv4.src", Format::Ipv4, IPV4),
        ternary("ipv4_dst", "ipv4.dst", Format::Ipv4, IPV4),
        ternary("tcp_src", "tcp.src", Format::Number, TCP),
        ternary("tcp_dst", "tcp.dst", Format::Number, TCP),
        ternary("udp_src", "udp.src", Format::Number, UDP),
        ternary("udp_dst", "udp.dst", Format::Number, UDP),
        ternary("tcp_flags", "tcp.flags", Format::Hex, TCP),
        ternary("ipv6_src", "ipv6.src", Format::Ipv6, IPV6),
        ternary("ipv6_dst", "ipv6.dst", Format::Ipv6, IPV6),
        ternary("icmpv4_type", "icmp.type", Format::Number, ICMPV4),
        ternary("icmpv4_code", "icmp.code", Format::Number, ICMPV4),
        ternary("icmpv6_type", "icmpv6.type", Format::Number, ICMPV6),
        ternary("icmpv6_code", "icmpv6.code", Format::Number, ICMPV6),
        ternary("arp_op", "arp.op", Format::Number, ARP),
        ternary("arp_spa", "arp.spa", Format::Ipv4, ARP),
        ternary("arp_tpa", "arp.tpa", Format::Ipv4, ARP),
        optional("vni", "meta.vni", Format::Number),
    ]
}

pub(super) fn actions() -> Vec<Action> {
    let flow = |kind: &str, doc: &str, params: Vec<Param>, ops: Vec<Op>| Action {
        annotations: vec![format!("@weft_flow({kind})")],
        ..action(&format!("flow_{kind}"), doc, params, ops)
    };
    vec![
        flow("drop", "Drops the packet", Vec::new(), deny()),
        flow("normal", "Goes on with the fabric", Vec::new(), Vec::new()),
        flow(
            "flood",
            "One copy to every other host of the network; without a fabric, to every other port",
            Vec::new(),
            flood(),
        ),
        flow(
            "controller",
            "To the primary controller only",
            Vec::new(),
            to_controller(),
        ),
        flow(
            "output",
            "Leaves by one port, without labels",
            vec![formatted("port", 32, Format::Port)],
            output("port"),
        ),
        flow(
            "multicast",
            "One copy for each replica of a group, without labels",
            vec![formatted("group", 32, Format::Number)],
            multicast("group"),
        ),
        flow(
            "group",
            "Leaves by a bucket of a group, without labels",
            vec![formatted("group", 32, Format::Number)],
            groups::choose(param("group")),
        ),
        flow(
            "edit",
            "Changes the packet, then does what `verdict` says",
            edit_params(),
            edit_ops(),
        ),
    ]
}

fn deny() -> Vec<Op> {
    vec![drop(drops::FLOW), Op::Exit]
}

fn to_controller() -> Vec<Op> {
    vec![Op::ToController, Op::Exit]
}

fn flood() -> Vec<Op> {
    vec![set("meta.to_all", number(1, 1))]
}

fn output(port: &str) -> Vec<Op> {
    let mut ops = strip_fabric();
    ops.extend([Op::Output(param(port)), Op::Exit]);
    ops
}

fn multicast(group: &str) -> Vec<Op> {
    let mut ops = strip_fabric();
    ops.extend([Op::Multicast(param(group)), Op::Exit]);
    ops
}

fn edit_params() -> Vec<Param> {
    let annotated = |name: &str, bits: u16, format: Format, annotations: Vec<String>| Param {
        annotations,
        ..formatted(name, bits, format)
    };
    let mut params = vec![
        annotated(
            "edits",
            EDITS_BITS,
            Format::Hex,
            vec![
                "@edits".into(),
                format!("@bit(pop_vlan,{POP_VLAN})"),
                format!("@bit(push_vlan,{PUSH_VLAN})"),
                format!("@bit(dec_ttl,{DEC_TTL})"),
                format!("@bit(meter,{METER})"),
            ],
        ),
        annotated(
            "push_vlan_vid",
            12,
            Format::Number,
            vec!["@arg(push_vlan)".into()],
        ),
    ];
    params.extend(SETTABLE.iter().zip(FIRST_SET..).map(|(field, bit)| {
        let annotation = format!("@set({},{bit})", field.name);
        annotated(field.name, field.bits, field.format, vec![annotation])
    }));
    params.extend([
        annotated("meter", 32, Format::Number, vec!["@arg(meter)".into()]),
        annotated("verdict", 8, Format::Number, vec![VERDICTS.into()]),
        annotated("port", 32, Format::Port, vec!["@arg(output)".into()]),
        annotated(
            "group",
            32,
            Format::Number,
            vec!["@arg(multicast)".into(), "@arg(group)".into()],
        ),
    ]);
    params
}

fn edit_ops() -> Vec<Op> {
    let edit = |index: u16, ops: Vec<Op>| when(bit(param("edits"), index, EDITS_BITS), ops);
    let verdict = |value: u128, ops: Vec<Op>| when(eq(param("verdict"), number(value, 8)), ops);
    let mut ops = vec![edit(POP_VLAN, pop_vlan()), edit(PUSH_VLAN, push_vlan())];
    ops.extend(SETTABLE.iter().zip(FIRST_SET..).map(|(field, index)| {
        let sets = field.targets.iter();
        edit(
            index,
            sets.map(|target| set(target, param(field.name))).collect(),
        )
    }));
    ops.push(edit(DEC_TTL, vec![decrement_ttl()]));
    ops.push(edit(METER, police()));
    // What follows sees the packet as it is now.
    ops.extend(summary());
    ops.extend([
        verdict(DROP, deny()),
        verdict(OUTPUT, output("port")),
        verdict(FLOOD, flood()),
        verdict(CONTROLLER, to_controller()),
        verdict(MULTICAST, multicast("group")),
        verdict(GROUP, groups::choose(param("group"))),
    ]);
    ops
}

fn pop_vlan() -> Vec<Op> {
    vec![when(
        valid("vlan[0]"),
        vec![copy("eth.type", "vlan[0].type"), pop("vlan", 1)],
    )]
}

fn push_vlan() -> Vec<Op> {
    vec![
        push("vlan", 1),
        copy("vlan[0].type", "eth.type"),
        set("vlan[0].vid", param("push_vlan_vid")),
        set("eth.type", number(0x8100, 16)),
    ]
}

fn police() -> Vec<Op> {
    vec![
        Op::Meter {
            meter: METERS.into(),
            index: param("meter"),
            dst: "meta.color".into(),
        },
        when(
            eq(field("meta.color"), number(RED, 2)),
            vec![drop(drops::METER), Op::Exit],
        ),
    ]
}

/// Decrements the TTL or hop limit; a packet that may go no further is dropped.
pub(super) fn decrement_ttl() -> Op {
    let one_less = |ttl: &str| {
        either(
            le(field(ttl), number(1, 8)),
            vec![drop(drops::TTL_EXPIRED), Op::Exit],
            vec![set(ttl, sub(field(ttl), number(1, 8)))],
        )
    };
    either(
        valid("ipv4"),
        vec![one_less("ipv4.ttl")],
        vec![when(valid("ipv6"), vec![one_less("ipv6.hop_limit")])],
    )
}
