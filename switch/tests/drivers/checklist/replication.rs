//! §9.5 `PacketReplicationEngineEntry`.

use tonic::Code::{AlreadyExists, InvalidArgument, NotFound, Ok as Fine};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity;
use weft_proto::p4::v1::packet_replication_engine_entry::Type as Replication;
use weft_proto::p4::v1::replica::PortKind;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::p4::v1::table_action::Type;
use weft_proto::vocab::PortNo;
use weft_switch::host::LinkState;

use super::bed::Bed;
use crate::client::{A_WHILE, SOON, frame};

fn replica(port: u8, instance: u32, backups: &[(u8, u32)]) -> wire::Replica {
    let backup = |&(port, instance): &(u8, u32)| wire::BackupReplica {
        port: vec![port].into(),
        instance,
    };
    wire::Replica {
        instance,
        port_kind: Some(PortKind::Port(vec![port].into())),
        backup_replicas: backups.iter().map(backup).collect(),
    }
}

fn group(id: u32, replicas: Vec<wire::Replica>) -> wire::MulticastGroupEntry {
    wire::MulticastGroupEntry {
        multicast_group_id: id,
        replicas,
        metadata: b"mine".to_vec().into(),
    }
}

fn session(id: u32, replicas: Vec<wire::Replica>) -> wire::CloneSessionEntry {
    wire::CloneSessionEntry {
        session_id: id,
        replicas,
        class_of_service: 3,
        packet_length_bytes: 0,
    }
}

fn entity(of: Replication) -> Entity {
    Entity::PacketReplicationEngineEntry(wire::PacketReplicationEngineEntry { r#type: Some(of) })
}

// === multicast groups ===

/// §9.5.1: ids above 0, instances that fit, "uniqueness among all (port, instance)-pairs", and no replica with "the
/// same port as any of its backup replicas".
#[tokio::test]
async fn a_multicast_group_that_makes_no_sense_is_invalid() {
    let bed = Bed::new().await;
    assert_eq!(bed.insert(group(1, vec![replica(2, 0, &[])])).await, Fine);
    for replicas in [
        vec![replica(2, 65_536, &[])],
        vec![replica(0, 0, &[])],
        vec![replica(2, 1, &[]), replica(2, 1, &[])],
        vec![replica(2, 1, &[(3, 0)]), replica(3, 0, &[])],
        vec![replica(2, 1, &[(2, 0)])],
    ] {
        assert_eq!(
            bed.insert(group(2, replicas.clone())).await,
            InvalidArgument
        );
        assert_eq!(bed.modify(group(1, replicas)).await, InvalidArgument);
    }
    assert_eq!(bed.insert(group(0, vec![])).await, InvalidArgument);
}

/// §9.5.1: INSERT, MODIFY and DELETE; "`replicas` and `metadata` fields need not be provided" for the last.
#[tokio::test]
async fn multicast_groups_are_inserted_modified_and_deleted() {
    let bed = Bed::new().await;
    let held = group(7, vec![replica(2, 0, &[])]);
    assert_eq!(bed.modify(held.clone()).await, NotFound);
    assert_eq!(bed.insert(held.clone()).await, Fine);
    assert_eq!(bed.insert(held.clone()).await, AlreadyExists);
    let bare = wire::MulticastGroupEntry {
        multicast_group_id: 7,
        ..wire::MulticastGroupEntry::default()
    };
    assert_eq!(bed.delete(bare.clone()).await, Fine);
    assert_eq!(bed.delete(bare).await, NotFound);
}

/// §9.5.1: "When reading a multicast group, only `multicast_group_id` is considered", 0 reads all; metadata, backups
/// and the form of the port come back as they were written.
#[tokio::test]
#[expect(deprecated, reason = "both encodings of a port")]
async fn multicast_groups_read_back_as_they_were_written() {
    let bed = Bed::new().await;
    let numbered = wire::Replica {
        port_kind: Some(PortKind::EgressPort(3)),
        ..replica(3, 1, &[])
    };
    let held = [
        group(1, vec![replica(2, 5, &[(3, 8), (4, 9)]), numbered]),
        group(2, vec![]),
    ];
    for group in &held {
        assert_eq!(bed.insert(group.clone()).await, Fine);
    }
    let wanted = held.map(|group| entity(Replication::MulticastGroupEntry(group)));
    assert_eq!(bed.read(group(0, vec![])).await, wanted);
    assert_eq!(bed.read(group(1, vec![])).await, wanted[..1]);
}

/// §9.5.1: "When the highest-preferred port of a replica or a backup replica goes down, the system uses the next
/// highest-preferred backup replica whose port is up"; a group that is not programmed drops.
#[tokio::test]
async fn a_backup_replica_is_used_while_the_port_before_it_is_down() {
    let bed = Bed::new().await;
    let replicas = vec![replica(2, 0, &[(3, 0), (4, 0)])];
    bed.insert(group(1, replicas.clone())).await;
    let replicate = Type::Action(bed.action("replicate", &[1]));
    assert_eq!(bed.insert(bed.entry("forward", 1, replicate)).await, Fine);
    let sent = frame(0x0800, &[7; 50]);
    let set = |port: u32, state| {
        let name = format!("l{port}");
        bed.lab.host.set_link(&name, state).unwrap();
    };
    let arrives = |port: usize| {
        bed.ports[0].send(&sent);
        assert_eq!(bed.ports[port - 1].receive(SOON).as_ref(), Some(&sent));
    };
    arrives(2);
    set(2, LinkState::Down);
    arrives(3);
    set(3, LinkState::Down);
    arrives(4);
    set(2, LinkState::Up);
    arrives(2);
    set(3, LinkState::Up);
    bed.delete(group(1, replicas)).await;
    bed.ports[0].send(&sent);
    for port in &bed.ports[1..] {
        assert_eq!(port.receive(A_WHILE), None);
    }
}

// === clone sessions ===

/// §9.5.2: ids above 0, instances and classes of service that fit.
#[tokio::test]
async fn a_clone_session_that_makes_no_sense_is_invalid() {
    let bed = Bed::new().await;
    let valid = session(1, vec![replica(2, 0, &[])]);
    assert_eq!(bed.insert(valid.clone()).await, Fine);
    assert_eq!(bed.insert(valid.clone()).await, AlreadyExists);
    let edits: [fn(&mut wire::CloneSessionEntry); 4] = [
        |session| session.session_id = 0,
        |session| session.class_of_service = 256,
        |session| session.replicas[0].instance = 65_536,
        |session| session.packet_length_bytes = -1,
    ];
    for edit in edits {
        let mut wrong = valid.clone();
        edit(&mut wrong);
        assert_eq!(bed.modify(wrong).await, InvalidArgument);
    }
    let other = session(2, vec![]);
    assert_eq!(bed.modify(other.clone()).await, NotFound);
    assert_eq!(bed.delete(other).await, NotFound);
}

/// §9.5.2: "When reading a clone session, only `session_id` is considered", 0 reads all.
#[tokio::test]
async fn clone_sessions_read_back_as_they_were_written() {
    let bed = Bed::new().await;
    let mut short = session(9, vec![replica(2, 1, &[(3, 2)]), replica(4, 0, &[])]);
    short.packet_length_bytes = 128;
    let held = [session(1, vec![]), short];
    for session in &held {
        assert_eq!(bed.insert(session.clone()).await, Fine);
    }
    let wanted = held.map(|session| entity(Replication::CloneSessionEntry(session)));
    assert_eq!(bed.read(session(0, vec![])).await, wanted);
    assert_eq!(bed.read(session(9, vec![])).await, wanted[1..]);
}

/// §9.5.2: clones go to each replica, cut to `packet_length_bytes`, besides the packet's own way; without the session
/// "no clones are created".
#[tokio::test]
async fn a_packet_is_cloned_to_each_replica_of_its_session() {
    let bed = Bed::new().await;
    let mirror = Type::Action(bed.action("mirror", &[5, 2]));
    assert_eq!(bed.insert(bed.entry("forward", 1, mirror)).await, Fine);
    let sent = frame(0x0800, &[7; 500]);
    let arrives = |port: usize, bytes: &[u8]| {
        let got = bed.ports[port - 1].receive(SOON);
        assert_eq!(got.as_deref(), Some(bytes), "port {port}");
    };
    bed.ports[0].send(&sent);
    arrives(2, &sent);
    let mut clones = session(5, vec![replica(3, 0, &[]), replica(4, 1, &[])]);
    assert_eq!(bed.insert(clones.clone()).await, Fine);
    bed.ports[0].send(&sent);
    for port in [2, 3, 4] {
        arrives(port, &sent);
    }
    clones.packet_length_bytes = 64;
    assert_eq!(bed.modify(clones.clone()).await, Fine);
    bed.ports[0].send(&sent);
    arrives(2, &sent);
    for port in [3, 4] {
        arrives(port, &sent[..64]);
    }
    assert_eq!(bed.delete(clones).await, Fine);
    bed.ports[0].send(&sent);
    arrives(2, &sent);
    for port in &bed.ports[1..] {
        assert_eq!(port.receive(A_WHILE), None);
    }
}

/// §9.5.2: a replica for port `0xfffffffd` is a clone for the CPU; what is dropped is cloned all the same.
#[tokio::test]
async fn a_clone_for_the_cpu_reaches_the_controller() {
    let mut bed = Bed::new().await;
    let cpu = wire::Replica {
        port_kind: Some(PortKind::Port(PortNo::CPU.0.to_be_bytes().to_vec().into())),
        ..replica(1, 1, &[])
    };
    let mut clones = session(5, vec![cpu]);
    clones.packet_length_bytes = 20;
    assert_eq!(bed.insert(clones).await, Fine);
    // There is no port 9.
    let mirror = Type::Action(bed.action("mirror", &[5, 9]));
    assert_eq!(bed.insert(bed.entry("forward", 1, mirror)).await, Fine);
    let sent = frame(0x0800, &[7; 50]);
    bed.ports[0].send(&sent);
    match bed.primary.next().await.unwrap().unwrap() {
        Told::Packet(packet) => {
            assert_eq!(packet.payload, sent[..20]);
            assert_eq!(packet.metadata[0].value, vec![1]);
        }
        other => panic!("expected a packet, not {other:?}"),
    }
}
