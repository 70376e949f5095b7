//! Multicast groups and clone sessions (P4Runtime §9.5).

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use tonic::Code::InvalidArgument;

use super::fixture::schema;
use crate::codec::*;
use crate::p4::v1 as wire;
use crate::p4::v1::replica::PortKind;
use crate::vocab::*;

/// Replicas, some with backups on other ports, some written by number.
type Replicas = (
    Vec<Replica>,
    BTreeMap<Replica, Vec<Replica>>,
    BTreeSet<Replica>,
);

fn replicas() -> impl Strategy<Value = Replicas> {
    let pairs = btree_set((1..100_u32, any::<u16>()), 0..20);
    (pairs, any::<u32>()).prop_map(|(pairs, numbered)| {
        let replica = |(port, instance)| Replica {
            port: PortNo(port),
            instance,
        };
        let list: Vec<Replica> = pairs.into_iter().map(replica).collect();
        let backed = list.iter().filter(|replica| replica.port.0 % 3 == 0);
        let backups = backed
            .map(|replica| {
                let backup = |away: u32| Replica {
                    port: PortNo(replica.port.0 + away),
                    instance: replica.instance,
                };
                (*replica, vec![backup(400), backup(200)])
            })
            .collect();
        let chosen = (0..).zip(&list).filter(|(bit, _)| numbered >> bit & 1 != 0);
        let numbered = chosen.map(|(_, replica)| *replica).collect();
        (list, backups, numbered)
    })
}

fn groups() -> impl Strategy<Value = MulticastGroup> {
    let metadata = vec(any::<u8>(), 0..9);
    (1..=u32::MAX, replicas(), metadata).prop_map(
        |(id, (replicas, backups, numbered), metadata)| MulticastGroup {
            id: MulticastGroupId(id),
            replicas,
            backups,
            numbered,
            metadata,
        },
    )
}

fn sessions() -> impl Strategy<Value = CloneSession> {
    let length = 0..=i32::MAX.cast_unsigned();
    (1..=u32::MAX, replicas(), any::<u8>(), length).prop_map(
        |(id, (replicas, backups, numbered), class_of_service, packet_length)| CloneSession {
            id: CloneSessionId(id),
            replicas,
            backups,
            numbered,
            class_of_service,
            packet_length,
        },
    )
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same(group in groups(), session in sessions()) {
        let schema = schema();
        prop_assert_eq!(decode_group(&encode_group(&group)), Ok(group.clone()));
        prop_assert_eq!(decode_session(&encode_session(&session)), Ok(session.clone()));
        for query in [Query::Groups(Some(group.id)), Query::Sessions(Some(session.id))] {
            prop_assert_eq!(decode_query(&schema, &encode_query(&query)), Ok(query));
        }
        for entity in [Entity::Group(group), Entity::Session(session)] {
            let update = Update { kind: UpdateKind::Insert, entity };
            let encoded = encode_update(&schema, &update);
            prop_assert_eq!(decode_update(&schema, &encoded), Ok(update));
        }
    }
}

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

fn group_error(replicas: Vec<wire::Replica>) -> Option<tonic::Code> {
    let group = wire::MulticastGroupEntry {
        multicast_group_id: 1,
        replicas,
        ..wire::MulticastGroupEntry::default()
    };
    decode_group(&group).err().map(|error| error.code())
}

#[test]
fn a_backup_is_on_another_port_and_no_pair_is_there_twice() {
    assert_eq!(group_error(vec![replica(1, 0, &[(2, 0), (3, 0)])]), None);
    for bad in [
        vec![replica(1, 0, &[(1, 5)])],
        vec![replica(1, 0, &[(2, 0), (2, 0)])],
        vec![replica(1, 0, &[(2, 0)]), replica(2, 0, &[])],
        vec![replica(1, 0, &[(0, 0)])],
        vec![replica(1, 0, &[(2, 65_536)])],
    ] {
        assert_eq!(group_error(bad.clone()), Some(InvalidArgument), "{bad:?}");
    }
}

#[test]
#[expect(deprecated, reason = "both encodings of a port")]
fn a_port_that_was_written_as_a_number_is_read_as_one() {
    let old = wire::Replica {
        port_kind: Some(PortKind::EgressPort(7)),
        ..replica(1, 3, &[])
    };
    let group = wire::MulticastGroupEntry {
        multicast_group_id: 1,
        replicas: vec![replica(2, 0, &[]), old],
        ..wire::MulticastGroupEntry::default()
    };
    assert_eq!(encode_group(&decode_group(&group).unwrap()), group);
}

#[test]
fn a_session_has_an_id_a_class_and_a_length() {
    let valid = wire::CloneSessionEntry {
        session_id: 1,
        replicas: vec![replica(1, 0, &[])],
        class_of_service: 255,
        packet_length_bytes: 64,
    };
    let code = |edit: fn(&mut wire::CloneSessionEntry)| {
        let mut session = valid.clone();
        edit(&mut session);
        decode_session(&session).err().map(|error| error.code())
    };
    assert_eq!(code(|_| {}), None);
    assert_eq!(code(|session| session.replicas.clear()), None);
    assert_eq!(code(|session| session.packet_length_bytes = 0), None);
    let refused: [fn(&mut wire::CloneSessionEntry); 4] = [
        |session| session.session_id = 0,
        |session| session.class_of_service = 256,
        |session| session.packet_length_bytes = -1,
        |session| session.replicas[0].instance = 65_536,
    ];
    for edit in refused {
        assert_eq!(code(edit), Some(InvalidArgument));
    }
}
