//! What an edge does for its hosts: access lists, ARP, routing, bridging, flooding.

use super::build::{
    Step, action, all, any, any_scope, bit, copy, drop, eq, field, formatted, is_zero, key, not,
    not_zero, number, param, set, shr, valid, when,
};
use super::stages::{call, table};
use super::{drops, flows, headers, push_fabric};
use crate::ir::{Action, Expr, Format, Key, KeyKind, Op, Table};

const ARP_REQUEST: u128 = 1;
const ARP_REPLY: u128 = 2;
const ECHO_REPLY: u128 = 0;
const ECHO_REQUEST: u128 = 8;
const REPLY_TTL: u128 = 64;

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
            doc: "Routes of each network".into(),
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
            doc: "Who has an IPv4 address; answers ARP, and tells routed packets their next MAC address".into(),
            keys: vec![
                vni(),
                key("ip", field("meta.next_ip"), KeyKind::Exact, Format::Ipv4),
            ],
            actions: any_scope(&["neighbor", "gateway"]),
            size: 1 << 20,
            ..table("neighbors")
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
    vec![
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
            "connected",
            "The destination is a host of this network",
            nothing(),
            vec![copy("meta.next_ip", "ipv4.dst")],
        ),
        action(
            "via",
            "By another router of this network",
            vec![formatted("next_hop", 32, Format::Ipv4)],
            vec![set("meta.next_ip", param("next_hop"))],
        ),
        action(
            "blackhole",
            "Ends here",
            nothing(),
            vec![drop(drops::BLACKHOLE), Op::Exit],
        ),
        action(
            "neighbor",
            "A host with this MAC address",
            vec![formatted("mac", 48, Format::Mac)],
            vec![set("meta.next_mac", param("mac"))],
        ),
        action(
            "gateway",
            "The network's router, which is this switch",
            nothing(),
            vec![
                copy("meta.next_mac", "meta.gateway_mac"),
                set("meta.is_gateway", number(1, 1)),
            ],
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
    ]
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
    let arp_request = all([eq(field("arp.op"), number(ARP_REQUEST, 16)), untagged()]);
    // A host at a layer-3 port has no neighbors but the gateway.
    let to_gateway = any([
        eq(field("eth.dst"), field("meta.gateway_mac")),
        field("std.l3"),
    ]);
    vec![
        Step::drop_if(labelled, drops::MPLS_FROM_HOST),
        Step::drop_if(is_group(field("eth.src")), drops::BAD_SOURCE),
        Step::drop_if(reserved, drops::RESERVED_MULTICAST),
        Step::apply("acl_in"),
        Step::when(
            is_zero(field("meta.to_all")),
            vec![
                Step::either(
                    arp_request,
                    vec![Step::Run(vec![
                        copy("meta.next_ip", "arp.tpa"),
                        set("meta.resolve", number(1, 1)),
                    ])],
                    vec![Step::when(to_gateway, route())],
                ),
                Step::when(field("meta.resolve"), resolve()),
            ],
        ),
    ]
}

fn is_group(mac: Expr) -> Expr {
    bit(mac, 40, 48)
}

/// In a VLAN of the hosts' own, their addresses mean something else. VLAN 0 is none (IEEE 802.1Q §9.6).
fn untagged() -> Expr {
    is_zero(field("vlan[0].vid"))
}

fn route() -> Vec<Step> {
    vec![
        Step::drop_if(not(all([valid("ipv4"), untagged()])), drops::NOT_ROUTABLE),
        Step::apply_or_drop("routes", drops::NO_ROUTE),
        Step::Run(vec![
            set("meta.resolve", number(1, 1)),
            set("meta.routed", number(1, 1)),
        ]),
    ]
}

/// An ARP request is answered for whoever has the address; a routed packet gets its next MAC address.
fn resolve() -> Vec<Step> {
    let unknown = vec![Step::drop_if(field("meta.routed"), drops::NO_NEIGHBOR)];
    vec![Step::Apply {
        table: "neighbors",
        hit: vec![Step::either(
            field("meta.routed"),
            vec![
                Step::when(
                    field("meta.is_gateway"),
                    vec![
                        Step::when(echo_request(), vec![Step::Run(answer_echo())]),
                        Step::drop(drops::TO_GATEWAY),
                    ],
                ),
                Step::Run(vec![
                    flows::decrement_ttl(),
                    when(
                        field("std.l3"),
                        vec![
                            Op::SetValid("eth".into()),
                            set("eth.type", number(headers::IPV4, 16)),
                        ],
                    ),
                    copy("eth.src", "meta.gateway_mac"),
                    copy("eth.dst", "meta.next_mac"),
                ]),
            ],
            vec![Step::Run(vec![answer_arp()])],
        )],
        miss: unknown,
    }]
}

/// RFC 826, on behalf of the host that was asked for. The owner itself asks only to find out whether somebody else has
/// its address (RFC 5227), or to announce it: that gets no answer, and is flooded.
fn answer_arp() -> Op {
    when(
        not(eq(field("arp.sha"), field("meta.next_mac"))),
        vec![
            copy("eth.dst", "eth.src"),
            copy("eth.src", "meta.next_mac"),
            set("arp.op", number(ARP_REPLY, 16)),
            copy("arp.tha", "arp.sha"),
            copy("arp.tpa", "arp.spa"),
            copy("arp.sha", "meta.next_mac"),
            copy("arp.spa", "meta.next_ip"),
            Op::Output(field("std.in_port")),
            Op::Exit,
        ],
    )
}

/// A whole echo request: the answer to a fragment would need the others.
fn echo_request() -> Expr {
    all([
        valid("icmp"),
        eq(field("icmp.type"), number(ECHO_REQUEST, 8)),
        is_zero(field("icmp.code")),
        is_zero(field("ipv4.fragment")),
        not(bit(field("ipv4.flags"), 0, 3)),
    ])
}

/// RFC 792: addresses change places, and the type says so.
fn answer_echo() -> Vec<Op> {
    vec![
        copy("eth.dst", "eth.src"),
        copy("eth.src", "meta.gateway_mac"),
        copy("ipv4.dst", "ipv4.src"),
        copy("ipv4.src", "meta.next_ip"),
        set("ipv4.ttl", number(REPLY_TTL, 8)),
        set("icmp.type", number(ECHO_REPLY, 8)),
        Op::Output(field("std.in_port")),
        Op::Exit,
    ]
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
