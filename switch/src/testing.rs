//! What the core's tests share: a small router as a pipeline, entries by name, packets.

mod short;

use std::collections::BTreeMap;
use std::sync::Arc;

use etherparse::PacketBuilder;
use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, MulticastGroup, MulticastGroupId, PortNo, Replica,
    TableAction, TableEntry,
};

use crate::datapath::{Datapath, Emit, Nanos, Scratch};
use crate::ir::{self, *};
use crate::packet::Packet;
use crate::ports::{PortInfo, PortSet};
use crate::program::Program;
use crate::state::State;

pub(crate) use short::*;

/// The router's own address.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xff];
/// Another host's.
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

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
            ir::State {
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

pub(crate) fn mac_bits(mac: [u8; 6]) -> u128 {
    mac.iter()
        .fold(0, |bits, byte| bits << 8 | u128::from(*byte))
}

/// A router with ports 1 to 4, and what it does to packets.
pub(crate) struct Bench {
    pub(crate) datapath: Datapath,
    pub(crate) scratch: Scratch,
    pub(crate) now: Nanos,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(router())
    }

    pub(crate) fn with(pipeline: Pipeline) -> Self {
        let program = Program::new(pipeline).unwrap();
        let port = PortInfo {
            mtu: 1500,
            up: true,
            is_l2: true,
        };
        Self {
            datapath: Datapath {
                device: DeviceId(1),
                state: State::new(Arc::new(program)),
                ports: (1..=4)
                    .map(|number| (PortNo(number), port))
                    .collect::<PortSet>(),
                salt: 7,
            },
            scratch: Scratch::default(),
            now: Nanos(1),
        }
    }

    /// An entry by names; arguments in the order of declaration.
    pub(crate) fn entry(
        &self,
        table: &str,
        matches: &[(&str, FieldMatch)],
        priority: i32,
        action: &str,
        args: &[u128],
    ) -> TableEntry {
        let schema = self.datapath.state.program().schema();
        let table = schema.table_by_name(table).unwrap();
        let matches = matches
            .iter()
            .map(|(name, found)| (table.field_by_name(name).unwrap().id, *found))
            .collect();
        TableEntry {
            key: EntryKey {
                table: table.id,
                matches,
                priority,
            },
            action: Some(TableAction::Call(self.call(action, args))),
            metadata: vec![],
            is_default: false,
            idle_timeout_ns: 0,
        }
    }

    pub(crate) fn call(&self, action: &str, args: &[u128]) -> ActionCall {
        let schema = self.datapath.state.program().schema();
        let action = schema.action_by_name(action).unwrap();
        let params = action.params.iter().zip(args);
        ActionCall {
            action: action.id,
            params: params.map(|(param, value)| (param.id, *value)).collect(),
        }
    }

    /// Installs an entry.
    pub(crate) fn install(
        &mut self,
        table: &str,
        matches: &[(&str, FieldMatch)],
        priority: i32,
        action: &str,
        args: &[u128],
    ) -> TableEntry {
        let entry = self.entry(table, matches, priority, action, args);
        self.datapath.state.insert(&entry).unwrap();
        entry
    }

    /// Everything to [`HOST_MAC`] leaves by a port.
    pub(crate) fn bridge_to(&mut self, port: u128) -> TableEntry {
        let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
        self.install("bridge", &[("dst", dst)], 0, "forward", &[port])
    }

    pub(crate) fn group(&mut self, id: u32, replicas: &[(u32, u16)]) {
        let replicas = replicas.iter().map(|&(port, instance)| Replica {
            port: PortNo(port),
            instance,
        });
        let group = MulticastGroup {
            id: MulticastGroupId(id),
            replicas: replicas.collect(),
            metadata: vec![],
            ..MulticastGroup::default()
        };
        self.datapath.state.insert_group(&group).unwrap();
    }

    pub(crate) fn send(&mut self, port: u32, packet: Packet) -> Vec<Emit> {
        let mut out = Vec::new();
        self.datapath
            .process(&mut self.scratch, PortNo(port), packet, self.now, &mut out);
        out
    }

    /// Where copies went with which bytes; drops by name at port 0.
    pub(crate) fn sent(&mut self, port: u32, packet: Packet) -> Vec<(u32, Vec<u8>)> {
        let out = self.send(port, packet);
        let program = self.datapath.state.program();
        out.into_iter()
            .map(|emit| match emit {
                Emit::Port { port, packet } => (port.0, packet.to_vec()),
                Emit::PacketIn { packet, .. } => (PortNo::CPU.0, packet.to_vec()),
                Emit::Dropped { reason } => (0, program.drop_name(reason).as_bytes().to_vec()),
            })
            .collect()
    }

    /// The reason for which one packet is dropped, nothing else coming out.
    pub(crate) fn dropped(&mut self, port: u32, packet: Packet) -> String {
        match self.sent(port, packet).as_slice() {
            [(0, reason)] => String::from_utf8(reason.clone()).unwrap(),
            other => panic!("no drop: {other:?}"),
        }
    }

    /// The one packet that leaves.
    pub(crate) fn forwarded(&mut self, port: u32, packet: Packet) -> (u32, Packet) {
        match self.send(port, packet).pop() {
            Some(Emit::Port { port, packet }) => (port.0, packet),
            other => panic!("not forwarded: {other:?}"),
        }
    }
}

/// An Ethernet frame with TCP over IPv4.
pub(crate) fn tcp4(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv4([10, 0, 0, 1], [10, 0, 1, 2], 64)
        .tcp(1234, 80, 1000, 512)
        .psh()
        .ack(7);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// An Ethernet frame with UDP over IPv4.
pub(crate) fn udp4(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv4([10, 0, 0, 1], [10, 0, 1, 2], 64)
        .udp(1234, 53);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// An Ethernet frame with TCP over IPv6.
pub(crate) fn tcp6(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv6([0x20; 16], [0x30; 16], 64)
        .tcp(1234, 80, 1000, 512)
        .ack(7);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// An Ethernet frame with UDP over IPv6.
pub(crate) fn udp6(dst: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], dst)
        .ipv6([0x20; 16], [0x30; 16], 64)
        .udp(1234, 53);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}
