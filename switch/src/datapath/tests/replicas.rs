//! Clone sessions, backups of replicas, and entries that refer to members and groups.

use weft_proto::vocab::{
    ActionCall, CloneSession, GroupMember, MemberId, MulticastGroup, MulticastGroupId,
    ProfileGroup, ProfileGroupId, ProfileId, ProfileMember, TableEntry,
};

use super::*;
use crate::ir::{self, Expr, Op, Pipeline};

/// The router with action `mirror` in `bridge`: clones to a session, then sends to a port.
fn mirroring() -> Pipeline {
    let mut pipeline = router();
    let param = |name: &str| ir::Param {
        name: name.into(),
        bits: 32,
        format: ir::Format::Number,
        annotations: vec![],
    };
    let op = |wrap: fn(Expr) -> Op, name: &str| wrap(Expr::Param(name.into()));
    pipeline.actions.push(ir::Action {
        name: "mirror".into(),
        params: vec![param("session"), param("port")],
        ops: vec![
            op(Op::Clone, "session"),
            Op::Set {
                dst: "eth.src".into(),
                value: Expr::Const {
                    value: 0x0203_0405_0607,
                    bits: 48,
                },
            },
            op(Op::Output, "port"),
            op(Op::Clone, "session"),
        ],
        ..ir::Action::default()
    });
    let bridge = pipeline.tables.iter_mut();
    let bridge = bridge.into_iter().find(|table| table.name == "bridge");
    bridge.unwrap().actions.push(ir::ActionRef {
        name: "mirror".into(),
        scope: ir::Scope::Any,
    });
    pipeline
}

fn replica(port: u32, instance: u16) -> Replica {
    Replica {
        port: PortNo(port),
        instance,
    }
}

fn session(id: u32, replicas: &[(u32, u16)], packet_length: u32) -> CloneSession {
    let replicas = replicas
        .iter()
        .map(|&(port, instance)| replica(port, instance));
    CloneSession {
        id: CloneSessionId(id),
        replicas: replicas.collect(),
        packet_length,
        ..CloneSession::default()
    }
}

/// Everything to the host leaves by port 2, and is mirrored by session 5.
fn mirror(of: CloneSession) -> Bench {
    let mut bench = Bench::with(mirroring());
    bench.datapath.state.insert_session(&of).unwrap();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "mirror", &[5, 2]);
    bench
}

#[test]
fn a_clone_is_the_packet_as_received_and_runs_egress_by_itself() {
    let mut bench = mirror(session(5, &[(3, 0), (4, 7)], 0));
    let out = [
        ("port", FieldMatch::Exact(4)),
        ("instance", FieldMatch::Exact(7)),
    ];
    bench.install("out", &out, 0, "tag", &[100]);
    let frame = tcp4(HOST_MAC, b"twice named, once cloned");
    let mut tagged = frame.clone();
    tagged.splice(12..12, [0x81, 0, 0, 100]);
    let mut edited = frame.clone();
    edited[6..12].copy_from_slice(&[2, 3, 4, 5, 6, 7]);
    assert_eq!(
        bench.sent(1, packet(&frame)),
        [(3, frame), (4, tagged), (2, edited)]
    );
}

#[test]
fn a_session_that_does_not_exist_clones_nothing() {
    let mut bench = mirror(session(6, &[(3, 0)], 0));
    let frame = tcp4(HOST_MAC, b"alone");
    let ports: Vec<u32> = bench.sent(1, packet(&frame)).iter().map(|s| s.0).collect();
    assert_eq!(ports, [2]);
    let id = CloneSessionId(6);
    bench.datapath.state.delete_session(id).unwrap();
    bench
        .datapath
        .state
        .insert_session(&session(5, &[(4, 0)], 0))
        .unwrap();
    let ports: Vec<u32> = bench.sent(1, packet(&frame)).iter().map(|s| s.0).collect();
    assert_eq!(ports, [4, 2]);
}

#[test]
fn what_is_dropped_is_cloned_all_the_same() {
    let mut pipeline = mirroring();
    let mirror = pipeline.actions.last_mut().unwrap();
    mirror.ops.push(Op::Drop("denied".into()));
    let mut bench = Bench::with(pipeline);
    let mut cpu = session(5, &[(3, 0)], 0);
    cpu.replicas.push(Replica {
        port: PortNo::CPU,
        instance: 0,
    });
    bench.datapath.state.insert_session(&cpu).unwrap();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "mirror", &[5, 2]);
    let frame = tcp4(HOST_MAC, b"seen");
    let out = bench.sent(1, packet(&frame));
    assert_eq!(
        out,
        [
            (3, frame.clone()),
            (PortNo::CPU.0, frame),
            (0, b"denied".to_vec())
        ]
    );
}

#[test]
fn a_clone_is_cut_to_its_session_s_length_and_no_shorter() {
    for (length, kept) in [(60, 60), (1, 1), (20, 20), (2000, 1054), (1054, 1054)] {
        let mut bench = mirror(session(5, &[(3, 0)], length));
        let frame = tcp4(HOST_MAC, &[9; 1000]);
        let sent = bench.sent(1, packet(&frame));
        assert_eq!(sent[0], (3, frame[..kept].to_vec()));
        assert_eq!(sent[1].1.len(), 1054);
    }
}

#[test]
fn a_clone_for_the_controller_is_cut_as_well() {
    let mut bench = mirror(session(5, &[(PortNo::CPU.0, 0)], 30));
    let frame = tcp4(HOST_MAC, &[9; 1000]);
    let sent = bench.sent(1, packet(&frame));
    assert_eq!(sent[0], (PortNo::CPU.0, frame[..30].to_vec()));
}

#[test]
fn headers_that_egress_adds_come_on_top_of_a_cut_clone() {
    let mut bench = mirror(session(5, &[(3, 7)], 64));
    let out = [
        ("port", FieldMatch::Exact(3)),
        ("instance", FieldMatch::Exact(7)),
    ];
    bench.install("out", &out, 0, "label", &[77]);
    let frame = tcp4(HOST_MAC, &[9; 1000]);
    let sent = bench.sent(1, packet(&frame));
    assert_eq!(sent[0].1[18..], frame[..64]);
    assert_eq!(sent[0].1[12..14], [0x88, 0x47]);
}

#[test]
fn a_cut_clone_of_a_super_packet_is_the_start_of_its_first_segment() {
    let whole = super_packet(HOST_MAC, 5000, 1000);
    let mut frames = Vec::new();
    segment::segment(&whole, true, &mut Pool::default(), &mut frames);
    let mut bench = mirror(session(5, &[(3, 0)], 100));
    // The MTU counts what leaves.
    let mut small = *bench.datapath.ports.get(PortNo(3)).unwrap();
    small.mtu = 86;
    bench.datapath.ports.insert(PortNo(3), small);
    let out = bench.send(1, whole);
    let [
        Emit::Port { packet: clone, .. },
        Emit::Port { packet: main, .. },
    ] = &out[..]
    else {
        panic!("{out:?}");
    };
    assert_eq!(clone.to_vec(), frames[0].to_vec()[..100]);
    assert_eq!(clone.vnet, VnetHdr::default());
    assert_eq!(main.len(), 5054);
    assert!(main.vnet.is_gso() && main.vnet.is_partial());
    // Each counts as what it is.
    let counted: Vec<(u64, u64)> = bench
        .scratch
        .sent
        .iter()
        .map(|counted| (counted.packets, counted.bytes))
        .collect();
    assert_eq!(counted, [(1, 100), (5, 5 * 1054)]);
}

#[test]
fn a_whole_clone_of_a_super_packet_is_one_too() {
    let mut bench = mirror(session(5, &[(3, 0)], 1054));
    let out = bench.send(1, super_packet(HOST_MAC, 5000, 1000));
    let [Emit::Port { packet: clone, .. }, _] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(clone.len(), 5054);
    let mut frames = Vec::new();
    segment::without_offloads(clone.clone(), true, &mut Pool::default(), &mut frames);
    assert_eq!(frames.len(), 5);
    for frame in frames {
        assert_checksums(&frame.to_vec());
    }
}

#[test]
fn a_backup_takes_the_place_of_a_replica_whose_port_is_down() {
    let mut bench = Bench::new();
    let group = MulticastGroup {
        id: MulticastGroupId(9),
        replicas: vec![replica(2, 0)],
        backups: [(replica(2, 0), vec![replica(3, 0), replica(4, 0)])].into(),
        ..MulticastGroup::default()
    };
    bench.datapath.state.insert_group(&group).unwrap();
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    bench.install("bridge", &[("dst", dst)], 0, "copy", &[9]);
    let frame = tcp4(HOST_MAC, b"x");
    let mut sent = |changes: &[(u32, bool)]| {
        for &(port, up) in changes {
            bench.datapath.ports.set_up(PortNo(port), up);
        }
        let (port, bytes) = bench.sent(1, packet(&frame)).remove(0);
        match port {
            0 => Err(String::from_utf8(bytes).unwrap()),
            port => Ok(port),
        }
    };
    assert_eq!(sent(&[]), Ok(2));
    assert_eq!(sent(&[(2, false)]), Ok(3));
    assert_eq!(sent(&[(3, false)]), Ok(4));
    assert_eq!(sent(&[(4, false)]), Err("port-down".to_owned()));
    assert_eq!(sent(&[(4, true), (3, true)]), Ok(3));
    assert_eq!(sent(&[(2, true)]), Ok(2));
}

// === members and groups ===

const SPREAD: ProfileId = ProfileId(0x1100_0001);

fn forward(bench: &Bench, port: u128) -> ActionCall {
    bench.call("forward", &[port])
}

fn put(bench: &mut Bench, id: u32, port: u128) {
    let member = ProfileMember {
        profile: SPREAD,
        id: MemberId(id),
        call: forward(bench, port),
    };
    let state = &mut bench.datapath.state;
    let known = state.member(SPREAD, member.id).is_some();
    let done = match known {
        true => state.modify_member(&member),
        false => state.insert_member(&member),
    };
    done.unwrap();
}

fn referring(bench: &Bench, action: TableAction) -> TableEntry {
    let dst = FieldMatch::Exact(mac_bits(HOST_MAC));
    TableEntry {
        action: Some(action),
        ..bench.entry("spread", &[("dst", dst)], 0, "pass", &[])
    }
}

fn flows() -> Vec<Vec<u8>> {
    let flow = |host: u8| {
        let mut frame = tcp4(HOST_MAC, b"");
        frame[29] = host;
        frame
    };
    (0..200).map(flow).collect()
}

fn ports(bench: &mut Bench) -> Vec<u32> {
    let flows = flows();
    let port = |flow: &Vec<u8>| bench.forwarded(1, packet(flow)).0;
    flows.iter().map(port).collect()
}

#[test]
fn a_member_s_new_action_is_that_of_all_who_refer_to_it() {
    let mut bench = Bench::new();
    put(&mut bench, 1, 2);
    let entry = referring(&bench, TableAction::Member(MemberId(1)));
    bench.datapath.state.insert(&entry).unwrap();
    assert!(ports(&mut bench).iter().all(|&port| port == 2));
    put(&mut bench, 1, 4);
    assert!(ports(&mut bench).iter().all(|&port| port == 4));
}

#[test]
fn a_group_is_changed_under_its_entries_and_a_member_under_its_groups() {
    let mut bench = Bench::new();
    for (id, port) in [(1, 2), (2, 3), (3, 4)] {
        put(&mut bench, id, port);
    }
    let group = |members: &[u32]| ProfileGroup {
        profile: SPREAD,
        id: ProfileGroupId(1),
        members: members
            .iter()
            .map(|&id| GroupMember {
                member: MemberId(id),
                weight: 1,
                watch_port: Some(PortNo(id + 1)),
            })
            .collect(),
        max_size: 8,
    };
    let state = &mut bench.datapath.state;
    state.insert_profile_group(&group(&[1, 2, 3])).unwrap();
    let entry = referring(&bench, TableAction::Group(ProfileGroupId(1)));
    bench.datapath.state.insert(&entry).unwrap();
    let before = ports(&mut bench);
    for port in 2..=4 {
        let share = before.iter().filter(|&&chosen| chosen == port).count();
        assert!((35..100).contains(&share), "port {port} has {share} of 200");
    }
    // A member that moves to another port takes its flows along, and no others.
    put(&mut bench, 1, 3);
    let moved = ports(&mut bench);
    for (old, new) in before.iter().zip(&moved) {
        assert_eq!(*new, if *old == 2 { 3 } else { *old });
    }
    put(&mut bench, 1, 2);
    // Its port goes down: the same flows move, wherever its action sends.
    bench.datapath.ports.set_up(PortNo(2), false);
    for (old, new) in before.iter().zip(ports(&mut bench)) {
        assert!(if *old == 2 { new != 2 } else { new == *old });
    }
    bench.datapath.ports.set_up(PortNo(2), true);
    // The group without it.
    let state = &mut bench.datapath.state;
    state.modify_profile_group(&group(&[2, 3])).unwrap();
    let left = ports(&mut bench);
    assert!(left.iter().all(|&port| port == 3 || port == 4));
    let kept = before.iter().zip(&left).filter(|(old, new)| old == new);
    assert!(kept.count() > 110, "few flows move between those that stay");
    // Nobody left.
    bench
        .datapath
        .state
        .modify_profile_group(&group(&[]))
        .unwrap();
    assert_eq!(bench.dropped(1, packet(&flows()[0])), "empty-group");
}
