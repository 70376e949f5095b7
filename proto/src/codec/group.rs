//! Multicast groups and clone sessions (P4Runtime §9.5).

use std::collections::{BTreeMap, BTreeSet};

use super::GroupError;
use crate::bytes;
use crate::p4::v1 as wire;
use crate::p4::v1::replica::PortKind;
use crate::vocab::{
    CloneSession, CloneSessionId, MulticastGroup, MulticastGroupId, PortNo, Replica,
};

/// Decodes a multicast group; its replicas come out sorted.
///
/// # Errors
///
/// Group 0, a replica without a port, two equal replicas, an instance above 65535, a port that is its own backup.
pub fn decode_group(group: &wire::MulticastGroupEntry) -> Result<MulticastGroup, GroupError> {
    let id = group_id(group)?;
    let replicas = Replicas::decode(format!("multicast group {id}"), &group.replicas)?;
    Ok(MulticastGroup {
        id,
        replicas: replicas.list,
        backups: replicas.backups,
        numbered: replicas.numbered,
        metadata: group.metadata.to_vec(),
    })
}

/// Encodes a multicast group.
pub fn encode_group(group: &MulticastGroup) -> wire::MulticastGroupEntry {
    let replicas = group.replicas.iter();
    wire::MulticastGroupEntry {
        multicast_group_id: group.id.0,
        replicas: replicas
            .map(|replica| encode_replica(*replica, &group.backups, &group.numbered))
            .collect(),
        metadata: group.metadata.clone().into(),
    }
}

/// Decodes a clone session; its replicas come out sorted.
///
/// # Errors
///
/// What [`decode_group`] refuses, a class of service above 255, a negative length.
pub fn decode_session(session: &wire::CloneSessionEntry) -> Result<CloneSession, GroupError> {
    let id = session_id(session)?;
    let object = format!("clone session {id}");
    let class = session.class_of_service;
    let class_of_service = u8::try_from(class).map_err(|_| GroupError::ClassOfService {
        object: object.clone(),
        class,
    })?;
    let length = session.packet_length_bytes;
    let packet_length = u32::try_from(length).map_err(|_| GroupError::PacketLength {
        object: object.clone(),
        length,
    })?;
    let replicas = Replicas::decode(object, &session.replicas)?;
    Ok(CloneSession {
        id,
        replicas: replicas.list,
        backups: replicas.backups,
        numbered: replicas.numbered,
        class_of_service,
        packet_length,
    })
}

/// Encodes a clone session.
pub fn encode_session(session: &CloneSession) -> wire::CloneSessionEntry {
    let replicas = session.replicas.iter();
    wire::CloneSessionEntry {
        session_id: session.id.0,
        replicas: replicas
            .map(|replica| encode_replica(*replica, &session.backups, &session.numbered))
            .collect(),
        class_of_service: session.class_of_service.into(),
        packet_length_bytes: i32::try_from(session.packet_length).unwrap_or(i32::MAX),
    }
}

pub(super) fn group_id(group: &wire::MulticastGroupEntry) -> Result<MulticastGroupId, GroupError> {
    match group.multicast_group_id {
        0 => Err(GroupError::Zero {
            what: "multicast group",
        }),
        id => Ok(MulticastGroupId(id)),
    }
}

pub(super) fn session_id(session: &wire::CloneSessionEntry) -> Result<CloneSessionId, GroupError> {
    match session.session_id {
        0 => Err(GroupError::Zero {
            what: "clone session",
        }),
        id => Ok(CloneSessionId(id)),
    }
}

/// What both kinds have in common.
struct Replicas {
    /// Of which group or session, for errors.
    object: String,
    list: Vec<Replica>,
    backups: BTreeMap<Replica, Vec<Replica>>,
    numbered: BTreeSet<Replica>,
}

impl Replicas {
    fn decode(object: String, given: &[wire::Replica]) -> Result<Self, GroupError> {
        let mut replicas = Self {
            object,
            list: Vec::with_capacity(given.len()),
            backups: BTreeMap::new(),
            numbered: BTreeSet::new(),
        };
        let mut seen = BTreeSet::new();
        for replica in given {
            replicas.add(replica, &mut seen)?;
        }
        replicas.list.sort_unstable();
        Ok(replicas)
    }

    #[expect(deprecated, reason = "old clients send the port as a number")]
    fn add(
        &mut self,
        given: &wire::Replica,
        seen: &mut BTreeSet<Replica>,
    ) -> Result<(), GroupError> {
        let port = match &given.port_kind {
            Some(PortKind::EgressPort(port)) => Some(*port),
            Some(PortKind::Port(port)) => number(port),
            None => None,
        };
        let replica = self.replica(port, given.instance, seen)?;
        let mut backups = Vec::with_capacity(given.backup_replicas.len());
        for backup in &given.backup_replicas {
            let backup = self.replica(number(&backup.port), backup.instance, seen)?;
            if backup.port == replica.port {
                return Err(GroupError::OwnBackup {
                    object: self.object.clone(),
                    port: backup.port,
                });
            }
            backups.push(backup);
        }
        if !backups.is_empty() {
            self.backups.insert(replica, backups);
        }
        if let Some(PortKind::EgressPort(_)) = given.port_kind {
            self.numbered.insert(replica);
        }
        self.list.push(replica);
        Ok(())
    }

    fn replica(
        &self,
        port: Option<u32>,
        instance: u32,
        seen: &mut BTreeSet<Replica>,
    ) -> Result<Replica, GroupError> {
        let object = || self.object.clone();
        let port = port.filter(|&port| port != 0);
        let port = PortNo(port.ok_or_else(|| GroupError::Port { object: object() })?);
        let instance = u16::try_from(instance).map_err(|_| GroupError::Instance {
            object: object(),
            instance,
        })?;
        let replica = Replica { port, instance };
        if !seen.insert(replica) {
            return Err(GroupError::DuplicateReplica {
                object: object(),
                port,
                instance,
            });
        }
        Ok(replica)
    }
}

fn number(port: &[u8]) -> Option<u32> {
    let port = bytes::decode(port, 32).ok()?;
    u32::try_from(port).ok()
}

#[expect(deprecated, reason = "old clients send the port as a number")]
fn encode_replica(
    replica: Replica,
    backups: &BTreeMap<Replica, Vec<Replica>>,
    numbered: &BTreeSet<Replica>,
) -> wire::Replica {
    let bytes = |port: PortNo| bytes::encode(u128::from(port.0));
    let backups = backups.get(&replica).into_iter().flatten();
    wire::Replica {
        instance: u32::from(replica.instance),
        port_kind: Some(match numbered.contains(&replica) {
            true => PortKind::EgressPort(replica.port.0),
            false => PortKind::Port(bytes(replica.port)),
        }),
        backup_replicas: backups
            .map(|backup| wire::BackupReplica {
                port: bytes(backup.port),
                instance: u32::from(backup.instance),
            })
            .collect(),
    }
}
