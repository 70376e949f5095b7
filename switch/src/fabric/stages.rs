//! The order of the stages, and what every packet passes: classification, labels, paths, ports.

use super::build::{
    Step, action, all, any, any_scope, bit, bits_and, cast, control, copy, drop, either, eq, field,
    formatted, is_zero, key, le, ne, not, not_zero, number, param, pop, set, shr, sub, valid, when,
};
use super::{drops, edge, flows, groups, headers, port_kind, push_fabric, strip_fabric};
use crate::ir::{Action, Call, Control, Expr, Format, KeyKind, Op, Param, Selector, Table};

const PATHS: &str = "paths";

/// Traffic class of a network's label on a flooded copy, so that other edges flood it, too, whatever its destination.
const COPY_FOR_ALL: u128 = 1;

// === tables and actions ===

pub(super) fn tables() -> Vec<Table> {
    let in_port = || {
        key(
            "in_port",
            field("std.in_port"),
            KeyKind::Exact,
            Format::Port,
        )
    };
    let out_port = || {
        let value = field("std.egress_port");
        key("egress_port", value, KeyKind::Exact, Format::Port)
    };
    let label = |value: &str| key("label", field(value), KeyKind::Exact, Format::Number);
    vec![
        Table {
            doc: "What a port is for; a packet from any other port goes no further than `flows`"
                .into(),
            keys: vec![in_port()],
            actions: any_scope(&["host_port", "link_port"]),
            size: 4_096,
            ..table("port_in")
        },
        Table {
            doc: "Labels that end at this switch".into(),
            keys: vec![label("mpls[0].label")],
            actions: any_scope(&["pop_label"]),
            size: 1_024,
            counters: true,
            ..table("my_label")
        },
        Table {
            doc: "Ways to another switch, all of equal cost; a flow stays on one".into(),
            keys: vec![label("meta.node_label")],
            actions: any_scope(&["forward"]),
            size: 65_536,
            selector: Some(PATHS.into()),
            counters: true,
            ..table("node_paths")
        },
        Table {
            doc: "What labelled copies leave by: ports to hosts let none out".into(),
            keys: vec![out_port()],
            actions: any_scope(&["no_labels"]),
            size: 4_096,
            ..table("port_out")
        },
    ]
}

/// A table without anything.
pub(super) fn table(name: &str) -> Table {
    Table {
        name: name.into(),
        doc: String::new(),
        keys: Vec::new(),
        actions: Vec::new(),
        default_action: None,
        const_default: false,
        const_entries: Vec::new(),
        size: 0,
        selector: None,
        counters: false,
        meter: None,
        idle_timeout: false,
        annotations: Vec::new(),
    }
}

/// A default action without arguments.
pub(super) fn call(action: &str) -> Option<Call> {
    Some(Call {
        action: action.into(),
        ..Call::default()
    })
}

pub(super) fn paths_selector() -> Selector {
    Selector {
        name: PATHS.into(),
        hash: [
            "eth.src",
            "eth.dst",
            "ipv4.src",
            "ipv4.dst",
            "ipv6.src",
            "ipv6.dst",
            "meta.ip_proto",
            "meta.l4_src",
            "meta.l4_dst",
        ]
        .map(String::from)
        .into(),
        size: 1 << 20,
        max_group_size: 256,
        ..Selector::default()
    }
}

pub(super) fn actions() -> Vec<Action> {
    let port = || formatted("port", 32, Format::Port);
    vec![
        action(
            "host_port",
            "A host of a network; the others are the addresses of the network's router there, 0 for none",
            vec![
                formatted("vni", 24, Format::Number),
                formatted("gateway_mac", 48, Format::Mac),
                formatted("gateway_ip", 32, Format::Ipv4),
                formatted("gateway_ip6", 128, Format::Ipv6),
            ],
            vec![
                set("meta.port_kind", number(port_kind::HOST, 2)),
                set("meta.vni", param("vni")),
                set("meta.gateway_mac", param("gateway_mac")),
                set("meta.gateway_ip", param("gateway_ip")),
                set("meta.gateway_ip6", param("gateway_ip6")),
            ],
        ),
        action(
            "link_port",
            "A switch of the same fabric",
            none(),
            vec![set("meta.port_kind", number(port_kind::LINK, 2))],
        ),
        action(
            "pop_label",
            "This switch is meant",
            none(),
            vec![pop("mpls", 1)],
        ),
        action(
            "forward",
            "Towards the labelled switch by this port",
            vec![port()],
            vec![Op::Output(param("port"))],
        ),
        action(
            "no_labels",
            "A port to a host",
            none(),
            vec![drop(drops::LABEL_LEAK), Op::Exit],
        ),
    ]
}

fn none() -> Vec<Param> {
    Vec::new()
}

// === control ===

fn port_is(kind: u128) -> Expr {
    eq(field("meta.port_kind"), number(kind, 2))
}

pub(super) fn ingress() -> Control {
    let to_all = || field("meta.to_all");
    let mut steps = vec![
        Step::Run(packet_out()),
        Step::Run(prepare()),
        Step::apply("port_in"),
        Step::apply(flows::TABLE),
        groups::steps(),
        Step::when(
            is_zero(field("meta.port_kind")),
            vec![
                Step::when(to_all(), vec![Step::Run(flood_everywhere())]),
                Step::drop(drops::NO_NETWORK),
            ],
        ),
        Step::either(port_is(port_kind::LINK), from_link(), edge::from_host()),
        Step::when(is_zero(field("meta.node_label")), edge::deliver()),
    ];
    // Whoever gets here has a node label.
    steps.push(Step::apply_or_drop("node_paths", drops::NO_PATH));
    control(steps)
}

/// What the controller addressed to a port leaves by it untouched.
fn packet_out() -> Vec<Op> {
    vec![when(
        not_zero(field("meta.packet_out_port"), 32),
        vec![Op::Output(field("meta.packet_out_port")), Op::Exit],
    )]
}

/// Without a fabric, `flood` is what a hub does.
fn flood_everywhere() -> Vec<Op> {
    let mut ops = strip_fabric();
    ops.extend([Op::Flood, Op::Exit]);
    ops
}

/// What is known from the headers.
fn prepare() -> Vec<Op> {
    let mut ops = summary();
    ops.push(when(valid("fabric_eth"), vec![network_of_labels()]));
    ops
}

/// What one of several headers says, in one place.
pub(super) fn summary() -> Vec<Op> {
    vec![
        copy("meta.eth_type", "eth.type"),
        when(
            valid("vlan[0]"),
            vec![
                copy("meta.eth_type", "vlan[0].type"),
                when(
                    valid("vlan[1]"),
                    vec![
                        copy("meta.eth_type", "vlan[1].type"),
                        when(
                            valid("vlan[2]"),
                            vec![copy("meta.eth_type", "vlan[2].type")],
                        ),
                    ],
                ),
            ],
        ),
        either(
            valid("ipv4"),
            vec![
                when(
                    field("std.l3"),
                    vec![set("meta.eth_type", number(headers::IPV4, 16))],
                ),
                copy("meta.ip_proto", "ipv4.proto"),
                copy("meta.ip_dscp", "ipv4.dscp"),
                copy("meta.fragment", "ipv4.fragment"),
                set(
                    "meta.is_fragment",
                    any([
                        not_zero(field("ipv4.fragment"), 13),
                        bit(field("ipv4.flags"), 0, 3),
                    ]),
                ),
            ],
            vec![when(
                valid("ipv6"),
                vec![
                    when(
                        field("std.l3"),
                        vec![set("meta.eth_type", number(headers::IPV6, 16))],
                    ),
                    copy("meta.ip_proto", "ipv6.next_header"),
                    copy("meta.ip_dscp", "ipv6.dscp"),
                    extensions(),
                ],
            )],
        ),
        // All fragments of a packet stay on one path, and only the first has ports.
        when(
            not(field("meta.is_fragment")),
            vec![either(
                valid("tcp"),
                vec![
                    copy("meta.l4_src", "tcp.src"),
                    copy("meta.l4_dst", "tcp.dst"),
                ],
                vec![
                    copy("meta.l4_src", "udp.src"),
                    copy("meta.l4_dst", "udp.dst"),
                ],
            )],
        ),
    ]
}

/// The protocol is what the last extension header says that follows; one of them may make this a fragment.
fn extensions() -> Op {
    (0..headers::MAX_EXTENSIONS)
        .rev()
        .fold(None, |later: Option<Op>, index| {
            let element = format!("ext[{index}]");
            let is_fragment = eq(field("meta.ip_proto"), number(headers::FRAGMENT_PROTO, 8));
            let mut ops = vec![
                when(
                    is_fragment,
                    vec![
                        set("meta.is_fragment", number(1, 1)),
                        copy("meta.fragment", &format!("{element}.fragment")),
                    ],
                ),
                copy("meta.ip_proto", &format!("{element}.next_header")),
            ];
            ops.extend(later);
            Some(when(valid(&element), ops))
        })
        .expect("there is room for extension headers")
}

/// The label at the bottom names the network.
fn network_of_labels() -> Op {
    (0..headers::MAX_LABELS)
        .rev()
        .map(|index| format!("mpls[{index}]"))
        .fold(None, |deeper: Option<Op>, element| {
            let label = format!("{element}.label");
            let named = when(bit(field(&label), 19, 20), vec![set_vni(&label)]);
            let bottom = bit_field(&format!("{element}.bos"));
            Some(match deeper {
                None => when(bottom, vec![named]),
                Some(deeper) => either(bottom, vec![named], vec![deeper]),
            })
        })
        .expect("a stack has elements")
}

fn bit_field(name: &str) -> Expr {
    ne(field(name), number(0, 1))
}

fn set_vni(label: &str) -> Op {
    let number_bits = number((super::VNI_LABEL - 1).into(), 20);
    set("meta.vni", cast(24, bits_and(field(label), number_bits)))
}

/// A frame from another switch either ends here or goes on by its label.
fn from_link() -> Vec<Step> {
    let network_on_top = all([
        bit(field("mpls[0].label"), 19, 20),
        bit_field("mpls[0].bos"),
        valid("cw"),
    ]);
    // What a flow here floods, and what another edge floods, goes to all hosts here.
    let flooded = when(
        is_copy_for_all("mpls[0].tc"),
        vec![set("meta.to_all", number(1, 1))],
    );
    let mut take_off = vec![flooded];
    take_off.extend(strip_fabric());
    take_off.push(set("meta.from_fabric", number(1, 1)));
    vec![
        Step::drop_if(not(valid("fabric_eth")), drops::UNLABELLED),
        Step::either(
            field("meta.to_all"),
            vec![Step::Run(take_off.clone())],
            vec![
                Step::apply("my_label"),
                Step::either(
                    network_on_top,
                    vec![Step::Run(take_off)],
                    vec![
                        Step::drop_if(
                            any([not(valid("mpls[0]")), bit(field("mpls[0].label"), 19, 20)]),
                            drops::BAD_FABRIC_FRAME,
                        ),
                        Step::drop_if(le(field("mpls[0].ttl"), number(1, 8)), drops::LABEL_TTL),
                        Step::Run(vec![
                            set("mpls[0].ttl", sub(field("mpls[0].ttl"), number(1, 8))),
                            copy("meta.node_label", "mpls[0].label"),
                        ]),
                        // Labels 0 to 15 mean something of their own (RFC 3032 §2.1), nothing here.
                        Step::drop_if(
                            is_zero(shr(field("meta.node_label"), 4)),
                            drops::BAD_FABRIC_FRAME,
                        ),
                    ],
                ),
            ],
        ),
    ]
}

fn is_copy_for_all(traffic_class: &str) -> Expr {
    eq(field(traffic_class), number(COPY_FOR_ALL, 3))
}

pub(super) fn egress() -> Control {
    // A replica for another edge; only the fabric's own floods have such.
    let replica = all([not_zero(field("std.instance"), 16), field("meta.flood")]);
    // What a layer-3 port can carry, and what others can: addresses are not invented here.
    // VLAN 0 is a priority and no VLAN (IEEE 802.1Q §9.6).
    let bare_ip = all([
        any([valid("ipv4"), valid("ipv6")]),
        is_zero(field("vlan[0].vid")),
        not(valid("vlan[1]")),
        not(valid("fabric_eth")),
    ]);
    let mut copy_for_all = push_fabric(cast(20, field("std.instance")));
    copy_for_all.push(set("mpls[1].tc", number(COPY_FOR_ALL, 3)));
    control(vec![
        Step::either(
            field("std.egress_l3"),
            vec![
                Step::drop_if(not(bare_ip), drops::NOT_IP),
                Step::Run(vec![
                    Op::SetInvalid("eth".into()),
                    when(valid("vlan[0]"), vec![pop("vlan", 1)]),
                ]),
            ],
            vec![Step::drop_if(not(valid("eth")), drops::NO_ETHERNET)],
        ),
        Step::when(replica, vec![Step::Run(copy_for_all)]),
        Step::either(
            valid("fabric_eth"),
            vec![Step::apply("port_out")],
            vec![Step::apply("acl_out")],
        ),
    ])
}
