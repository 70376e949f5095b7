//! A pipeline in the place of another one, with what that one holds (P4Runtime §14, RECONCILE_AND_COMMIT).
//!
//! What was written is kept by name: a table, its key fields and actions, their parameters, a meter or a counter are
//! the same in both pipelines if they have one name, one width and one kind; ids may differ. An entry that the new
//! pipeline cannot hold, or where it would mean something else, ends the change with its name. What packets left
//! behind goes along: counters, the times of hits, and with them idle timers.

use std::collections::BTreeMap;

use weft_proto::schema::{Schema, TableSchema};
use weft_proto::vocab::{
    ActionCall, EntryKey, ParamId, ProfileGroup, ProfileMember, TableAction, TableEntry, TableId,
    WeightedAction,
};

use crate::state::{EntryView, State};

/// Writes what `from` holds to `to`, which is new; says what cannot be kept.
pub(super) fn keep(from: &State, to: &mut State) -> Result<(), String> {
    for group in from.groups() {
        to.insert_group(group).map_err(|error| error.to_string())?;
    }
    for session in from.sessions() {
        to.insert_session(session)
            .map_err(|error| error.to_string())?;
    }
    let names = Names {
        old: from.program().clone(),
        next: to.program().clone(),
    };
    keep_profiles(&names, from, to)?;
    for table in names.old().tables() {
        for view in from.entries(table.id) {
            keep_entry(&names, to, table, &view)?;
        }
        if let Some(view) = from.default_entry(table.id) {
            keep_default(&names, to, table, &view)?;
        }
    }
    keep_meters(&names, from, to)?;
    keep_counters(&names, from, to);
    Ok(())
}

/// Members and groups of action profiles.
fn keep_profiles(names: &Names, from: &State, to: &mut State) -> Result<(), String> {
    for old in names.old().profiles() {
        let new = names.next().profiles().find(|new| new.name == old.name);
        let new = || {
            new.map(|new| new.id)
                .ok_or_else(|| format!("action profile {} is no more", old.name))
        };
        let refused = |problem: String| format!("action profile {}: {problem}", old.name);
        for member in from.members(old.id) {
            let member = ProfileMember {
                profile: new()?,
                call: names.call(&member.call).map_err(refused)?,
                ..member.clone()
            };
            to.insert_member(&member)
                .map_err(|error| error.to_string())?;
        }
        for group in from.profile_groups(old.id) {
            let group = ProfileGroup {
                profile: new()?,
                ..group.clone()
            };
            to.insert_profile_group(&group)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn keep_entry(
    names: &Names,
    to: &mut State,
    table: &TableSchema,
    view: &EntryView<'_>,
) -> Result<(), String> {
    let entry = match names.entry(table, view.entry) {
        Ok(entry) => entry,
        // The old program gave it, and takes it along.
        Err(_) if view.is_const => return Ok(()),
        Err(problem) => return Err(format!("an entry of table {}: {problem}", table.name)),
    };
    if view.is_const {
        to.keep_counts(&entry.key, view);
        return keep_meter(to, &entry, view);
    }
    to.insert_kept(&entry, view)
        .map_err(|error| error.to_string())?;
    keep_meter(to, &entry, view)
}

/// The configuration of an entry's meter.
fn keep_meter(to: &mut State, entry: &TableEntry, view: &EntryView<'_>) -> Result<(), String> {
    match view.meter {
        Some((Some(config), _)) => to
            .set_entry_meter(&entry.key, entry.is_default, Some(config))
            .map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

fn keep_default(
    names: &Names,
    to: &mut State,
    table: &TableSchema,
    view: &EntryView<'_>,
) -> Result<(), String> {
    let written = view.entry.action != initial(table);
    let entry = match names.default_entry(table, view.entry) {
        Ok(entry) => entry,
        Err(_) if !written => return Ok(()),
        Err(problem) => {
            let name = &table.name;
            return Err(format!("the default entry of table {name}: {problem}"));
        }
    };
    if written || !view.entry.metadata.is_empty() {
        to.modify(&entry).map_err(|error| error.to_string())?;
    }
    to.keep_default_counts(entry.key.table, view);
    keep_meter(to, &entry, view)
}

fn initial(table: &TableSchema) -> Option<TableAction> {
    table.initial_default.clone().map(TableAction::Call)
}

fn keep_meters(names: &Names, from: &State, to: &mut State) -> Result<(), String> {
    for old in names.old().meters() {
        let new = names.next().meters().find(|meter| meter.name == old.name);
        for view in from.meter(old.id, None) {
            let Some(config) = view.cell.config else {
                continue;
            };
            let cell = format!("cell {} of meter {}", view.cell.index, old.name);
            let new = new.ok_or_else(|| format!("{cell}: the pipeline has no such meter"))?;
            if new.unit != old.unit {
                return Err(format!("{cell}: the meter measures something else"));
            }
            to.set_meter(new.id, Some(view.cell.index), Some(config))
                .map_err(|error| format!("{cell}: {error}"))?;
        }
    }
    Ok(())
}

/// Counters that have no place any more are nobody's entries, and are forgotten.
fn keep_counters(names: &Names, from: &State, to: &State) {
    for old in names.old().counters() {
        let Some(new) = names.next().counters().find(|new| new.name == old.name) else {
            continue;
        };
        for (index, value) in from.counter(old.id, None) {
            // An index beyond the new size has no place.
            let _ = to.set_counter(new.id, Some(index), value);
        }
    }
}

/// Both pipelines' names.
struct Names {
    old: std::sync::Arc<crate::program::Program>,
    next: std::sync::Arc<crate::program::Program>,
}

impl Names {
    fn old(&self) -> &Schema {
        self.old.schema()
    }

    fn next(&self) -> &Schema {
        self.next.schema()
    }

    fn table(&self, old: &TableSchema) -> Result<&TableSchema, String> {
        let found = self.next().tables().find(|new| new.name == old.name);
        found.ok_or_else(|| "the pipeline has no such table".to_owned())
    }

    fn entry(&self, old: &TableSchema, entry: &TableEntry) -> Result<TableEntry, String> {
        let new = self.table(old)?;
        let mut matches = BTreeMap::new();
        for (id, found) in &entry.key.matches {
            let Some(field) = old.field(*id) else {
                continue;
            };
            let same = new.field_by_name(&field.name);
            let same = same.filter(|new| (new.bits, new.kind) == (field.bits, field.kind));
            let same = same.ok_or_else(|| format!("key field {} is another one", field.name))?;
            matches.insert(same.id, *found);
        }
        let profile = |schema: &Schema, table: &TableSchema| {
            let profile = table.profile.and_then(|id| schema.profile(id));
            profile.map(|profile| profile.name.clone())
        };
        if profile(self.old(), old) != profile(self.next(), new) {
            return Err("its entries choose actions by another action profile".into());
        }
        if new.needs_priority() != old.needs_priority() {
            return Err("its entries have a priority in one pipeline only".into());
        }
        Ok(TableEntry {
            key: EntryKey {
                table: new.id,
                matches,
                priority: entry.key.priority,
            },
            action: self.action(entry.action.as_ref())?,
            ..entry.clone()
        })
    }

    fn default_entry(&self, old: &TableSchema, entry: &TableEntry) -> Result<TableEntry, String> {
        let new: TableId = self.table(old)?.id;
        Ok(TableEntry {
            key: EntryKey {
                table: new,
                ..EntryKey::default()
            },
            action: self.action(entry.action.as_ref())?,
            ..entry.clone()
        })
    }

    fn action(&self, action: Option<&TableAction>) -> Result<Option<TableAction>, String> {
        Ok(match action {
            None => None,
            Some(TableAction::Member(id)) => Some(TableAction::Member(*id)),
            Some(TableAction::Group(id)) => Some(TableAction::Group(*id)),
            Some(TableAction::Call(call)) => Some(TableAction::Call(self.call(call)?)),
            Some(TableAction::OneShot(members)) => {
                let members = members.iter().map(|member| {
                    Ok(WeightedAction {
                        call: self.call(&member.call)?,
                        ..member.clone()
                    })
                });
                Some(TableAction::OneShot(
                    members.collect::<Result<_, String>>()?,
                ))
            }
        })
    }

    fn call(&self, call: &ActionCall) -> Result<ActionCall, String> {
        let old = self.old().action(call.action);
        let old = old.ok_or_else(|| "its action is unknown".to_owned())?;
        let new = self.next().actions().find(|new| new.name == old.name);
        let new = new.ok_or_else(|| format!("the pipeline has no action {}", old.name))?;
        if new.params.len() != old.params.len() {
            return Err(format!("action {} has other parameters", old.name));
        }
        let mut params: Vec<(ParamId, u128)> = Vec::with_capacity(call.params.len());
        for (id, value) in &call.params {
            let Some(param) = old.param(*id) else {
                continue;
            };
            let same = new.param_by_name(&param.name);
            let same = same.filter(|new| new.bits == param.bits);
            let same = same.ok_or_else(|| {
                format!(
                    "parameter {} of action {} is another one",
                    param.name, old.name
                )
            })?;
            params.push((same.id, *value));
        }
        params.sort_unstable();
        Ok(ActionCall {
            action: new.id,
            params,
        })
    }
}
