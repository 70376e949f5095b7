//! Members and groups of action profiles (P4Runtime §9.2).

use std::collections::BTreeSet;

use super::EntryError;
use super::action::{arguments, encode_call, port_bytes, port_number, weight};
use crate::bytes;
use crate::p4::v1 as wire;
use crate::p4::v1::action_profile_group::member::WatchKind;
use crate::schema::{ProfileSchema, Schema};
use crate::vocab::{
    ActionId, GroupMember, MemberId, ProfileGroup, ProfileGroupId, ProfileId, ProfileMember,
};

/// Decodes a member of an action profile.
///
/// # Errors
///
/// No such profile, id 0, no action, or one that the tables with this profile do not allow in their entries.
pub fn decode_member(
    schema: &Schema,
    member: &wire::ActionProfileMember,
) -> Result<ProfileMember, EntryError> {
    let (profile, id) = member_id(schema, member)?;
    let given = member.action.as_ref();
    let given = given.ok_or_else(|| EntryError::MemberActionMissing {
        profile: profile.name.clone(),
    })?;
    let action = ActionId(given.action_id);
    let refused = || EntryError::MemberAction {
        profile: profile.name.clone(),
        id: action,
    };
    let tables = profile.tables.iter();
    let mut tables = tables.filter_map(|table| schema.table(*table)).peekable();
    let is_used = tables.peek().is_some();
    let everywhere = tables.all(|table| table.action(action).is_some_and(|found| found.in_entries));
    let action = schema.action(action).filter(|_| is_used && everywhere);
    Ok(ProfileMember {
        profile: profile.id,
        id,
        call: arguments(action.ok_or_else(refused)?, given)?,
    })
}

/// Encodes a member of an action profile.
pub fn encode_member(member: &ProfileMember) -> wire::ActionProfileMember {
    wire::ActionProfileMember {
        action_profile_id: member.profile.0,
        member_id: member.id.0,
        action: Some(encode_call(&member.call)),
    }
}

/// Decodes a group of an action selector.
///
/// # Errors
///
/// No such selector, id 0, a `max_size` or a weight that it does not allow, a member twice, a port that is none.
pub fn decode_profile_group(
    schema: &Schema,
    group: &wire::ActionProfileGroup,
) -> Result<ProfileGroup, EntryError> {
    let (profile, id) = profile_group_id(schema, group)?;
    let object = || format!("group {id} of `{}`", profile.name);
    let (min, max) = match profile.max_group_size {
        0 => (0, u32::MAX),
        max => (1, max),
    };
    let size = u32::try_from(group.max_size).ok();
    let size = size.filter(|size| (min..=max).contains(size));
    let max_size = size.ok_or_else(|| EntryError::MaxSize {
        object: object(),
        size: group.max_size,
        min,
        max: max.min(i32::MAX.cast_unsigned()),
    })?;
    let mut seen = BTreeSet::new();
    let mut members = Vec::with_capacity(group.members.len());
    for member in &group.members {
        let found = group_member(profile, member, object)?;
        if !seen.insert(found.member) {
            return Err(EntryError::DuplicateMember {
                object: object(),
                member: found.member,
            });
        }
        members.push(found);
    }
    Ok(ProfileGroup {
        profile: profile.id,
        id,
        members,
        max_size,
    })
}

/// Encodes a group of an action selector.
pub fn encode_profile_group(group: &ProfileGroup) -> wire::ActionProfileGroup {
    let member = |member: &GroupMember| wire::action_profile_group::Member {
        member_id: member.member.0,
        weight: i32::try_from(member.weight).unwrap_or(i32::MAX),
        watch_kind: member
            .watch_port
            .map(|port| WatchKind::WatchPort(bytes::encode(u128::from(port.0)))),
    };
    wire::ActionProfileGroup {
        action_profile_id: group.profile.0,
        group_id: group.id.0,
        members: group.members.iter().map(member).collect(),
        max_size: i32::try_from(group.max_size).unwrap_or(i32::MAX),
    }
}

#[expect(deprecated, reason = "old clients send the port as a number")]
fn group_member(
    profile: &ProfileSchema,
    member: &wire::action_profile_group::Member,
    object: impl Fn() -> String,
) -> Result<GroupMember, EntryError> {
    if member.member_id == 0 {
        return Err(EntryError::ZeroId { what: "member" });
    }
    Ok(GroupMember {
        member: MemberId(member.member_id),
        weight: weight(profile, member.weight, &object)?,
        watch_port: match &member.watch_kind {
            None => None,
            Some(WatchKind::Watch(port)) => port_number(*port),
            Some(WatchKind::WatchPort(port)) => port_bytes(port, &object)?,
        },
    })
}

/// Which member an update is about.
pub(super) fn member_id<'s>(
    schema: &'s Schema,
    member: &wire::ActionProfileMember,
) -> Result<(&'s ProfileSchema, MemberId), EntryError> {
    let profile = profile(schema, member.action_profile_id)?;
    match member.member_id {
        0 => Err(EntryError::ZeroId { what: "member" }),
        id => Ok((profile, MemberId(id))),
    }
}

/// Which group an update is about.
pub(super) fn profile_group_id<'s>(
    schema: &'s Schema,
    group: &wire::ActionProfileGroup,
) -> Result<(&'s ProfileSchema, ProfileGroupId), EntryError> {
    let profile = profile(schema, group.action_profile_id)?;
    with_selector(profile)?;
    match group.group_id {
        0 => Err(EntryError::ZeroId { what: "group" }),
        id => Ok((profile, ProfileGroupId(id))),
    }
}

pub(super) fn profile(schema: &Schema, id: u32) -> Result<&ProfileSchema, EntryError> {
    let id = ProfileId(id);
    schema.profile(id).ok_or(EntryError::UnknownProfile { id })
}

pub(super) fn with_selector(profile: &ProfileSchema) -> Result<(), EntryError> {
    match profile.with_selector {
        true => Ok(()),
        false => Err(EntryError::NoSelector {
            profile: profile.name.clone(),
        }),
    }
}
