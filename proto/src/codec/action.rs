//! Actions of entries: one call, or a one-shot set of weighted calls (P4Runtime §9.1.2, §9.2.3).

use super::EntryError;
use crate::bytes;
use crate::p4::v1 as wire;
use crate::p4::v1::action_profile_action::WatchKind;
use crate::p4::v1::table_action::Type;
use crate::schema::{ActionSchema, ProfileSchema, Schema, SelectorSize, TableSchema};
use crate::vocab::{
    ActionCall, ActionId, MemberId, ParamId, PortNo, ProfileGroupId, TableAction, WeightedAction,
};

pub(super) fn decode(
    schema: &Schema,
    table: &TableSchema,
    action: &wire::TableAction,
    is_default: bool,
) -> Result<TableAction, EntryError> {
    let profile = table
        .profile
        .filter(|_| !is_default)
        .and_then(|id| schema.profile(id));
    let wrong_shape = |expected| EntryError::ActionShape {
        table: table.name.clone(),
        expected,
    };
    match (&action.r#type, profile) {
        (None, _) => Err(EntryError::ActionMissing {
            table: table.name.clone(),
        }),
        (Some(Type::Action(action)), None) => {
            Ok(TableAction::Call(call(schema, table, action, is_default)?))
        }
        (Some(Type::ActionProfileActionSet(set)), Some(profile)) if profile.with_selector => {
            Ok(TableAction::OneShot(one_shot(schema, table, profile, set)?))
        }
        (Some(Type::ActionProfileMemberId(id)), Some(_)) => match id {
            0 => Err(EntryError::ZeroId { what: "member" }),
            &id => Ok(TableAction::Member(MemberId(id))),
        },
        (Some(Type::ActionProfileGroupId(id)), Some(profile)) if profile.with_selector => {
            match id {
                0 => Err(EntryError::ZeroId { what: "group" }),
                &id => Ok(TableAction::Group(ProfileGroupId(id))),
            }
        }
        (Some(_), None) => Err(wrong_shape("one action")),
        (Some(_), Some(profile)) if profile.with_selector => {
            Err(wrong_shape("a set of actions, a member or a group"))
        }
        (Some(_), Some(_)) => Err(wrong_shape("a member of its action profile")),
    }
}

pub(super) fn encode(action: &TableAction) -> wire::TableAction {
    let kind = match action {
        TableAction::Call(call) => Type::Action(encode_call(call)),
        TableAction::Member(id) => Type::ActionProfileMemberId(id.0),
        TableAction::Group(id) => Type::ActionProfileGroupId(id.0),
        TableAction::OneShot(members) => {
            Type::ActionProfileActionSet(wire::ActionProfileActionSet {
                action_profile_actions: members.iter().map(encode_member).collect(),
                ..wire::ActionProfileActionSet::default()
            })
        }
    };
    wire::TableAction { r#type: Some(kind) }
}

fn call(
    schema: &Schema,
    table: &TableSchema,
    call: &wire::Action,
    is_default: bool,
) -> Result<ActionCall, EntryError> {
    let id = ActionId(call.action_id);
    let (Some(reference), Some(action)) = (table.action(id), schema.action(id)) else {
        return Err(EntryError::UnknownAction {
            table: table.name.clone(),
            id,
        });
    };
    let allowed = match is_default {
        true if !reference.as_default => Some("entries"),
        false if !reference.in_entries => Some("the default entry"),
        _ => None,
    };
    if let Some(allowed) = allowed {
        return Err(EntryError::ActionScope {
            table: table.name.clone(),
            action: action.name.clone(),
            allowed,
        });
    }
    arguments(action, call)
}

/// A call of an action that is allowed where it stands.
pub(super) fn arguments(
    action: &ActionSchema,
    call: &wire::Action,
) -> Result<ActionCall, EntryError> {
    let id = action.id;
    let mut params: Vec<(ParamId, u128)> = Vec::with_capacity(call.params.len());
    for given in &call.params {
        let id = ParamId(given.param_id);
        let param = action.param(id).ok_or_else(|| EntryError::UnknownParam {
            action: action.name.clone(),
            id,
        })?;
        if params.iter().any(|(known, _)| *known == id) {
            return Err(EntryError::DuplicateParam {
                action: action.name.clone(),
                param: param.name.clone(),
            });
        }
        let value = bytes::decode(&given.value, param.bits).map_err(|error| EntryError::Value {
            object: format!("{}.{}", action.name, param.name),
            error,
        })?;
        params.push((id, value));
    }
    if let Some(missing) = action
        .params
        .iter()
        .find(|param| !params.iter().any(|(id, _)| *id == param.id))
    {
        return Err(EntryError::MissingParam {
            action: action.name.clone(),
            param: missing.name.clone(),
        });
    }
    params.sort_unstable();
    Ok(ActionCall { action: id, params })
}

fn one_shot(
    schema: &Schema,
    table: &TableSchema,
    profile: &ProfileSchema,
    set: &wire::ActionProfileActionSet,
) -> Result<Vec<WeightedAction>, EntryError> {
    // A selector chooses in one way only, and what its groups count is declared once for all of them.
    let unsupported = if set.group_action.is_some() {
        Some("group_action")
    } else if set.action_selection_mode != 0 {
        Some("action_selection_mode")
    } else if set.size_semantics != 0 {
        Some("size_semantics")
    } else {
        None
    };
    if let Some(what) = unsupported {
        return Err(EntryError::Unsupported { what });
    }
    let object = || format!("a set of actions in table `{}`", table.name);
    let mut members = Vec::with_capacity(set.action_profile_actions.len());
    for member in &set.action_profile_actions {
        let action = member
            .action
            .as_ref()
            .ok_or_else(|| EntryError::ActionMissing {
                table: table.name.clone(),
            })?;
        members.push(WeightedAction {
            call: call(schema, table, action, false)?,
            weight: weight(profile, member.weight, object)?,
            watch_port: watch_port(member.watch_kind.as_ref(), object)?,
        });
    }
    let size = group_size(profile, members.iter().map(|member| member.weight));
    if profile.max_group_size > 0 && size > u64::from(profile.max_group_size) {
        return Err(EntryError::GroupSize {
            object: object(),
            size,
            max: profile.max_group_size,
        });
    }
    Ok(members)
}

/// A weight that the profile allows.
pub(super) fn weight(
    profile: &ProfileSchema,
    weight: i32,
    object: impl Fn() -> String,
) -> Result<u32, EntryError> {
    let max = match profile.selector_size {
        SelectorSize::SumOfMembers { max_weight } if max_weight > 0 => {
            i32::try_from(max_weight).unwrap_or(i32::MAX)
        }
        _ => i32::MAX,
    };
    match u32::try_from(weight) {
        Ok(possible @ 1..) if weight <= max => Ok(possible),
        _ => Err(EntryError::Weight {
            object: object(),
            weight,
            max,
        }),
    }
}

/// How much members with these weights count against the limits of their selector.
pub(super) fn group_size(profile: &ProfileSchema, weights: impl Iterator<Item = u32>) -> u64 {
    match profile.selector_size {
        SelectorSize::SumOfWeights => weights.map(u64::from).sum(),
        SelectorSize::SumOfMembers { .. } => weights.count() as u64,
    }
}

/// A watched port in either encoding: a byte string, or the number that older clients send.
#[expect(deprecated, reason = "old clients send the port as a number")]
fn watch_port(
    watch: Option<&WatchKind>,
    object: impl Fn() -> String,
) -> Result<Option<PortNo>, EntryError> {
    match watch {
        None => Ok(None),
        Some(WatchKind::Watch(port)) => Ok(port_number(*port)),
        Some(WatchKind::WatchPort(port)) => port_bytes(port, object),
    }
}

/// A watched port as a number; 0 is none.
pub(super) fn port_number(port: i32) -> Option<PortNo> {
    Some(PortNo(port.cast_unsigned())).filter(|port| port.0 != 0)
}

/// A watched port as a byte string; an empty one is none.
pub(super) fn port_bytes(
    port: &[u8],
    object: impl Fn() -> String,
) -> Result<Option<PortNo>, EntryError> {
    if port.is_empty() {
        return Ok(None);
    }
    let number = bytes::decode(port, 32).ok();
    let number = number.and_then(|port| u32::try_from(port).ok());
    match number.filter(|&port| port != 0) {
        Some(port) => Ok(Some(PortNo(port))),
        None => Err(EntryError::WatchPort { object: object() }),
    }
}

pub(super) fn encode_call(call: &ActionCall) -> wire::Action {
    wire::Action {
        action_id: call.action.0,
        params: call
            .params
            .iter()
            .map(|&(id, value)| wire::action::Param {
                param_id: id.0,
                value: bytes::encode(value),
            })
            .collect(),
    }
}

fn encode_member(member: &WeightedAction) -> wire::ActionProfileAction {
    wire::ActionProfileAction {
        action: Some(encode_call(&member.call)),
        weight: i32::try_from(member.weight).unwrap_or(i32::MAX),
        watch_kind: member
            .watch_port
            .map(|port| WatchKind::WatchPort(bytes::encode(u128::from(port.0)))),
    }
}
