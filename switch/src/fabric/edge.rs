//! What an edge does for its hosts: access lists, bridging, flooding; [`super::route`] has addresses and routing.

use super::build::{
    Step, action, all, any, any_scope, bit, drop, eq, field, formatted, is_zero, key, not,
    not_zero, number, param, set, shr, valid,
};
use super::stages::{call, table};
use super::{drops, headers, push_fabric, route};
use crate::ir::{Action, Expr, Format, Key, KeyKind, Op, Table};

// === tables and actions ===

pub(super) fn tables() -> Vec<Table> {
    let vni = || key("vni", field("meta.vni"), KeyKind::Exact, Format::Number);
    vec![
        Table {
            doc: "Inbound access list: what hosts may send".into(),
            keys: acl_keys("in_port", "std.in_port"),
            actions: any_scope(&["permit", "deny_in"]),
            default_action: call("permit"),
            size: 65_536,
            counters: true,
            ..table("acl_in")
        },
        Table {
            doc: "IPv4 routes of each network".into(),
            keys: vec![
                vni(),
                key("dst", field("ipv4.dst"), KeyKind::Lpm, Format::Ipv4),
            ],
            actions: any_scope(&["connected", "via", "blackhole"]),
            size: 1 << 20,
            counters: true,
            ..table("routes")
        },
        Table {
            doc: "IPv6 routes of each network".into(),
            keys: vec![
                vni(),
                key("dst", field("ipv6.dst"), KeyKind::Lpm, Format::Ipv6),
            ],
            actions: any_scope(&["connected", "via6", "blackhole"]),
            size: 1 << 20,
            counters: true,
            ..table("routes6")
        },
        Table {
            doc: "Who has an IPv4 address; answers ARP, and tells routed packets their next MAC address".into(),
            keys: vec![
                vni(),
                key("ip", field("meta.next_ip"), KeyKind::Exact, Format::Ipv4),
            ],
            actions: any_scope(&["neighbor", "routed_neighbor", "gateway"]),
            size: 1 << 20,
            ..table("neighbors")
        },
        Table {
            doc: "Who has an IPv6 address; answers neighbour solicitations, and tells routed packets their next MAC address".into(),
            keys: vec![
                vni(),
                key("ip", field("meta.next_ip6"), KeyKind::Exact, Format::Ipv6),
            ],
            actions: any_scope(&["neighbor", "routed_neighbor", "gateway"]),
            size: 1 << 20,
            ..table("neighbors6")
        },
        Table {
            doc: "Where a MAC address is".into(),
            keys: vec![
                vni(),
                key("dst", field("eth.dst"), KeyKind::Exact, Format::Mac),
            ],
            actions: any_scope(&["to_port", "to_edge"]),
            size: 1 << 20,
            counters: true,
            ..table("fdb")
        },
        Table {
            doc: "Who gets copies of what goes to all or to nobody known".into(),
            keys: vec![
                vni(),
                key(
                    "from_fabric",
                    field("meta.from_fabric"),
                    KeyKind::Exact,
                    Format::Number,
                ),
            ],
            actions: any_scope(&["flood_to"]),
            size: 65_536,
            counters: true,
            ..table("flood")
        },
        Table {
            doc: "Outbound access list: what hosts may get".into(),
            keys: acl_keys("egress_port", "std.egress_port"),
            actions: any_scope(&["permit", "deny_out"]),
            default_action: call("permit"),
            size: 65_536,
            counters: true,
            ..table("acl_out")
        },
    ]
}

fn acl_keys(port: &str, value: &str) -> Vec<Key> {
    vec![
        key(port, field(value), KeyKind::Optional, Format::Port),
        key("vni", field("meta.vni"), KeyKind::Optional, Format::Number),
        key(
            "eth_type",
            field("meta.eth_type"),
            KeyKind::Optional,
            Format::Hex,
        ),
        key(
            "ipv4_src",
            field("ipv4.src"),
            KeyKind::Ternary,
            Format::Ipv4,
        ),
        key(
            "ipv4_dst",
            field("ipv4.dst"),
            KeyKind::Ternary,
            Format::Ipv4,
        ),
        key(
            "ipv6_src",
            field("ipv6.src"),
            KeyKind::Ternary,
            Format::Ipv6,
        ),
        key(
            "ipv6_dst",
            field("ipv6.dst"),
            KeyKind::Ternary,
            Format::Ipv6,
        ),
        key(
            "ip_proto",
            field("meta.ip_proto"),
            KeyKind::Optional,
            Format::Number,
        ),
        key(
            "l4_src",
            field("meta.l4_src"),
            KeyKind::Range,
            Format::Number,
        ),
        key(
            "l4_dst",
            field("meta.l4_dst"),
            KeyKind::Range,
            Format::Number,
        ),
    ]
}

pub(super) fn actions() -> Vec<Action> {
    let nothing = Vec::new;
    let mut actions = route::actions();
    actions.extend([
        action("permit", "Goes on", nothing(), Vec::new()),
        action(
            "deny_in",
            "Ends here",
            nothing(),
            vec![drop(drops::ACL_IN), Op::Exit],
        ),
        action(
            "deny_out",
            "Ends here",
            nothing(),
            vec![drop(drops::ACL_OUT), Op::Exit],
        ),
        action(
            "to_port",
            "At a port of this switch",
            vec![formatted("port", 32, Format::Port)],
            vec![set("meta.out_port", param("port"))],
        ),
        action(
            "to_edge",
            "At another switch",
            vec![formatted("label", 20, Format::Number)],
            vec![set("meta.node_label", param("label"))],
        ),
        action(
            "flood_to",
            "A copy for each replica of a group; the instance is the node label of another edge",
            vec![formatted("group", 32, Format::Number)],
            vec![
                set("meta.flood", number(1, 1)),
                Op::Multicast(param("group")),
                Op::Exit,
            ],
        ),
    ]);
    actions
}

// === control ===

/// A host's own frame: is it one, may it pass, does the switch answer or route it?
pub(super) fn from_host() -> Vec<Step> {
    let is_type = |value: u128| eq(field("meta.eth_type"), number(value, 16));
    let labelled = any([
        valid("fabric_eth"),
        is_type(headers::MPLS),
        is_type(headers::MPLS_UPSTREAM),
    ]);
    let reserved = eq(shr(field("eth.dst"), 4), number(0x0018_0c20_0000, 48));
    vec![
        Step::drop_if(labelled, drops::MPLS_FROM_HOST),
        Step::drop_if(is_group(field("eth.src")), drops::BAD_SOURCE),
        Step::drop_if(reserved, drops::RESERVED_MULTICAST),
        Step::apply("acl_in"),
        Step::when(is_zero(field("meta.to_all")), route::steps()),
    ]
}

fn is_group(mac: Expr) -> Expr {
    bit(mac, 40, 48)
}

/// A frame without labels goes to a port, to another edge, or to all.
pub(super) fn deliver() -> Vec<Step> {
    let to_one = all([
        is_zero(field("meta.to_all")),
        not(is_group(field("eth.dst"))),
    ]);
    let at_entry = all([
        eq(field("meta.out_port"), field("std.in_port")),
        not(field("meta.routed")),
    ]);
    let leave = vec![Op::Output(field("meta.out_port")), Op::Exit];
    vec![
        Step::when(
            to_one,
            vec![
                Step::apply("fdb"),
                Step::when(
                    not_zero(field("meta.out_port"), 32),
                    vec![Step::drop_if(at_entry, drops::SAME_PORT), Step::Run(leave)],
                ),
            ],
        ),
        Step::either(
            is_zero(field("meta.node_label")),
            vec![Step::apply_or_drop("flood", drops::NO_NETWORK)],
            vec![
                // Another edge believes that the host is here; sending the frame on could make a loop.
                Step::drop_if(field("meta.from_fabric"), drops::MISDELIVERED),
                Step::Run(push_fabric(field("meta.node_label"))),
            ],
        ),
    ]
}
