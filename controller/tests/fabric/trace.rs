//! A trace says what a packet does: on any graph, with flows that drop here and there, the walk that was foretold is the
//! one that the recorder sees when the same packet enters, and foretelling moves no counter.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use weft_controller::model::{Model, Peer};
use weft_proto::vocab::{
    ActionCall, DeviceId, EntryKey, FieldMatch, PortNo, TableAction, TableEntry,
};
use weft_switch::datapath::Nanos;
use weft_switch::host::{Endpoint, LinkSpec, PortSpec, SwitchSpec};
use weft_switch::packet::Packet;
use weft_switch::patch::Wiring;
use weft_switch::plane::Plane;
use weft_switch::ports::Medium;
use weft_switch::program::Program;
use weft_switch::recorder::{Hop, Path, PathFilter, Recorder};
use weft_switch::state::State;
use weft_switch::trace::{Walk, walk};

use crate::frames::{self, Arp, BROADCAST, Ends6};
use crate::lab::{Builder, Lab, dual, leaf_spine, ring, routed};

fn wiring(model: &Model) -> Arc<Wiring> {
    let port = |(number, port): (&PortNo, &weft_controller::model::Port)| PortSpec {
        number: *number,
        name: port.name.clone(),
        mtu: port.mtu,
        medium: Medium::L2,
    };
    let switches = model.switches.values().map(|switch| SwitchSpec {
        name: switch.name.clone(),
        device_id: switch.device_id,
        ports: switch.ports.iter().map(port).collect(),
    });
    let mut links = Vec::new();
    for switch in model.switches.values() {
        for (number, port) in &switch.ports {
            let device = switch.device_id;
            let a = Endpoint {
                device,
                port: *number,
            };
            if let Peer::Switch { switch, port: peer } = &port.peer {
                let device = model.switches[switch].device_id;
                let b = Endpoint {
                    device,
                    port: *peer,
                };
                if a < b {
                    links.push(LinkSpec {
                        name: port.link.clone(),
                        a,
                        b: Some(b),
                    });
                }
            }
        }
    }
    Arc::new(Wiring::new(switches.collect(), links).unwrap())
}

fn states(lab: &mut Lab) -> Vec<(DeviceId, State)> {
    let names: Vec<String> = lab.model.switches.keys().cloned().collect();
    let state = |name: &String| {
        let datapath = lab.datapath(name);
        (datapath.device, datapath.state.clone())
    };
    names.iter().map(state).collect()
}

/// A flow that drops what enters a switch by a port, with this last octet of the IPv4 destination where there is one.
fn drop_flow(program: &Program, port: u32, octet: Option<u8>) -> TableEntry {
    let schema = program.schema();
    let table = schema.table_by_name("flows").unwrap();
    let field = |name: &str| table.field_by_name(name).unwrap().id;
    let mut matches = BTreeMap::from([(field("in_port"), FieldMatch::Optional(port.into()))]);
    if let Some(octet) = octet {
        let ipv4 = FieldMatch::Ternary {
            value: 0x800,
            mask: 0xffff,
        };
        let address = FieldMatch::Ternary {
            value: octet.into(),
            mask: 0xff,
        };
        matches.extend([(field("eth_type"), ipv4), (field("ipv4_dst"), address)]);
    }
    TableEntry {
        key: EntryKey {
            table: table.id,
            matches,
            priority: 5,
        },
        action: Some(TableAction::Call(ActionCall {
            action: schema.action_by_name("flow_drop").unwrap().id,
            params: Vec::new(),
        })),
        metadata: Vec::new(),
        is_default: false,
        idle_timeout_ns: 0,
    }
}

/// The ways of all copies, as the recorder writes them.
fn ways(walk: &Walk, program: &Program) -> BTreeMap<(Vec<Hop>, Option<String>), u64> {
    let mut found = BTreeMap::new();
    let mut before: Vec<Vec<Hop>> = vec![Vec::new(); walk.hops.len()];
    for (index, hop) in walk.hops.iter().enumerate() {
        let mut ends = Vec::new();
        let name = |reason| Some(program.drop_name(reason).to_owned());
        if hop.punted {
            ends.push((PortNo::CPU, None));
        }
        ends.extend(hop.dropped.map(|reason| (PortNo(0), name(reason))));
        for copy in &hop.copies {
            match (copy.dropped, copy.next) {
                (Some(reason), _) => ends.push((PortNo(0), name(reason))),
                (None, None) => ends.push((copy.port, None)),
                (None, Some(next)) => {
                    before[next] = before[index].clone();
                    before[next].push(Hop {
                        device: hop.device,
                        in_port: hop.in_port,
                        out_port: copy.port,
                    });
                }
            }
        }
        for (out_port, reason) in ends {
            let mut way = before[index].clone();
            way.push(Hop {
                device: hop.device,
                in_port: hop.in_port,
                out_port,
            });
            *found.entry((way, reason)).or_default() += 1;
        }
    }
    found
}

#[derive(Clone, Debug)]
enum Sent {
    Udp { ttl: u8, port: u16 },
    Udp6 { hop_limit: u8, port: u16 },
    Routed,
    Routed6 { hop_limit: u8 },
    Solicitation,
    ToNobody,
    Broadcast,
    Arp,
    Bytes(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        4 => (1u8..4, any::<u16>()).prop_map(|(ttl, port)| Sent::Udp { ttl, port }),
        4 => (1u8..4, any::<u16>()).prop_map(|(hop_limit, port)| Sent::Udp6 { hop_limit, port }),
        2 => Just(Sent::Routed),
        2 => (1u8..4).prop_map(|hop_limit| Sent::Routed6 { hop_limit }),
        1 => Just(Sent::Solicitation),
        1 => Just(Sent::ToNobody),
        1 => Just(Sent::Broadcast),
        1 => Just(Sent::Arp),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Sent::Bytes),
    ]
}

fn frame(lab: &Lab, from: &str, to: &str, sent: &Sent) -> Vec<u8> {
    let mut ends = lab.ends(from, to);
    match sent {
        Sent::Udp { ttl, port } => {
            ends.ttl = *ttl;
            frames::udp(ends, (*port, 53), b"question")
        }
        Sent::Udp6 { hop_limit, port } => {
            let hop_limit = *hop_limit;
            let ends = Ends6 {
                hop_limit,
                ..lab.ends6(from, to)
            };
            frames::udp6(ends, (*port, 53), b"question")
        }
        Sent::Routed6 { hop_limit } => {
            let ends = Ends6 {
                hop_limit: *hop_limit,
                dst_mac: weft_controller::compile::GATEWAY_MAC,
                ..lab.ends6(from, to)
            };
            frames::tcp6(ends, (7, 80), &[])
        }
        Sent::Solicitation => {
            let ends = lab.ends6(from, to);
            let target = ends.dst.octets();
            let ends = Ends6 {
                hop_limit: 255,
                ..ends
            };
            frames::icmp6(ends, 135, [0; 4], &target)
        }
        Sent::Routed => {
            ends.dst_mac = weft_controller::compile::GATEWAY_MAC;
            frames::udp(ends, (7, 53), b"question")
        }
        Sent::ToNobody => {
            ends.dst_mac.0[5] ^= 0xff;
            frames::tcp(ends, (7, 80), &[])
        }
        Sent::Broadcast => {
            ends.dst_mac = BROADCAST;
            frames::udp(ends, (68, 67), b"who gives me an address")
        }
        Sent::Arp => Arp::request(ends.src_mac, ends.src, ends.dst).to_bytes(),
        Sent::Bytes(bytes) => bytes.clone(),
    }
}

/// Networks of up to five switches that speak both families.
fn network() -> impl Strategy<Value = Builder> {
    (0usize..4, 1usize..4, 2usize..4).prop_map(|(kind, spines, leaves)| match kind {
        0 => ring(leaves + 1).also_ipv6(),
        1 => dual(),
        2 => leaf_spine(spines, leaves, 2).also_ipv6(),
        _ => ring(leaves + 1).also_ipv6().without_fabric(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_foretold_is_what_happens(
        builder in network(),
        drops in prop::collection::btree_set((0usize..8, 1u32..5, prop::option::of(1u8..4)), 0..4),
        sends in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), sent()), 1..8),
    ) {
        let mut lab = builder.lab();
        let program = Arc::clone(&lab.program);
        let switches: Vec<String> = lab.model.switches.keys().cloned().collect();
        for (switch, port, octet) in drops {
            let entry = drop_flow(&program, port, octet);
            // The same one may come twice to a small network.
            let _ = lab.datapath(&switches[switch % switches.len()]).state.insert(&entry);
        }
        let wiring = wiring(&lab.model);
        let states = states(&mut lab);
        let mut plane = Plane::new(Arc::clone(&wiring));
        for (device, state) in states.clone() {
            plane.set_state(device, Some(state));
        }
        let hosts: Vec<String> = lab.model.hosts.keys().cloned().collect();
        for (from, to, sent) in sends {
            let (from, to) = (&hosts[from.index(hosts.len())], &hosts[to.index(hosts.len())]);
            let bytes = frame(&lab, from, to, &sent);
            let attachment = &lab.interface(from).attachment;
            let at = Endpoint {
                device: lab.model.switches[&attachment.switch].device_id,
                port: attachment.port,
            };
            let counters = |lab: &Lab| {
                let port = wiring.counters(at).unwrap();
                (lab.counters(), port.rx(), port.tx(), port.drops().collect::<Vec<_>>())
            };
            let before = counters(&lab);
            let told = walk(Arc::clone(&wiring), states.clone(), at, Packet::from_bytes(&bytes), Nanos(5));
            prop_assert_eq!(before, counters(&lab));

            let recorder = Arc::new(Recorder::new(PathFilter::default(), 0));
            plane.set_recorders(vec![Arc::clone(&recorder)]);
            plane.inject(at, Packet::from_bytes(&bytes), Nanos(5), &mut Vec::new());
            let seen: BTreeMap<_, u64> = recorder
                .take()
                .paths
                .into_iter()
                .map(|(Path { hops, drop_reason, .. }, count)| ((hops, drop_reason), count))
                .collect();
            prop_assert_eq!(ways(&told, &program), seen, "{:?} from {} to {}", sent, from, to);
        }
    }
}

#[test]
fn a_trace_tells_the_rewrites_of_a_routed_packet() {
    let mut lab = routed().lab();
    let mut ends = lab.ends("a", "d");
    ends.dst_mac = weft_controller::compile::GATEWAY_MAC;
    let attachment = lab.interface("a").attachment.clone();
    let at = Endpoint {
        device: lab.model.switches[&attachment.switch].device_id,
        port: attachment.port,
    };
    let bytes = frames::udp(ends, (7, 53), b"question");
    let wiring = wiring(&lab.model);
    let told = walk(
        wiring,
        states(&mut lab),
        at,
        Packet::from_bytes(&bytes),
        Nanos(5),
    );
    assert_eq!(told.hops.len(), 3);
    let first = &told.hops[0];
    assert_eq!(first.headers, ["eth", "ipv4", "udp"]);
    let changed: BTreeMap<&str, (Option<u128>, Option<u128>)> = first
        .steps
        .iter()
        .chain(&first.copies[0].steps)
        .flat_map(|step| &step.rewrites)
        .map(|change| (change.field.as_str(), (change.before, change.after)))
        .collect();
    assert_eq!(changed["ipv4.ttl"], (Some(64), Some(63)));
    let mac = |host: &str| Some(u128::from(lab.mac(host).to_bits()));
    assert_eq!(changed["eth.dst"].1, mac("d"));
    // Labels for the way to the last switch appear, and are gone when it leaves there.
    assert!(
        changed
            .iter()
            .any(|(field, change)| field.starts_with("mpls[0]") && change.0.is_none())
    );
    let last = &told.hops[2].copies[0];
    assert_eq!((last.dropped, last.next), (None, None));
}
