//! Whether an entry or a group makes sense for a program. What passes here can be packed and executed.

use std::collections::{BTreeMap, BTreeSet};

use weft_proto::schema::{ActionSchema, FieldSchema, TableSchema};
use weft_proto::vocab::{
    ActionCall, CloneSession, CloneSessionId, FieldMatch, MatchKind, MulticastGroup,
    MulticastGroupId, ProfileGroup, ProfileId, ProfileMember, Replica, TableAction, TableEntry,
    TableId,
};

use super::WriteError;
use crate::bits::max_value;
use crate::program::Program;

/// Checks key and action of an entry that is to be written; its table's index.
pub(super) fn entry(program: &Program, entry: &TableEntry) -> Result<usize, WriteError> {
    let index = key(program, entry)?;
    let table = schema(program, entry.key.table)?;
    if entry.idle_timeout_ns < 0 || entry.idle_timeout_ns > 0 && !table.idle_timeout {
        return Err(invalid(
            table,
            "an idle timeout is negative, or not supported here",
        ));
    }
    match &entry.action {
        // A default entry without action goes back to the program's.
        None if entry.is_default => {}
        None => return Err(invalid(table, "an entry needs an action")),
        Some(TableAction::Call(_)) if table.profile.is_some() && !entry.is_default => {
            return Err(invalid(
                table,
                "an entry refers to its action profile, or has a one-shot set",
            ));
        }
        Some(TableAction::Call(found)) => call(program, table, found, entry.is_default)?,
        Some(_) if table.profile.is_none() || entry.is_default => {
            return Err(invalid(table, "only one action is possible here"));
        }
        Some(TableAction::Member(_)) => {}
        Some(TableAction::Group(_) | TableAction::OneShot(_)) if !chooses(program, table) => {
            return Err(invalid(table, "an entry refers to one member"));
        }
        Some(TableAction::Group(_)) => {}
        Some(TableAction::OneShot(members)) => {
            if members.len() > usize::from(u16::MAX) {
                return Err(invalid(table, "a group has 65535 members at most"));
            }
            for member in members {
                weight(&format!("table {}", table.name), member.weight)?;
                call(program, table, &member.call, false)?;
            }
        }
    }
    Ok(index)
}

/// Checks an entry's key; its table's index.
pub(super) fn key(program: &Program, entry: &TableEntry) -> Result<usize, WriteError> {
    let key = &entry.key;
    let table = schema(program, key.table)?;
    let index = program
        .table_index(key.table)
        .ok_or_else(|| unknown(program, key.table))?;
    if entry.is_default {
        if !key.matches.is_empty() || key.priority != 0 {
            return Err(invalid(
                table,
                "a default entry has no match and no priority",
            ));
        }
        return Ok(index);
    }
    if table.fields.is_empty() {
        return Err(invalid(
            table,
            "a table without key has a default entry only",
        ));
    }
    if let Some(id) = key.matches.keys().find(|id| table.field(**id).is_none()) {
        return Err(invalid(table, &format!("there is no match field {id}")));
    }
    for field in &table.fields {
        match key.matches.get(&field.id) {
            Some(found) => check_match(table, field, found)?,
            None if field.kind == MatchKind::Exact => {
                let problem = format!("exact match field {} is missing", field.name);
                return Err(invalid(table, &problem));
            }
            None => {}
        }
    }
    match (table.needs_priority(), key.priority) {
        (true, ..1) => Err(invalid(table, "an entry needs a priority of 1 or more")),
        (false, priority) if priority != 0 => Err(invalid(table, "an entry has no priority here")),
        _ => Ok(index),
    }
}

/// The index of an action profile.
pub(super) fn profile(program: &Program, id: ProfileId) -> Result<usize, WriteError> {
    let index = program.selector_index(id);
    index.ok_or_else(|| WriteError::Invalid {
        what: format!("action profile {:#010x}", id.0),
        problem: "the pipeline has no such profile".into(),
    })
}

/// Checks a member's id and action; its profile's index.
pub(super) fn member(program: &Program, member: &ProfileMember) -> Result<usize, WriteError> {
    let index = profile(program, member.profile)?;
    let refuse = |problem: &str| WriteError::Invalid {
        what: format!("a member of {}", program.selectors[index].name),
        problem: problem.into(),
    };
    if member.id.0 == 0 {
        return Err(refuse("0 is no member"));
    }
    let schema = program.schema();
    let tables = schema.profile(member.profile).map(|found| &found.tables);
    let mut is_used = false;
    for table in tables.into_iter().flatten() {
        let table = self::schema(program, *table)?;
        call(program, table, &member.call, false)?;
        is_used = true;
    }
    match is_used {
        true => Ok(index),
        false => Err(refuse("no table uses the profile, so it has no actions")),
    }
}

/// Checks a group's id, size and members' weights; its selector's index.
pub(super) fn profile_group(program: &Program, group: &ProfileGroup) -> Result<usize, WriteError> {
    let index = profile(program, group.profile)?;
    let def = &program.selectors[index];
    let what = || format!("group {} of {}", group.id, def.name);
    let refuse = |problem: &str| {
        Err(WriteError::Invalid {
            what: what(),
            problem: problem.into(),
        })
    };
    if !program.pipeline().selectors[index].chooses() {
        return refuse("the profile has no selector, and so no groups");
    }
    if group.id.0 == 0 {
        return refuse("0 is no group");
    }
    let limit = def.max_group_size;
    if limit > 0 && !(1..=limit).contains(&(group.max_size as usize)) {
        return refuse(&format!("max_size is 1 to {limit}"));
    }
    let mut seen = BTreeSet::new();
    for member in &group.members {
        weight(&what(), member.weight)?;
        if !seen.insert(member.member) {
            return refuse("has a member twice");
        }
    }
    Ok(index)
}

fn chooses(program: &Program, table: &TableSchema) -> bool {
    let profile = table.profile.and_then(|id| program.schema().profile(id));
    profile.is_some_and(|profile| profile.with_selector)
}

fn weight(what: &str, weight: u32) -> Result<(), WriteError> {
    if (1..=i32::MAX.cast_unsigned()).contains(&weight) {
        return Ok(());
    }
    Err(WriteError::Invalid {
        what: what.to_owned(),
        problem: "a member's weight is 1 or more".into(),
    })
}

/// Checks a multicast group.
pub(super) fn group(group: &MulticastGroup) -> Result<(), WriteError> {
    if group.id.0 == 0 {
        return Err(WriteError::Invalid {
            what: group_name(group.id),
            problem: "0 is no group".into(),
        });
    }
    replicas(&group_name(group.id), &group.replicas, &group.backups)
}

/// Checks a clone session.
pub(super) fn session(session: &CloneSession) -> Result<(), WriteError> {
    if session.id.0 == 0 {
        return Err(WriteError::Invalid {
            what: session_name(session.id),
            problem: "0 is no session".into(),
        });
    }
    replicas(
        &session_name(session.id),
        &session.replicas,
        &session.backups,
    )
}

fn replicas(
    what: &str,
    replicas: &[Replica],
    backups: &BTreeMap<Replica, Vec<Replica>>,
) -> Result<(), WriteError> {
    let refuse = |problem: &str| {
        Err(WriteError::Invalid {
            what: what.to_owned(),
            problem: problem.into(),
        })
    };
    let mut seen = BTreeSet::new();
    for replica in replicas.iter().chain(backups.values().flatten()) {
        if replica.port.0 == 0 {
            return refuse("has a replica for port 0, which is no port");
        }
        if !seen.insert(*replica) {
            return refuse("has two equal replicas");
        }
    }
    for (replica, backups) in backups {
        if !replicas.contains(replica) {
            return refuse("has backups of what is no replica");
        }
        if backups.iter().any(|backup| backup.port == replica.port) {
            return refuse("has a replica that backs itself up");
        }
    }
    Ok(())
}

pub(super) fn session_name(id: CloneSessionId) -> String {
    format!("clone session {id}")
}

pub(super) fn group_name(id: MulticastGroupId) -> String {
    format!("multicast group {id}")
}

pub(super) fn table_name(program: &Program, id: TableId) -> String {
    match program.schema().table(id) {
        Some(table) => format!("table {}", table.name),
        None => format!("table {:#010x}", id.0),
    }
}

fn schema(program: &Program, id: TableId) -> Result<&TableSchema, WriteError> {
    program
        .schema()
        .table(id)
        .ok_or_else(|| unknown(program, id))
}

fn unknown(program: &Program, id: TableId) -> WriteError {
    WriteError::Invalid {
        what: table_name(program, id),
        problem: "the pipeline has no such table".into(),
    }
}

fn invalid(table: &TableSchema, problem: &str) -> WriteError {
    WriteError::Invalid {
        what: format!("table {}", table.name),
        problem: problem.into(),
    }
}

fn check_match(
    table: &TableSchema,
    field: &FieldSchema,
    found: &FieldMatch,
) -> Result<(), WriteError> {
    let what = || format!("table {}, match field {}", table.name, field.name);
    let refuse = |problem: &str| {
        Err(WriteError::Invalid {
            what: what(),
            problem: problem.into(),
        })
    };
    let all = max_value(field.bits);
    let fits = |value: u128| {
        if value > all {
            return Err(WriteError::TooWide {
                what: what(),
                value,
                bits: field.bits,
            });
        }
        Ok(())
    };
    match (field.kind, *found) {
        (MatchKind::Exact, FieldMatch::Exact(value))
        | (MatchKind::Optional, FieldMatch::Optional(value)) => fits(value),
        (MatchKind::Lpm, FieldMatch::Lpm { value, prefix_len }) => {
            fits(value)?;
            if !(1..=field.bits).contains(&prefix_len) {
                return refuse("a prefix has 1 bit at least, and no more than the field");
            }
            if value & max_value(field.bits - prefix_len) != 0 {
                return refuse("bits after the prefix are not zero");
            }
            Ok(())
        }
        (MatchKind::Ternary, FieldMatch::Ternary { value, mask }) => {
            fits(value)?;
            fits(mask)?;
            if mask == 0 {
                return refuse("a mask of zero is don't-care, which is left out");
            }
            if value & !mask != 0 {
                return refuse("bits outside the mask are not zero");
            }
            Ok(())
        }
        (MatchKind::Range, FieldMatch::Range { low, high }) => {
            fits(low)?;
            fits(high)?;
            if low > high {
                return refuse("the lower bound is above the upper one");
            }
            if low == 0 && high == all {
                return refuse("the whole range is don't-care, which is left out");
            }
            Ok(())
        }
        _ => refuse("is matched in another way than the field is declared"),
    }
}

fn call(
    program: &Program,
    table: &TableSchema,
    call: &ActionCall,
    is_default: bool,
) -> Result<(), WriteError> {
    let allowed = table.action(call.action).is_some_and(|action| {
        if is_default {
            action.as_default
        } else {
            action.in_entries
        }
    });
    let action: Option<&ActionSchema> = program.schema().action(call.action);
    let Some(action) = action.filter(|_| allowed) else {
        let problem = format!("action {:#010x} is not allowed here", call.action.0);
        return Err(invalid(table, &problem));
    };
    let ids = call.params.iter().map(|(id, _)| *id);
    if !ids.eq(action.params.iter().map(|param| param.id)) {
        let problem = format!(
            "action {} does not have exactly these parameters",
            action.name
        );
        return Err(invalid(table, &problem));
    }
    for ((_, value), param) in call.params.iter().zip(&action.params) {
        if *value > max_value(param.bits) {
            return Err(WriteError::TooWide {
                what: format!("action {}, parameter {}", action.name, param.name),
                value: *value,
                bits: param.bits,
            });
        }
    }
    Ok(())
}
