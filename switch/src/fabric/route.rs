//! What an edge does with addresses of layer 3: answers who asks for one, and routes between subnets.
//!
//! Every edge is the router of its hosts' networks. A routed packet passes `routes`, which names the next hop, and
//! `neighbors`, which knows the next hop's MAC address and the MTU of the way there; IPv6 has tables of its own. What cannot be routed is dropped under
//! a reason, and its sender told ([`super::icmp`]).

use super::build::{
    Step, action, add, all, any, bit, copy, drop, either, eq, field, formatted, is_zero, le, lt,
    ne, not, not_zero, number, param, set, shr, sub, valid, when,
};
use super::icmp::{self, Code};
use super::{drops, flows, headers};
use crate::ir::{Action, Expr, Format, Op};

const ARP_REQUEST: u128 = 1;
const ARP_REPLY: u128 = 2;
const NEIGHBOR_ADVERTISEMENT: u128 = 136;
const ALL_NODES: u128 = 0xff02_0000_0000_0000_0000_0000_0000_0001;
const ALL_NODES_MAC: u128 = 0x3333_0000_0001;

pub(super) fn actions() -> Vec<Action> {
    let nothing = Vec::new;
    vec![
        action(
            "connected",
            "The destination is a host of this network",
            nothing(),
            vec![
                copy("meta.next_ip", "ipv4.dst"),
                copy("meta.next_ip6", "ipv6.dst"),
            ],
        ),
        action(
            "via",
            "By another router of this network",
            vec![formatted("next_hop", 32, Format::Ipv4)],
            vec![set("meta.next_ip", param("next_hop"))],
        ),
        action(
            "via6",
            "By another router of this network",
            vec![formatted("next_hop", 128, Format::Ipv6)],
            vec![set("meta.next_ip6", param("next_hop"))],
        ),
        action(
            "blackhole",
            "Ends here",
            nothing(),
            vec![drop(drops::BLACKHOLE), Op::Exit],
        ),
        action(
            "neighbor",
            "A host with this MAC address; `mtu` is that of the way to it, 0 for unknown",
            vec![
                formatted("mac", 48, Format::Mac),
                formatted("mtu", 32, Format::Number),
            ],
            vec![
                set("meta.next_mac", param("mac")),
                set("meta.mtu", param("mtu")),
                set("meta.found", number(1, 1)),
            ],
        ),
        action(
            "routed_neighbor",
            "A host at a layer-3 port, which has no Ethernet: who asks for it is told to send to the network's router, \
             which knows it by `mac`; `mtu` as in `neighbor`",
            vec![
                formatted("mac", 48, Format::Mac),
                formatted("mtu", 32, Format::Number),
            ],
            vec![
                either(
                    field("meta.routed"),
                    vec![set("meta.next_mac", param("mac"))],
                    vec![copy("meta.next_mac", "meta.gateway_mac")],
                ),
                set("meta.mtu", param("mtu")),
                set("meta.is_proxied", number(1, 1)),
                set("meta.found", number(1, 1)),
            ],
        ),
        action(
            "gateway",
            "The network's router, which is this switch",
            nothing(),
            vec![
                copy("meta.next_mac", "meta.gateway_mac"),
                set("meta.is_gateway", number(1, 1)),
                set("meta.found", number(1, 1)),
            ],
        ),
    ]
}

/// Answers, routes, or leaves a host's frame alone.
pub(super) fn steps() -> Vec<Step> {
    // A host at a layer-3 port has no neighbors but the gateway.
    let to_gateway = any([
        eq(field("eth.dst"), field("meta.gateway_mac")),
        field("std.l3"),
    ]);
    let asks = |target: &str, from: &str| {
        vec![Step::Run(vec![
            copy(target, from),
            set("meta.resolve", number(1, 1)),
        ])]
    };
    vec![
        Step::either(
            arp_request(),
            asks("meta.next_ip", "arp.tpa"),
            vec![Step::either(
                solicitation(),
                asks("meta.next_ip6", "nd.target"),
                vec![Step::when(to_gateway, route())],
            )],
        ),
        Step::when(field("meta.resolve"), resolve()),
        Step::when(
            field("meta.icmp_error"),
            vec![Step::Run(icmp::send_error())],
        ),
    ]
}

fn arp_request() -> Expr {
    all([eq(field("arp.op"), number(ARP_REQUEST, 16)), untagged()])
}

/// RFC 4861 §7.1.1; in fragments it means nothing (RFC 6980).
fn solicitation() -> Expr {
    all([
        valid("nd"),
        valid("eth"),
        is_zero(field("icmpv6.code")),
        eq(field("ipv6.hop_limit"), number(255, 8)),
        not(field("meta.is_fragment")),
        untagged(),
    ])
}

/// In a VLAN of the hosts' own, their addresses mean something else. VLAN 0 is none (IEEE 802.1Q §9.6).
fn untagged() -> Expr {
    is_zero(field("vlan[0].vid"))
}

fn route() -> Vec<Step> {
    let routed = || {
        vec![Step::Run(vec![
            set("meta.resolve", number(1, 1)),
            set("meta.routed", number(1, 1)),
        ])]
    };
    let ip = any([valid("ipv4"), valid("ipv6")]);
    let look_up = |table, refused: Code| Step::Apply {
        table,
        hit: routed(),
        miss: vec![Step::Run(refused.refuse(drops::NO_ROUTE))],
    };
    vec![
        Step::drop_if(not(all([ip, untagged()])), drops::NOT_ROUTABLE),
        Step::either(
            valid("ipv4"),
            vec![look_up("routes", Code::NetworkUnreachable)],
            vec![look_up("routes6", Code::NetworkUnreachable)],
        ),
    ]
}

/// Who asks for an address is answered for whoever has it; a routed packet gets its next MAC address.
fn resolve() -> Vec<Step> {
    let look_up = |table| Step::Apply {
        table,
        hit: Vec::new(),
        miss: vec![Step::when(
            field("meta.routed"),
            vec![Step::Run(Code::HostUnreachable.refuse(drops::NO_NEIGHBOR))],
        )],
    };
    let forward_or_answer = Step::either(field("meta.is_gateway"), to_router(), forward());
    vec![
        Step::either(
            valid("ipv6"),
            vec![look_up("neighbors6")],
            vec![look_up("neighbors")],
        ),
        Step::when(
            field("meta.found"),
            vec![Step::either(
                field("meta.routed"),
                vec![forward_or_answer],
                vec![Step::Run(vec![either(
                    valid("ipv6"),
                    vec![answer_solicitation()],
                    vec![answer_arp()],
                )])],
            )],
        ),
    ]
}

/// The router itself is meant. It answers ping, and has no open port.
fn to_router() -> Vec<Step> {
    vec![
        Step::Run(vec![icmp::answer_echo()]),
        Step::either(
            valid("udp"),
            vec![Step::Run(Code::PortUnreachable.refuse(drops::TO_GATEWAY))],
            vec![Step::drop(drops::TO_GATEWAY)],
        ),
    ]
}

/// One hop more, where the packet may go and fits.
fn forward() -> Vec<Step> {
    let expired = any([
        all([valid("ipv4"), le(field("ipv4.ttl"), number(1, 8))]),
        all([valid("ipv6"), le(field("ipv6.hop_limit"), number(1, 8))]),
    ]);
    // RFC 4291 §2.5.6: a router forwards nothing from link-local addresses, and there are no routes to them.
    let link_local = eq(shr(field("ipv6.src"), 118), number(0xfe80 >> 6, 128));
    let too_big = || {
        all([
            not_zero(field("meta.mtu"), 32),
            lt(field("meta.mtu"), field("meta.ip_length")),
        ])
    };
    let whole_only = any([valid("ipv6"), bit(field("ipv4.flags"), 1, 3)]);
    vec![
        Step::drop_if(all([valid("ipv6"), link_local]), drops::NOT_ROUTABLE),
        Step::Run(vec![ip_length()]),
        Step::either(
            expired,
            vec![Step::Run(Code::TimeExceeded.refuse(drops::TTL_EXPIRED))],
            vec![Step::either(
                all([too_big(), whole_only]),
                vec![Step::Run(Code::TooBig.refuse(drops::TOO_BIG))],
                vec![Step::Run(vec![
                    when(too_big(), vec![Op::Fragment(field("meta.mtu"))]),
                    flows::decrement_ttl(),
                    when(field("std.l3"), vec![invent_ethernet()]),
                    copy("eth.src", "meta.gateway_mac"),
                    copy("eth.dst", "meta.next_mac"),
                ])],
            )],
        ),
    ]
}

/// Bytes of the IP packet; of a super-packet, bytes of its largest segment.
fn ip_length() -> Op {
    set(
        "meta.ip_length",
        sub(
            icmp::total_length(),
            sub(field("std.packet_length"), field("std.wire_length")),
        ),
    )
}

fn invent_ethernet() -> Op {
    either(
        valid("ipv4"),
        vec![
            Op::SetValid("eth".into()),
            set("eth.type", number(headers::IPV4, 16)),
        ],
        vec![
            Op::SetValid("eth".into()),
            set("eth.type", number(headers::IPV6, 16)),
        ],
    )
}

/// RFC 826, on behalf of the host that was asked for. The owner itself asks only to find out whether somebody else has
/// its address (RFC 5227), or to announce it: that gets no answer, and is flooded.
fn answer_arp() -> Op {
    when(
        ne(field("arp.sha"), field("meta.next_mac")),
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

/// RFC 4861 §7.2.4, on behalf of the host that was asked for; the owner gets no answer, as in [`answer_arp`]. Who has
/// no address yet and asks whether this one is free (RFC 4862 §5.4) is answered by what all nodes get.
fn answer_solicitation() -> Op {
    const ROUTER: u128 = 1 << 31;
    const SOLICITED: u128 = 1 << 30;
    const OVERRIDE: u128 = 1 << 29;
    let rest = || field("icmpv6.rest");
    let flag = |value: u128| set("icmpv6.rest", add(rest(), number(value, 32)));
    let option_size = || number(8, 16);
    let length = "ipv6.payload_length";
    when(
        ne(field("eth.src"), field("meta.next_mac")),
        vec![
            set("icmpv6.type", number(NEIGHBOR_ADVERTISEMENT, 8)),
            set("icmpv6.rest", number(0, 32)),
            // Who answers for another does not override (RFC 4861 §7.2.8).
            when(not(field("meta.is_proxied")), vec![flag(OVERRIDE)]),
            when(field("meta.is_gateway"), vec![flag(ROUTER)]),
            copy("eth.dst", "eth.src"),
            either(
                is_zero(field("ipv6.src")),
                vec![
                    set("eth.dst", number(ALL_NODES_MAC, 48)),
                    set("ipv6.dst", number(ALL_NODES, 128)),
                ],
                vec![flag(SOLICITED), copy("ipv6.dst", "ipv6.src")],
            ),
            copy("eth.src", "meta.next_mac"),
            copy("ipv6.src", "meta.next_ip6"),
            when(
                not(valid("nd_option")),
                vec![
                    Op::SetValid("nd_option".into()),
                    set(length, add(field(length), option_size())),
                ],
            ),
            set("nd_option.type", number(headers::TARGET_ADDRESS, 8)),
            set("nd_option.length", number(1, 8)),
            copy("nd_option.mac", "meta.next_mac"),
            Op::Output(field("std.in_port")),
            Op::Exit,
        ],
    )
}
