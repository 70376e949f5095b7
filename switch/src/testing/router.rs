//! A small router and bridge as a pipeline, which uses every kind of table.

use std::collections::BTreeMap;

use weft_proto::vocab::PortNo;

use super::short::*;
use super::{ROUTER_MAC, mac_bits};
use crate::ir::*;

/// A router and bridge with every kind of table.
pub(crate) fn router() -> Pipeline {
    Pipeline {
        name: "router".into(),
        version: "1".into(),
        headers: vec![
            header("ethernet", &[("dst", 48), ("src", 48), ("type", 16)], 0),
            header(
                "vlan",
                &[("pcp", 3), ("dei", 1), ("vid", 12), ("type", 16)],
                0,
            ),
            header(
                "mpls",
                &[("label", 20), ("tc", 3), ("bos", 1), ("ttl", 8)],
                0,
            ),
            header(
                "ipv4",
                &[
                    ("version", 4),
                    ("ihl", 4),
                    ("tos", 8),
                    ("total_length", 16),
                    ("id", 16),
                    ("fragment", 16),
                    ("ttl", 8),
                    ("proto", 8),
                    ("checksum", 16),
                    ("src", 32),
                    ("dst", 32),
                ],
                40,
            ),
            header(
                "ipv6",
                &[
                    ("version", 4),
                    ("class", 8),
                    ("flow", 20),
                    ("payload_length", 16),
                    ("next", 8),
                    ("hops", 8),
                    ("src", 128),
                    ("dst", 128),
                ],
                0,
            ),
            header(
                "tcp",
                &[
                    ("src", 16),
                    ("dst", 16),
                    ("seq", 32),
                    ("ack", 32),
                    ("offset", 4),
                    ("flags", 12),
                    ("window", 16),
                    ("checksum", 16),
                    ("urgent", 16),
                ],
                0,
            ),
            header(
                "udp",
                &[("src", 16), ("dst", 16), ("length", 16), ("checksum", 16)],
                0,
            ),
        ],
        instances: vec![
            instance("outer", "ethernet", None),
            instance("mpls", "mpls", Some(3)),
            instance("eth", "ethernet", None),
            instance("vlan", "vlan", Some(2)),
            instance("ipv4", "ipv4", None),
            instance("ipv6", "ipv6", None),
            instance("tcp", "tcp", None),
            instance("udp", "udp", None),
        ],
        metadata: vec![
            bits("vrf", 12),
            bits("dport", 16),
            bits("reason", 8),
            bits("out", 32),
        ],
        parser: parser(),
        actions: actions(),
        selectors: vec![Selector {
            name: "spread".into(),
            hash: strings(&["ipv4.src", "ipv4.dst", "ipv4.proto", "tcp.src", "tcp.dst"]),
            size: 100,
            max_group_size: 10,
            ..Selector::default()
        }],
        tables: tables(),
        meters: Vec::new(),
        counters: Vec::new(),
        ingress: ingress(),
        egress: Control {
            start: Some("out".into()),
            nodes: vec![apply("out", None)],
        },
        deparser: strings(&["outer", "mpls", "eth", "vlan", "ipv4", "ipv6", "tcp", "udp"]),
        checksums: vec![
            Checksum {
                field: "ipv4.checksum".into(),
                covers: strings(&[
                    "ipv4.version",
                    "ipv4.ihl",
                    "ipv4.tos",
                    "ipv4.total_length",
                    "ipv4.id",
                    "ipv4.fragment",
                    "ipv4.ttl",
                    "ipv4.proto",
                    "ipv4.src",
                    "ipv4.dst",
                ]),
                pseudo: Vec::new(),
                offloadable: false,
                zero_is_none: false,
                payload: false,
            },
            transport_checksum("tcp", false),
            transport_checksum("udp", true),
        ],
        uncounted_instances: strings(&["outer", "mpls"]),
        link_instances: strings(&["eth", "vlan"]),
        packet_in: vec![
            controller("port", "std.in_port"),
            controller("reason", "meta.reason"),
        ],
        packet_out: vec![controller("egress", "meta.out")],
    }
}

fn transport_checksum(name: &str, zero_is_none: bool) -> Checksum {
    Checksum {
        field: format!("{name}.checksum"),
        covers: vec![format!("{name}.src"), format!("{name}.dst")],
        pseudo: strings(&["ipv4.src", "ipv4.dst", "ipv6.src", "ipv6.dst"]),
        offloadable: true,
        zero_is_none,
        payload: false,
    }
}

fn parser() -> Parser {
    let ip = [(4, "ipv4"), (6, "ipv6")];
    Parser {
        start: "start".into(),
        states: vec![
            state(
                "start",
                &[],
                &[SelectKey::Field("std.l3".into())],
                &[(1, "ip")],
                "link",
            ),
            state("link", &[], &[ahead(96, 16)], &[(0x8847, "outer")], "eth"),
            state("outer", &["outer"], &[], &[], "label"),
            state(
                "label",
                &["mpls.next"],
                &[SelectKey::Field("mpls.last.bos".into())],
                &[(0, "label")],
                "eth",
            ),
            state(
                "eth",
                &["eth"],
                &[SelectKey::Field("eth.type".into())],
                &[(0x8100, "vlan"), (0x0800, "ipv4"), (0x86dd, "ipv6")],
                "accept",
            ),
            state(
                "vlan",
                &["vlan.next"],
                &[SelectKey::Field("vlan.last.type".into())],
                &[(0x8100, "vlan"), (0x0800, "ipv4"), (0x86dd, "ipv6")],
                "accept",
            ),
            state("ip", &[], &[ahead(0, 4)], &ip, "reject"),
            State {
                extract: vec![Extract {
                    instance: "ipv4".into(),
                    // (ihl - 5) * 4
                    var_length: Some(op(
                        BinaryOp::Shl,
                        op(BinaryOp::Sub, cast(8, field("ipv4.ihl")), number(5, 8)),
                        number(2, 8),
                    )),
                }],
                ..state(
                    "ipv4",
                    &[],
                    &[SelectKey::Field("ipv4.proto".into())],
                    &[(6, "tcp"), (17, "udp")],
                    "accept",
                )
            },
            state(
                "ipv6",
                &["ipv6"],
                &[SelectKey::Field("ipv6.next".into())],
                &[(6, "tcp"), (17, "udp")],
                "accept",
            ),
            state("tcp", &["tcp"], &[], &[], "accept"),
            state("udp", &["udp"], &[], &[], "accept"),
        ],
    }
}

fn actions() -> Vec<Action> {
    vec![
        action("forward", &[("port", 32)], vec![Op::Output(param("port"))]),
        action("flood", &[], vec![Op::Flood]),
        action(
            "copy",
            &[("group", 32)],
            vec![Op::Multicast(param("group"))],
        ),
        action(
            "punt",
            &[("reason", 8)],
            vec![set("meta.reason", param("reason")), Op::ToController],
        ),
        action("deny", &[], vec![Op::Drop("denied".into()), Op::Exit]),
        action("pass", &[], vec![]),
        action(
            "route",
            &[("port", 32), ("mac", 48)],
            vec![
                set("eth.dst", param("mac")),
                set(
                    "ipv4.ttl",
                    op(BinaryOp::Sub, field("ipv4.ttl"), number(1, 8)),
                ),
                Op::Output(param("port")),
            ],
        ),
        action(
            "translate",
            &[("src", 32), ("port", 16)],
            vec![
                set("ipv4.src", param("src")),
                set("tcp.src", param("port")),
                set("udp.src", param("port")),
            ],
        ),
        action(
            "label",
            &[("label", 20)],
            vec![
                Op::SetValid("outer".into()),
                set("outer.type", number(0x8847, 16)),
                Op::Push {
                    stack: "mpls".into(),
                    count: 1,
                },
                set("mpls[0].label", param("label")),
                set(
                    "mpls[0].bos",
                    Expr::Unary(UnaryOp::Not, Box::new(Expr::Valid("mpls[1]".into()))),
                ),
                set("mpls[0].ttl", number(64, 8)),
            ],
        ),
        action(
            "unlabel",
            &[],
            vec![
                Op::Pop {
                    stack: "mpls".into(),
                    count: 1,
                },
                Op::If {
                    cond: Expr::Unary(UnaryOp::Not, Box::new(Expr::Valid("mpls[0]".into()))),
                    then: vec![Op::SetInvalid("outer".into())],
                    otherwise: vec![],
                },
            ],
        ),
        action(
            "tag",
            &[("vid", 12)],
            vec![
                Op::Push {
                    stack: "vlan".into(),
                    count: 1,
                },
                set("vlan[0].vid", param("vid")),
                set("vlan[0].type", field("eth.type")),
                set("eth.type", number(0x8100, 16)),
            ],
        ),
    ]
}

fn tables() -> Vec<Table> {
    let dport = key("dport", field("meta.dport"), KeyKind::Range);
    vec![
        Table {
            keys: vec![
                key("src", field("ipv4.src"), KeyKind::Ternary),
                key("dst", field("ipv6.dst"), KeyKind::Ternary),
                key("proto", field("ipv4.proto"), KeyKind::Optional),
                dport,
            ],
            counters: true,
            ..table("acl", &["deny", "pass", "punt"], 4096)
        },
        Table {
            keys: vec![
                key("src", field("ipv4.src"), KeyKind::Exact),
                key("port", field("meta.dport"), KeyKind::Exact),
            ],
            counters: true,
            ..table("nat", &["translate", "pass"], 4096)
        },
        Table {
            keys: vec![
                key("vrf", field("meta.vrf"), KeyKind::Exact),
                key("dst", field("ipv4.dst"), KeyKind::Lpm),
            ],
            default_action: Some(Call {
                action: "deny".into(),
                args: BTreeMap::new(),
            }),
            counters: true,
            idle_timeout: true,
            ..table("routes", &["route", "deny"], 4096)
        },
        Table {
            keys: vec![key("dst", field("eth.dst"), KeyKind::Exact)],
            const_entries: vec![ConstEntry {
                matches: [(
                    "dst".to_owned(),
                    Masked {
                        value: 0x0180_c200_0000,
                        mask: u128::MAX,
                    },
                )]
                .into(),
                priority: 0,
                call: Call {
                    action: "deny".into(),
                    args: BTreeMap::new(),
                },
            }],
            counters: true,
            ..table(
                "bridge",
                &["forward", "flood", "copy", "punt", "deny", "unlabel"],
                4,
            )
        },
        Table {
            keys: vec![key("dst", field("eth.dst"), KeyKind::Exact)],
            selector: Some("spread".into()),
            ..table("spread", &["forward", "pass"], 16)
        },
        Table {
            keys: vec![
                key("port", field("std.egress_port"), KeyKind::Exact),
                key("instance", field("std.instance"), KeyKind::Exact),
            ],
            ..table("out", &["label", "tag", "unlabel", "deny", "pass"], 64)
        },
    ]
}

fn ingress() -> Control {
    let routed = op(
        BinaryOp::And,
        op(
            BinaryOp::Eq,
            field("eth.dst"),
            number(mac_bits(ROUTER_MAC), 48),
        ),
        Expr::Valid("ipv4".into()),
    );
    let ports = |name: &str| Op::If {
        cond: Expr::Valid(name.into()),
        then: vec![set("meta.dport", field(&format!("{name}.dst")))],
        otherwise: vec![],
    };
    let run = |name: &str, ops, next: &str| Node {
        name: name.into(),
        kind: NodeKind::Run {
            ops,
            next: Some(next.into()),
        },
    };
    let branch = |name: &str, cond, then: Option<&str>, otherwise: Option<&str>| Node {
        name: name.into(),
        kind: NodeKind::If {
            cond,
            then: then.map(Into::into),
            otherwise: otherwise.map(Into::into),
        },
    };
    let from_cpu = op(
        BinaryOp::Eq,
        field("std.in_port"),
        number(PortNo::CPU.0.into(), 32),
    );
    Control {
        start: Some("cpu".into()),
        nodes: vec![
            branch("cpu", from_cpu, Some("send"), Some("ports")),
            Node {
                name: "send".into(),
                kind: NodeKind::Run {
                    ops: vec![Op::Output(field("meta.out"))],
                    next: None,
                },
            },
            run("ports", vec![ports("tcp"), ports("udp")], "acl"),
            apply("acl", Some("nat")),
            apply("nat", Some("which")),
            branch("which", routed, Some("routes"), Some("spread")),
            apply("routes", None),
            Node {
                name: "spread".into(),
                kind: NodeKind::Table {
                    table: "spread".into(),
                    on_action: BTreeMap::new(),
                    on_hit: Some(None),
                    on_miss: None,
                    next: Some("bridge".into()),
                },
            },
            apply("bridge", None),
        ],
    }
}
