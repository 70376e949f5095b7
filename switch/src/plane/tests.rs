//! Hubs joined by patch links: storms end, and every copy is accounted for.

use super::*;
use crate::host::{LinkSpec, PortSpec, SwitchSpec};
use crate::ir::{Control, Extract, Node, NodeKind, Op, Parser, Pipeline};
use crate::ports::Medium;
use crate::program::Program;
use crate::recorder::{PathFilter, Recorder};
use crate::testing::{bits, header, instance};

/// Sends everything to all other ports, in a header that does not count on links between switches.
fn hub() -> Pipeline {
    let state = crate::ir::State {
        name: "start".into(),
        extract: vec![Extract {
            instance: "ethernet".into(),
            var_length: None,
        }],
        select: Vec::new(),
        cases: Vec::new(),
        default: "accept".into(),
    };
    Pipeline {
        name: "hub".into(),
        version: "1".into(),
        headers: vec![header("ethernet", &[("addresses", 96), ("type", 16)], 0)],
        instances: vec![instance("ethernet", "ethernet", None)],
        metadata: vec![bits("unused", 1)],
        parser: Parser {
            start: "start".into(),
            states: vec![state],
        },
        ingress: Control {
            start: Some("flood".into()),
            nodes: vec![Node {
                name: "flood".into(),
                kind: NodeKind::Run {
                    ops: vec![Op::Flood],
                    next: None,
                },
            }],
        },
        deparser: vec!["ethernet".into()],
        link_instances: vec!["ethernet".into()],
        ..Pipeline::default()
    }
}

fn at(device: u64, port: u32) -> Endpoint {
    Endpoint {
        device: DeviceId(device),
        port: PortNo(port),
    }
}

/// `count` hubs: port 1 leads out, port `n + 1` to hub `n`, where `linked` says so.
fn plane(count: u64, linked: impl Fn(u64, u64) -> bool) -> Plane {
    let port = |number: u64| u32::try_from(number).unwrap();
    let switches = (1..=count)
        .map(|id| SwitchSpec {
            name: format!("s{id}"),
            device_id: DeviceId(id),
            ports: (1..=count + 1)
                .filter(|&number| number == 1 || linked(id, number - 1) || linked(number - 1, id))
                .map(|number| PortSpec {
                    number: PortNo(port(number)),
                    name: format!("p{number}"),
                    mtu: 1500,
                    medium: Medium::L2,
                })
                .collect(),
        })
        .collect();
    let pairs = (1..=count).flat_map(|a| (a + 1..=count).map(move |b| (a, b)));
    let links = pairs
        .filter(|&(a, b)| linked(a, b))
        .map(|(a, b)| LinkSpec {
            name: format!("{a}-{b}"),
            a: at(a, port(b + 1)),
            b: Some(at(b, port(a + 1))),
        })
        .collect();
    let wiring = Arc::new(Wiring::new(switches, links).unwrap());
    let mut plane = Plane::new(wiring);
    let program = Arc::new(Program::new(hub()).unwrap());
    for device in 1..=count {
        plane.set_state(DeviceId(device), Some(State::new(Arc::clone(&program))));
    }
    plane
}

fn inject(plane: &mut Plane, at: Endpoint, frame: &[u8]) -> Vec<Exit> {
    let mut out = Vec::new();
    plane.inject(at, Packet::from_bytes(frame), Nanos(0), &mut out);
    out
}

fn drops(plane: &Plane, reason: DropReason) -> u64 {
    let ports = plane.wiring().devices.iter().flat_map(|wired| &wired.ports);
    ports
        .flat_map(|port| port.counters.drops())
        .filter(|&(number, _)| number == reason.0)
        .map(|(_, count)| count)
        .sum()
}

#[test]
fn a_tree_of_hubs_delivers_one_copy_to_everybody_else() {
    let mut plane = plane(5, |a, b| a == 1 && b > 1);
    let frame = [7; 60];
    let exits = inject(&mut plane, at(3, 1), &frame);
    let mut left: Vec<Endpoint> = exits
        .into_iter()
        .map(|exit| match exit {
            Exit::Port { at, packet } => {
                assert_eq!(packet.to_vec(), frame);
                at
            }
            Exit::PacketIn { .. } => panic!("nobody asked for packets"),
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, [at(1, 1), at(2, 1), at(4, 1), at(5, 1)]);
    let trunk = plane.wiring().counters(at(3, 2)).unwrap();
    assert_eq!((trunk.tx().frames, trunk.tx().bytes), (1, 60));
    assert_eq!((trunk.rx().frames, trunk.drops().count()), (0, 0));
}

#[test]
fn a_storm_in_a_full_mesh_ends_at_the_copy_limit() {
    let mut plane = plane(6, |a, b| a < b);
    let exits = inject(&mut plane, at(1, 1), &[7; 60]);
    assert!(exits.len() <= usize::try_from(COPY_LIMIT).unwrap());
    assert!(drops(&plane, DropReason::COPY_LIMIT) > 0);
    let again = inject(&mut plane, at(2, 1), &[7; 60]);
    assert_eq!(again.len(), exits.len());
}

#[test]
fn a_ring_turns_until_the_hop_limit() {
    // Two copies go round, one each way, and each leaves at every hub that it passes.
    let mut plane = plane(3, |a, b| a < b);
    let exits = inject(&mut plane, at(1, 1), &[7; 60]);
    assert_eq!(drops(&plane, DropReason::HOP_LIMIT), 2);
    assert_eq!(drops(&plane, DropReason::COPY_LIMIT), 0);
    assert_eq!(exits.len(), 2 * (usize::from(HOP_LIMIT) - 1));
}

#[test]
fn a_recorder_sees_each_copy() {
    let mut plane = plane(3, |a, b| a == 1 && b > 1);
    let recorder = Arc::new(Recorder::new(PathFilter::default(), 0));
    plane.set_recorders(vec![Arc::clone(&recorder)]);
    inject(&mut plane, at(2, 1), &[7; 60]);
    let hop = |device, in_port, out_port| Hop {
        device: DeviceId(device),
        in_port: PortNo(in_port),
        out_port: PortNo(out_port),
    };
    let paths: Vec<Vec<Hop>> = recorder
        .take()
        .paths
        .into_keys()
        .map(|path| path.hops)
        .collect();
    let expected = [
        vec![hop(2, 1, 2), hop(1, 3, 1)],
        vec![hop(2, 1, 2), hop(1, 3, 4), hop(3, 2, 1)],
    ];
    assert_eq!(paths, expected);
    assert!(recorder.take().paths.is_empty());
}

#[test]
fn what_enters_nowhere_is_counted() {
    let mut plane = plane(1, |_, _| false);
    assert!(inject(&mut plane, at(1, 9), &[7; 60]).is_empty());
    assert!(inject(&mut plane, at(9, 1), &[7; 60]).is_empty());
    let cpu: Vec<_> = plane.wiring().devices[0].cpu.drops().collect();
    assert_eq!(cpu, [(DropReason::NO_SUCH_PORT.0, 1)]);
    plane.set_state(DeviceId(1), None);
    assert!(inject(&mut plane, at(1, 1), &[7; 60]).is_empty());
    assert_eq!(drops(&plane, DropReason::NO_PIPELINE), 1);
}
