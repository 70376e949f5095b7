//! Action profiles: actions that entries refer to, and groups of them (P4Runtime §9.2).

use super::{ActionCall, MemberId, PortNo, ProfileGroupId, ProfileId};

/// An action that is kept once, for all entries and groups that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileMember {
    /// The action profile.
    pub profile: ProfileId,
    /// The member.
    pub id: MemberId,
    /// What it does.
    pub call: ActionCall,
}

/// Members of an action selector of which one is chosen for each flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileGroup {
    /// The action selector.
    pub profile: ProfileId,
    /// The group.
    pub id: ProfileGroupId,
    /// Its members, in the order that was given; each is there once.
    pub members: Vec<GroupMember>,
    /// Most members, or weights, that it will have; 0 for as many as are possible. It never changes.
    pub max_size: u32,
}

/// One member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The member.
    pub member: MemberId,
    /// 1 and up.
    pub weight: u32,
    /// The member counts only while this port is up.
    pub watch_port: Option<PortNo>,
}
