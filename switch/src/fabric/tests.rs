//! The pipeline on its own; whole networks of it are tested with the compile that programs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use weft_proto::schema::{Schema, annotations};
use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, MulticastGroup, MulticastGroupId, PortNo, Replica,
    TableAction, TableEntry, WeightedAction,
};

mod groups;

use super::*;
use crate::datapath::{Datapath, Emit, Nanos, Scratch};
use crate::packet::Packet;
use crate::ports::{PortInfo, PortSet};
use crate::program::Program;
use crate::state::State;
use crate::vnet::VnetHdr;

fn program() -> Program {
    Program::new(pipeline()).unwrap()
}

fn arguments<'a>(notes: &'a [String], name: &'a str) -> Vec<&'a str> {
    annotations::get(notes, name).collect()
}

#[test]
fn the_pipeline_is_valid_and_survives_json() {
    let pipeline = pipeline();
    let json = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
    program();
}

#[test]
fn prerequisites_name_fields_of_the_table_and_never_run_in_circles() {
    let program = program();
    let table = program.schema().table_by_name("flows").unwrap();
    let requires: BTreeMap<&str, BTreeSet<&str>> = table
        .fields
        .iter()
        .map(|field| {
            let fields = arguments(&field.annotations, "requires")
                .into_iter()
                .map(|text| text.split_once('=').unwrap().0)
                .collect();
            (field.name.as_str(), fields)
        })
        .collect();
    for name in requires.keys() {
        let (mut open, mut seen) = (vec![*name], BTreeSet::new());
        while let Some(field) = open.pop() {
            for needed in &requires[field] {
                assert_ne!(needed, name, "needs itself");
                if seen.insert(*needed) {
                    open.push(needed);
                }
            }
        }
    }
    assert_eq!(
        requires["icmpv4_type"],
        BTreeSet::from(["eth_type", "ip_proto"])
    );
    assert_eq!(requires["tcp_dst"], BTreeSet::from(["ip_proto"]));
    assert_eq!(
        requires["icmpv6_type"],
        BTreeSet::from(["eth_type", "ip_proto"])
    );
    assert_eq!(requires["ipv6_dst"], BTreeSet::from(["eth_type"]));
}

#[test]
fn each_edit_has_a_bit_of_its_own_and_each_settable_field_can_be_matched() {
    let program = program();
    let schema = program.schema();
    let edit = schema.action_by_name("flow_edit").unwrap();
    let table = schema.table_by_name("flows").unwrap();
    let mut bits = BTreeSet::new();
    for param in &edit.params {
        for kind in ["bit", "set"] {
            for argument in arguments(&param.annotations, kind) {
                let (name, bit) = argument.split_once(',').unwrap();
                let bit: u16 = bit.parse().unwrap();
                assert!(bit < 32 && bits.insert(bit), "{name}");
                if let ("set", Some(field)) = (kind, table.field_by_name(name)) {
                    assert_eq!(
                        (field.bits, &field.format),
                        (param.bits, &param.format),
                        "{name}"
                    );
                }
            }
        }
    }
    assert_eq!(bits.len(), 4 + 19);
}

#[test]
fn every_flow_action_says_what_it_is() {
    let program = program();
    let schema = program.schema();
    let table = schema.table_by_name("flows").unwrap();
    let mut kinds: Vec<_> = table
        .actions
        .iter()
        .flat_map(|action| {
            let action = schema.action(action.id).unwrap();
            arguments(&action.annotations, "weft_flow")
        })
        .collect();
    kinds.sort_unstable();
    let all = [
        "controller",
        "drop",
        "edit",
        "flood",
        "group",
        "multicast",
        "normal",
        "output",
    ];
    assert_eq!(kinds, all);
}

#[test]
fn a_switch_without_entries_drops_everything_by_name() {
    let program = Arc::new(program());
    let datapath = datapath(State::new(Arc::clone(&program)));
    let mut out = Vec::new();
    let packet = Packet::from_bytes(&[0xff; 60]);
    datapath.process(
        &mut Scratch::default(),
        PortNo(1),
        packet,
        Nanos(0),
        &mut out,
    );
    let [Emit::Dropped { reason }] = out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(program.drop_name(reason), drops::NO_NETWORK);
}

// === any bytes ===

fn datapath(state: State) -> Datapath {
    let info = |is_l2| PortInfo {
        mtu: 1500,
        up: true,
        is_l2,
    };
    let ports = [(1, true), (2, true), (3, true), (4, false)];
    Datapath {
        device: DeviceId(1),
        state,
        ports: PortSet::from_iter(ports.map(|(port, is_l2)| (PortNo(port), info(is_l2)))),
        salt: 1,
    }
}

fn entry(
    schema: &Schema,
    table: &str,
    matches: &[(&str, u128)],
    (action, args): (&str, &[u128]),
) -> TableEntry {
    let table = schema.table_by_name(table).unwrap();
    let action = schema.action_by_name(action).unwrap();
    let call = ActionCall {
        action: action.id,
        params: action
            .params
            .iter()
            .map(|param| param.id)
            .zip(args.iter().copied())
            .collect(),
    };
    let exact = |(name, value): &(&str, u128)| {
        let field = table.field_by_name(name).unwrap();
        let value = match field.kind {
            weft_proto::vocab::MatchKind::Lpm => FieldMatch::Lpm {
                value: *value,
                prefix_len: 8,
            },
            _ => FieldMatch::Exact(*value),
        };
        (field.id, value)
    };
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches: matches.iter().map(exact).collect(),
            priority: 0,
        },
        action: Some(match table.profile {
            None => TableAction::Call(call),
            Some(_) => TableAction::OneShot(vec![WeightedAction {
                call,
                weight: 1,
                watch_port: None,
            }]),
        }),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}

const ROUTER: u128 = 0x0200_0000_00fe;
const HOST: u128 = 0x0200_0000_0001;
const ADDRESS: u128 = 0x0a00_0001;
const ADDRESS6: u128 = 0xfd00_0000_0000_0000_0000_0000_0000_0001;

/// Ports 1 and 4 to hosts, 2 and 3 to switches.
fn edge() -> Datapath {
    let program = Arc::new(program());
    let schema = program.schema();
    let entries = [
        entry(
            schema,
            "port_in",
            &[("in_port", 1)],
            ("host_port", &[1, ROUTER, ADDRESS + 1, ADDRESS6 + 1]),
        ),
        entry(
            schema,
            "port_in",
            &[("in_port", 4)],
            ("host_port", &[1, ROUTER, ADDRESS + 1, ADDRESS6 + 1]),
        ),
        entry(schema, "port_in", &[("in_port", 2)], ("link_port", &[])),
        entry(schema, "port_in", &[("in_port", 3)], ("link_port", &[])),
        entry(
            schema,
            "port_out",
            &[("egress_port", 1)],
            ("no_labels", &[]),
        ),
        entry(schema, "my_label", &[("label", 16)], ("pop_label", &[])),
        entry(schema, "node_paths", &[("label", 17)], ("forward", &[2])),
        // A mistake that the guard at the port must catch.
        entry(schema, "node_paths", &[("label", 18)], ("forward", &[1])),
        entry(
            schema,
            "routes",
            &[("vni", 1), ("dst", 10 << 24)],
            ("connected", &[]),
        ),
        entry(
            schema,
            "neighbors",
            &[("vni", 1), ("ip", ADDRESS)],
            ("neighbor", &[HOST, 80]),
        ),
        entry(
            schema,
            "neighbors",
            &[("vni", 1), ("ip", ADDRESS + 1)],
            ("gateway", &[]),
        ),
        entry(
            schema,
            "routes6",
            &[("vni", 1), ("dst", 0xfd << 120)],
            ("connected", &[]),
        ),
        entry(
            schema,
            "neighbors6",
            &[("vni", 1), ("ip", ADDRESS6)],
            ("neighbor", &[HOST, 80]),
        ),
        entry(
            schema,
            "neighbors6",
            &[("vni", 1), ("ip", ADDRESS6 + 1)],
            ("gateway", &[]),
        ),
        entry(
            schema,
            "fdb",
            &[("vni", 1), ("dst", HOST)],
            ("to_edge", &[17]),
        ),
        entry(
            schema,
            "fdb",
            &[("vni", 1), ("dst", HOST + 1)],
            ("to_port", &[1]),
        ),
        entry(
            schema,
            "flood",
            &[("vni", 1), ("from_fabric", 0)],
            ("flood_to", &[2]),
        ),
        entry(
            schema,
            "flood",
            &[("vni", 1), ("from_fabric", 1)],
            ("flood_to", &[3]),
        ),
    ];
    let mut state = State::new(Arc::clone(&program));
    for entry in &entries {
        state.insert(entry).unwrap();
    }
    let replica = |port, instance| Replica {
        port: PortNo(port),
        instance,
    };
    let groups = [
        (2, vec![replica(1, 0), replica(2, 17), replica(4, 0)]),
        (3, vec![replica(1, 0), replica(4, 0)]),
    ];
    for (id, replicas) in groups {
        let id = MulticastGroupId(id);
        let metadata = Vec::new();
        state
            .insert_group(&MulticastGroup {
                id,
                replicas,
                metadata,
                ..MulticastGroup::default()
            })
            .unwrap();
    }
    datapath(state)
}

#[test]
fn labels_never_leave_to_a_host_even_by_a_wrong_entry() {
    let datapath = edge();
    let mut frame = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0x47].to_vec();
    frame.extend_from_slice(&[0, 1, 0x20, 64, 0x80, 0, 0x11, 64, 0, 0, 0, 0]);
    frame.resize(90, 0);
    let mut out = Vec::new();
    let packet = Packet::from_bytes(&frame);
    datapath.process(
        &mut Scratch::default(),
        PortNo(2),
        packet,
        Nanos(0),
        &mut out,
    );
    let [Emit::Dropped { reason }] = out[..] else {
        panic!("{out:?}");
    };
    let program = datapath.state.program();
    assert_eq!(program.drop_name(reason), drops::LABEL_LEAK);
}

/// Frames that get deep into the pipeline more often than noise does.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let mac = prop_oneof![
        Just(HOST),
        Just(HOST + 1),
        Just(ROUTER),
        Just(0xffff_ffff_ffff),
        0..1u128 << 48
    ];
    let kind = prop_oneof![
        Just(vec![0x08, 0x00, 0x45]),
        Just(vec![0x08, 0x00, 0x4f]),
        Just(vec![0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]),
        Just(vec![0x86, 0xdd, 0x60]),
        ipv4_packet(),
        ipv6_packet(),
        Just(vec![0x81, 0x00, 0, 1, 0x88, 0xa8, 0, 2, 0x08, 0x00, 0x45]),
        Just(vec![
            0x88, 0x47, 0, 1, 0, 0x40, 0x80, 0, 0x11, 0x40, 0, 0, 0, 0
        ]),
        Just(vec![
            0x88, 0x47, 0, 1, 0x10, 0x40, 0x80, 0, 0x11, 0x40, 0, 0, 0, 0
        ]),
        any::<[u8; 2]>().prop_map(Vec::from),
    ];
    let noise = || proptest::collection::vec(any::<u8>(), 0..120);
    let shaped = (mac, kind, noise()).prop_map(|(dst, kind, rest)| {
        [&dst.to_be_bytes()[10..], &[2, 0, 0, 0, 0, 5], &kind, &rest].concat()
    });
    prop_oneof![1 => noise(), 8 => shaped]
}

/// Headers that reach routing, errors and fragmentation; what is noise may follow.
fn ipv4_packet() -> impl Strategy<Value = Vec<u8>> {
    let dst = prop_oneof![Just(ADDRESS), Just(ADDRESS + 1), 0..1u128 << 32];
    let ihl = prop_oneof![4 => Just(5), 1 => 0..16u8];
    let proto = prop_oneof![Just(1), Just(6), Just(17), any::<u8>()];
    let word = prop_oneof![Just(0), Just(0x4000), any::<u16>()];
    (ihl, any::<u16>(), word, 0..3u8, proto, dst).prop_map(|(ihl, len, word, ttl, proto, dst)| {
        let head = [
            &[8, 0, 0x40 | ihl, 0][..],
            &(len % 200).to_be_bytes(),
            &[0, 9],
        ]
        .concat();
        let rest = [&word.to_be_bytes()[..], &[ttl, proto, 0, 0, 10, 0, 0, 7]].concat();
        [&head[..], &rest, &dst.to_be_bytes()[12..]].concat()
    })
}

fn ipv6_packet() -> impl Strategy<Value = Vec<u8>> {
    let dst = prop_oneof![Just(ADDRESS6), Just(ADDRESS6 + 1), any::<u128>()];
    let proto = || {
        prop_oneof![
            Just(0u8),
            Just(44),
            Just(58),
            Just(60),
            Just(17),
            any::<u8>()
        ]
    };
    let hops = prop_oneof![Just(0u8), Just(1), Just(2), Just(255)];
    let chain = proptest::collection::vec((proto(), 0..3u8, any::<[u8; 6]>()), 0..10);
    (dst, proto(), hops, 0..200u16, chain).prop_map(|(dst, proto, hops, len, chain)| {
        let head = [&[0x86, 0xdd, 0x60, 0, 0, 0][..], &len.to_be_bytes()].concat();
        let src = ADDRESS6 + 6;
        let mut bytes = [&head[..], &[proto, hops]].concat();
        bytes.extend([src, dst].map(u128::to_be_bytes).concat());
        for (next, length, body) in chain {
            bytes.extend([&[next, length][..], &body].concat());
            bytes.extend(vec![0; usize::from(length) * 8]);
        }
        bytes
    })
}

fn vnet() -> impl Strategy<Value = VnetHdr> {
    let small = || prop_oneof![Just(0u16), 0..120u16, any::<u16>()];
    let kind = prop_oneof![Just(0u8), Just(1), Just(4), Just(5), any::<u8>()];
    (any::<u8>(), kind, small(), small(), small(), small()).prop_map(
        |(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)| VnetHdr {
            flags,
            gso_type,
            hdr_len,
            gso_size,
            csum_start,
            csum_offset,
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_under_any_offload_header_end_somewhere(
        packets in proptest::collection::vec((frame(), vnet(), any::<bool>(), 1u32..6), 32)
    ) {
        let datapath = edge();
        let mut scratch = Scratch::default();
        for (bytes, vnet, plain, port) in packets {
            let mut packet = Packet::from_bytes(&bytes);
            if !plain {
                packet.vnet = vnet;
            }
            let mut out = Vec::new();
            datapath.process(&mut scratch, PortNo(port), packet, Nanos(0), &mut out);
            prop_assert!(!out.is_empty());
            for emit in out {
                if let Emit::Port { port: PortNo(1 | 4), packet } = emit {
                    prop_assert_ne!(packet.head().get(12..14), Some(&[0x88, 0x47][..]));
                }
            }
        }
    }
}
