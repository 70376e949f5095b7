//! Actions of entries: one call, or a one-shot set of weighted calls (P4Runtime §9.1.2, §9.2.3).

use super::EntryError;
use crate::bytes;
use crate::p4::v1 as wire;
use crate::p4::v1::action_profile_action::WatchKind;
use crate::p4::v1::table_action::Type;
use crate::schema::{ProfileSchema, Schema, SelectorSize, TableSchema};
use crate::vocab::{ActionCall, ActionId, ParamId, PortNo, TableAction, WeightedAction};

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
        (Some(Type::ActionProfileMemberId(_)), Some(_)) => Err(EntryError::Unsupported {
            what: "action_profile_member_id",
        }),
        (Some(Type::ActionProfileGroupId(_)), Some(profile)) if profile.with_selector => {
            Err(EntryError::Unsupported {
                what: "action_profile_group_id",
            })
        }
        (Some(_), None) => Err(wrong_shape("one action")),
        (Some(_), Some(profile)) if profile.with_selector => {
            Err(wrong_shape("a one-shot set of actions"))
        }
        (Some(_), Some(_)) => Err(wrong_shape("a member of its action profile")),
    }
}

pub(super) fn encode(action: &TableAction) -> wire::TableAction {
    let kind = match action {
        TableAction::Call(call) => Type::Action(encode_call(call)),
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
    let max_weight = match profile.selector_size {
        SelectorSize::SumOfMembers { max_weight } if max_weight > 0 => {
            i32::try_from(max_weight).unwrap_or(i32::MAX)
        }
        _ => i32::MAX,
    };
    let mut members = Vec::with_capacity(set.action_profile_actions.len());
    for member in &set.action_profile_actions {
        let bad_weight = || EntryError::Weight {
            table: table.name.clone(),
            weight: member.weight,
            max: max_weight,
        };
        let weight = u32::try_from(member.weight).map_err(|_| bad_weight())?;
        if weight == 0 || member.weight > max_weight {
            return Err(bad_weight());
        }
        let action = member
            .action
            .as_ref()
            .ok_or_else(|| EntryError::ActionMissing {
                table: table.name.clone(),
            })?;
        members.push(WeightedAction {
            call: call(schema, table, action, false)?,
            weight,
            watch_port: watch_port(table, member.watch_kind.as_ref())?,
        });
    }
    let size = match profile.selector_size {
        SelectorSize::SumOfWeights => members.iter().map(|member| u64::from(member.weight)).sum(),
        SelectorSize::SumOfMembers { .. } => members.len() as u64,
    };
    if profile.max_group_size > 0 && size > u64::from(profile.max_group_size) {
        return Err(EntryError::GroupSize {
            table: table.name.clone(),
            size,
            max: profile.max_group_size,
        });
    }
    Ok(members)
}

/// A watched port in either encoding: a byte string, or the number that older clients send.
#[expect(deprecated, reason = "old clients send the port as a number")]
fn watch_port(
    table: &TableSchema,
    watch: Option<&WatchKind>,
) -> Result<Option<PortNo>, EntryError> {
    let port = match watch {
        None | Some(WatchKind::Watch(0)) => return Ok(None),
        Some(WatchKind::Watch(port)) => Some(port.cast_unsigned()),
        Some(WatchKind::WatchPort(port)) => bytes::decode(port, 32)
            .ok()
            .and_then(|port| u32::try_from(port).ok())
            .filter(|&port| port != 0),
    };
    match port {
        Some(port) => Ok(Some(PortNo(port))),
        None => Err(EntryError::WatchPort {
            table: table.name.clone(),
        }),
    }
}

fn encode_call(call: &ActionCall) -> wire::Action {
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
