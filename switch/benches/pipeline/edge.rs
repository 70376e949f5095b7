//! An edge of the fabric with hosts at ports 1 and 4 and switches at ports 2 and 3, and packets for it.

use std::sync::Arc;

use etherparse::PacketBuilder;
use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, MatchKind, PortNo, TableAction, TableEntry,
    WeightedAction,
};
use weft_switch::datapath::Datapath;
use weft_switch::ports::{PortInfo, PortSet};
use weft_switch::program::Program;
use weft_switch::state::State;

const ROUTER: u128 = 0x0200_0000_00fe;
const HOST: u128 = 0x0200_0000_0001;
const REMOTE: u128 = 0x0200_0000_0002;

/// What happens, where the packet enters, and the packet of a flow.
pub(crate) type Case = (&'static str, u32, fn(u16) -> Vec<u8>);

/// Packets that each leave by one port.
pub(crate) const CASES: [Case; 4] = [
    ("bridged to a host here", 1, |flow| {
        udp(HOST, [10, 0, 0, 1], flow)
    }),
    ("bridged to another edge", 1, |flow| {
        udp(REMOTE, [10, 0, 0, 2], flow)
    }),
    ("routed to a host here", 1, |flow| {
        udp(ROUTER, [10, 0, 0, 1], flow)
    }),
    ("labelled, passing through", 2, labelled),
];

fn udp(dst: u128, address: [u8; 4], flow: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], mac(dst))
        .ipv4([10, 0, 0, 9], address, 64)
        .udp(flow, 53)
        .write(&mut bytes, &[0; 22])
        .expect("a vector takes bytes");
    bytes
}

fn labelled(flow: u16) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([0x88, 0x47, 0, 1, 0x10, 64, 0x80, 0, 0x11, 64, 0, 0, 0, 0]);
    bytes.extend(udp(REMOTE, [10, 0, 0, 2], flow));
    bytes
}

fn mac(bits: u128) -> [u8; 6] {
    let bytes = bits.to_be_bytes();
    [
        bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15],
    ]
}

/// The switch.
pub(crate) fn datapath() -> Datapath {
    let program = Program::new(weft_switch::fabric::pipeline()).expect("the built-in pipeline");
    let mut state = State::new(Arc::new(program));
    for (table, matches, action, args) in [
        (
            "port_in",
            &[("in_port", 1)][..],
            "host_port",
            &[1, ROUTER, 0, 0][..],
        ),
        (
            "port_in",
            &[("in_port", 4)],
            "host_port",
            &[1, ROUTER, 0, 0],
        ),
        ("port_in", &[("in_port", 2)], "link_port", &[]),
        ("port_in", &[("in_port", 3)], "link_port", &[]),
        ("port_out", &[("egress_port", 1)], "no_labels", &[]),
        ("port_out", &[("egress_port", 4)], "no_labels", &[]),
        ("my_label", &[("label", 16)], "pop_label", &[]),
        ("node_paths", &[("label", 17)], "forward", &[3]),
        ("routes", &[("vni", 1), ("dst", 10 << 24)], "connected", &[]),
        (
            "neighbors",
            &[("vni", 1), ("ip", 0x0a00_0001)],
            "neighbor",
            &[HOST, 1500],
        ),
        ("fdb", &[("vni", 1), ("dst", HOST)], "to_port", &[4]),
        ("fdb", &[("vni", 1), ("dst", REMOTE)], "to_edge", &[17]),
    ] {
        let entry = entry(&state, table, matches, action, args);
        state.insert(&entry).expect(table);
    }
    let port = PortInfo {
        mtu: 1500,
        up: true,
        is_l2: true,
    };
    Datapath {
        device: DeviceId(1),
        state,
        ports: (1..=4)
            .map(|number| (PortNo(number), port))
            .collect::<PortSet>(),
        salt: 1,
    }
}

fn entry(
    state: &State,
    table: &str,
    matches: &[(&str, u128)],
    action: &str,
    args: &[u128],
) -> TableEntry {
    let schema = state.program().schema();
    let table = schema.table_by_name(table).expect(table);
    let action = schema.action_by_name(action).expect(action);
    let params = action.params.iter().zip(args);
    let call = ActionCall {
        action: action.id,
        params: params.map(|(param, value)| (param.id, *value)).collect(),
    };
    let matches = matches.iter().map(|(name, value)| {
        let field = table.field_by_name(name).expect(name);
        let found = match field.kind {
            MatchKind::Lpm => FieldMatch::Lpm {
                value: *value,
                prefix_len: 8,
            },
            _ => FieldMatch::Exact(*value),
        };
        (field.id, found)
    });
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches: matches.collect(),
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
