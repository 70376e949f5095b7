//! What the packet replication engine holds: multicast groups and clone sessions (P4Runtime §9.5).

use std::collections::{BTreeMap, BTreeSet};

use super::{CloneSessionId, MulticastGroupId, PortNo};

/// A copy of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica {
    /// Where the copy leaves.
    pub port: PortNo,
    /// Told apart copies on one port; the egress pipeline can match it.
    pub instance: u16,
}

/// A multicast group with its replicas, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MulticastGroup {
    /// The group.
    pub id: MulticastGroupId,
    /// The copies.
    pub replicas: Vec<Replica>,
    /// What takes a copy's place while its port is down, the first choice first.
    pub backups: BTreeMap<Replica, Vec<Replica>>,
    /// Copies whose port the client wrote as a number (`egress_port`, deprecated), and so reads back as one.
    pub numbered: BTreeSet<Replica>,
    /// Opaque to the switch, returned on read.
    pub metadata: Vec<u8>,
}

/// Where the copies go that the pipeline makes of packets as they were received; replicas are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneSession {
    /// The session.
    pub id: CloneSessionId,
    /// The copies.
    pub replicas: Vec<Replica>,
    /// What takes a copy's place while its port is down, the first choice first.
    pub backups: BTreeMap<Replica, Vec<Replica>>,
    /// Copies whose port the client wrote as a number (`egress_port`, deprecated), and so reads back as one.
    pub numbered: BTreeSet<Replica>,
    /// Opaque to the switch, which has no queues; returned on read.
    pub class_of_service: u8,
    /// Bytes of a received packet that a copy keeps; 0 for all.
    pub packet_length: u32,
}
