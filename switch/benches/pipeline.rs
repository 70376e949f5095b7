//! How fast the interpreter runs the built-in pipeline over memory packets, one core, no device. Prints packets per
//! second; asserts nothing about time.
//!
//! `cargo bench -p weft-switch --bench pipeline`

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, MatchKind, PortNo, TableAction, TableEntry,
    WeightedAction,
};
use weft_switch::datapath::{Datapath, Emit, Nanos, Scratch};
use weft_switch::ports::{PortInfo, PortSet};
use weft_switch::program::Program;
use weft_switch::state::State;

const PACKETS: u32 = 1_000_000;
const FLOWS: u16 = 1024;
const ROUTER: u128 = 0x0200_0000_00fe;
const HOST: u128 = 0x0200_0000_0001;
const REMOTE: u128 = 0x0200_0000_0002;

fn main() {
    let edge = edge();
    let udp = |dst: u128, address: [u8; 4]| {
        move |flow: u16| {
            let mut bytes = Vec::new();
            etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], mac(dst))
                .ipv4([10, 0, 0, 9], address, 64)
                .udp(flow, 53)
                .write(&mut bytes, &[0; 22])
                .expect("a vector takes bytes");
            bytes
        }
    };
    let transit = |flow: u16| {
        let mut bytes = vec![0; 12];
        bytes.extend([0x88, 0x47, 0, 1, 0x10, 64, 0x80, 0, 0x11, 64, 0, 0, 0, 0]);
        bytes.extend(udp(REMOTE, [10, 0, 0, 2])(flow));
        bytes
    };
    measure("bridged to a host here", &edge, 1, udp(HOST, [10, 0, 0, 1]));
    measure(
        "bridged to another edge",
        &edge,
        1,
        udp(REMOTE, [10, 0, 0, 2]),
    );
    measure(
        "routed to a host here",
        &edge,
        1,
        udp(ROUTER, [10, 0, 0, 1]),
    );
    measure("labelled, passing through", &edge, 2, transit);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(what: &str, datapath: &Datapath, port: u32, frame: impl Fn(u16) -> Vec<u8>) {
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(frame).collect();
    let mut cx = Scratch::default();
    let mut out = Vec::new();
    let mut best = f64::MAX;
    let mut sent = 0_u64;
    for _ in 0..5 {
        let start = Instant::now();
        for at in 0..PACKETS {
            let frame = &frames[at as usize % frames.len()];
            let packet = cx.pool.packet(frame);
            datapath.process(&mut cx, PortNo(port), packet, Nanos(0), &mut out);
            for emit in out.drain(..) {
                if let Emit::Port { packet, .. } = emit {
                    sent += 1;
                    cx.pool.recycle(packet);
                }
            }
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    assert_eq!(
        sent,
        u64::from(PACKETS) * 5,
        "{what}: each packet leaves by a port"
    );
    let rate = f64::from(PACKETS) / best / 1e6;
    let mut line = String::new();
    let nanos = best * 1e9 / f64::from(PACKETS);
    let len = frames[0].len();
    let _ = writeln!(
        line,
        "{what:<30} {len:>4} B  {nanos:>6.0} ns  {rate:>6.2} Mpps"
    );
    let _ = std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes());
}

fn mac(bits: u128) -> [u8; 6] {
    let bytes = bits.to_be_bytes();
    [
        bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15],
    ]
}

/// Port 1 to hosts, ports 2 and 3 to switches.
fn edge() -> Datapath {
    let program = Program::new(weft_switch::fabric::pipeline()).expect("the built-in pipeline");
    let mut state = State::new(Arc::new(program));
    for (table, matches, action, args) in [
        (
            "port_in",
            &[("in_port", 1)][..],
            "host_port",
            &[1, ROUTER][..],
        ),
        ("port_in", &[("in_port", 4)], "host_port", &[1, ROUTER]),
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
            &[HOST],
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
