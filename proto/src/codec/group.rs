//! Multicast groups (P4Runtime §9.5.1).

use super::GroupError;
use crate::bytes;
use crate::p4::v1 as wire;
use crate::p4::v1::replica::PortKind;
use crate::vocab::{MulticastGroup, MulticastGroupId, PortNo, Replica};

/// Decodes a multicast group; its replicas come out sorted.
///
/// # Errors
///
/// Group 0, a replica without a port, two equal replicas, an instance above 65535, backups.
pub fn decode_group(group: &wire::MulticastGroupEntry) -> Result<MulticastGroup, GroupError> {
    let id = group_id(group)?;
    let mut replicas = Vec::with_capacity(group.replicas.len());
    for replica in &group.replicas {
        replicas.push(decode_replica(id, replica)?);
    }
    replicas.sort_unstable();
    if let Some(pair) = replicas.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(GroupError::DuplicateReplica {
            group: id,
            port: pair[0].port,
            instance: pair[0].instance,
        });
    }
    Ok(MulticastGroup {
        id,
        replicas,
        metadata: group.metadata.to_vec(),
    })
}

/// Encodes a multicast group.
pub fn encode_group(group: &MulticastGroup) -> wire::MulticastGroupEntry {
    wire::MulticastGroupEntry {
        multicast_group_id: group.id.0,
        replicas: group
            .replicas
            .iter()
            .map(|replica| wire::Replica {
                instance: u32::from(replica.instance),
                port_kind: Some(PortKind::Port(bytes::encode(u128::from(replica.port.0)))),
                ..wire::Replica::default()
            })
            .collect(),
        metadata: group.metadata.clone().into(),
    }
}

pub(super) fn group_id(group: &wire::MulticastGroupEntry) -> Result<MulticastGroupId, GroupError> {
    match group.multicast_group_id {
        0 => Err(GroupError::Zero),
        id => Ok(MulticastGroupId(id)),
    }
}

#[expect(deprecated, reason = "old clients send the port as a number")]
fn decode_replica(group: MulticastGroupId, replica: &wire::Replica) -> Result<Replica, GroupError> {
    if !replica.backup_replicas.is_empty() {
        return Err(GroupError::Backup);
    }
    let port = match &replica.port_kind {
        Some(PortKind::EgressPort(port)) => Some(*port),
        Some(PortKind::Port(port)) => bytes::decode(port, 32)
            .ok()
            .and_then(|port| u32::try_from(port).ok()),
        None => None,
    };
    let port = port
        .filter(|&port| port != 0)
        .ok_or(GroupError::Port { group })?;
    let instance = u16::try_from(replica.instance).map_err(|_| GroupError::Instance {
        group,
        instance: replica.instance,
    })?;
    Ok(Replica {
        port: PortNo(port),
        instance,
    })
}
