//! Write (P4Runtime §12): a batch of updates, applied to a copy of the state, published as a whole.
//!
//! Because a batch is published at once, every batch is atomic for packets; the three modes differ only in what
//! happens when an update fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use tonic::{Code, Status};
use weft_proto::codec::{Entity, Update, UpdateKind, decode_update};
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::write_request::Atomicity;
use weft_proto::status::{UpdateError, batch_error};
use weft_proto::vocab::{
    CounterId, CounterValue, DeviceId, EntryKey, MeterId, PortNo, TableAction, TableEntry,
};

use super::idle;
use crate::host::Shared;
use crate::state::{EntryView, State, WriteError};
use crate::worker::Change;

/// A counter that is set when the batch is accepted: counters are shared with the state that packets see.
enum SetCounter {
    /// Of an entry.
    Direct {
        key: EntryKey,
        is_default: bool,
        value: CounterValue,
    },
    /// Of an array.
    Cell {
        counter: CounterId,
        index: Option<u32>,
        value: CounterValue,
    },
    /// Those of an entry's meter, to zero.
    EntryMeter { key: EntryKey, is_default: bool },
    /// Those of a meter, to zero.
    Meter { meter: MeterId, index: Option<u32> },
}

/// Executes a write; returns when every worker forwards by it.
pub(super) async fn write(shared: &Arc<Shared>, request: wire::WriteRequest) -> Result<(), Status> {
    let device = shared.device(DeviceId(request.device_id))?;
    let continues = match Atomicity::try_from(request.atomicity) {
        Ok(Atomicity::ContinueOnError) => true,
        Ok(Atomicity::RollbackOnError | Atomicity::DataplaneAtomic) => false,
        Err(_) => return Err(Status::invalid_argument("unknown atomicity")),
    };
    let _turn = device.turn.lock().await;
    device.check_primary(&request.role, request.election_id.as_ref())?;
    let mut forwarding = device.forwarding();
    let staged = forwarding.saved.is_some();
    let loaded = match &mut forwarding.saved {
        Some(saved) => saved,
        None => forwarding
            .committed
            .as_mut()
            .ok_or_else(|| Status::failed_precondition("the switch has no pipeline yet"))?,
    };
    loaded.state.set_time(shared.now());
    let mut counters = Vec::new();
    let ports = shared.topology().port_numbers(device.id);
    let results: Vec<Result<(), UpdateError>> = request
        .updates
        .iter()
        .map(|update| apply(&mut loaded.state, &ports, update, &mut counters))
        .collect();
    let failed = results.iter().any(Result::is_err);
    if failed && !continues {
        return Err(batch_error(&rolled_back(results)));
    }
    for counter in counters {
        set_counter(&loaded.state, &counter);
    }
    if results.iter().any(Result::is_ok) {
        let state = loaded.state.clone();
        // Sent and kept before the first wait, so that a caller who goes away leaves nothing half done.
        let pending = match staged {
            true => None,
            false => Some(
                shared
                    .workers
                    .apply(&Change::State(device.id, Some(state)))?,
            ),
        };
        let soonest = loaded.state.soonest_timeout().filter(|_| !staged);
        device.set_forwarding(forwarding);
        if let Some(soonest) = soonest {
            idle::watch(shared, device, soonest);
        }
        if let Some(pending) = pending {
            pending.wait().await?;
        }
    }
    match failed {
        true => Err(batch_error(&results)),
        false => Ok(()),
    }
}

/// Applies the updates of a write to a state that nobody forwards by yet, counters included; says what became of each.
/// What fuzzing and tests need of a write to a switch with these ports.
pub fn apply_updates(
    state: &mut State,
    ports: &BTreeSet<PortNo>,
    updates: &[wire::Update],
) -> Vec<Result<(), UpdateError>> {
    let mut counters = Vec::new();
    let updates = updates.iter();
    let results = updates
        .map(|update| apply(state, ports, update, &mut counters))
        .collect();
    for counter in &counters {
        set_counter(state, counter);
    }
    results
}

/// Applies one update; nothing is changed when it fails.
fn apply(
    state: &mut State,
    ports: &BTreeSet<PortNo>,
    update: &wire::Update,
    counters: &mut Vec<SetCounter>,
) -> Result<(), UpdateError> {
    let Update { kind, entity } = decode_update(state.program().schema(), update)?;
    check_watched(ports, &entity)?;
    match entity {
        Entity::Entry {
            mut entry,
            counter,
            meter,
            clear,
        } => {
            match kind {
                UpdateKind::Insert => state.insert(&entry).map_err(refused)?,
                UpdateKind::Modify => modify(state, &mut entry)?,
                UpdateKind::Delete => state.delete(&entry).map_err(refused)?,
            }
            let TableEntry {
                key, is_default, ..
            } = entry;
            let metered = view(state, &key, is_default).is_some_and(|view| view.meter.is_some());
            if metered && kind != UpdateKind::Delete {
                // Unset, also in a modification, it is the default (§9.1.7).
                state
                    .set_entry_meter(&key, is_default, meter)
                    .map_err(refused)?;
            }
            counters.extend(clear.then(|| SetCounter::EntryMeter {
                key: key.clone(),
                is_default,
            }));
            counters.extend(counter.map(|value| SetCounter::Direct {
                key,
                is_default,
                value,
            }));
        }
        Entity::Group(group) => match kind {
            UpdateKind::Insert => state.insert_group(&group),
            UpdateKind::Modify => state.modify_group(&group),
            UpdateKind::Delete => state.delete_group(group.id),
        }
        .map_err(refused)?,
        Entity::Session(session) => match kind {
            UpdateKind::Insert => state.insert_session(&session),
            UpdateKind::Modify => state.modify_session(&session),
            UpdateKind::Delete => state.delete_session(session.id),
        }
        .map_err(refused)?,
        Entity::Member(member) => match kind {
            UpdateKind::Insert => state.insert_member(&member),
            UpdateKind::Modify => state.modify_member(&member),
            UpdateKind::Delete => state.delete_member(member.profile, member.id),
        }
        .map_err(refused)?,
        Entity::ProfileGroup(group) => match kind {
            UpdateKind::Insert => state.insert_profile_group(&group),
            UpdateKind::Modify => state.modify_profile_group(&group),
            UpdateKind::Delete => state.delete_profile_group(group.profile, group.id),
        }
        .map_err(refused)?,
        Entity::Counter {
            key,
            is_default,
            value,
        } => {
            if view(state, &key, is_default).is_none() {
                return Err(no_entry());
            }
            counters.extend(value.map(|value| SetCounter::Direct {
                key,
                is_default,
                value,
            }));
        }
        Entity::Meter {
            meter,
            index,
            config,
            clear,
        } => {
            state.set_meter(meter, index, config).map_err(refused)?;
            counters.extend(clear.then_some(SetCounter::Meter { meter, index }));
        }
        Entity::EntryMeter {
            key,
            is_default,
            config,
            clear,
        } => {
            state
                .set_entry_meter(&key, is_default, config)
                .map_err(refused)?;
            counters.extend(clear.then_some(SetCounter::EntryMeter { key, is_default }));
        }
        Entity::CounterCell {
            counter,
            index,
            value,
        } => {
            state.check_counter(counter, index).map_err(refused)?;
            counters.extend(value.map(|value| SetCounter::Cell {
                counter,
                index,
                value,
            }));
        }
    }
    Ok(())
}

/// A watched port is one of the switch (§9.2.2).
fn check_watched(ports: &BTreeSet<PortNo>, entity: &Entity) -> Result<(), UpdateError> {
    let unknown = |port: &PortNo| !ports.contains(port);
    let found = match entity {
        Entity::ProfileGroup(group) => {
            let mut watched = group.members.iter().filter_map(|member| member.watch_port);
            watched.find(unknown)
        }
        Entity::Entry { entry, .. } => match &entry.action {
            Some(TableAction::OneShot(set)) => {
                let mut watched = set.iter().filter_map(|member| member.watch_port);
                watched.find(unknown)
            }
            _ => None,
        },
        _ => None,
    };
    match found {
        None => Ok(()),
        Some(port) => Err(UpdateError::new(
            Code::InvalidArgument,
            format!("the switch has no port {port} that could be watched"),
        )),
    }
}

/// Modifies an entry; one that comes without an action keeps its own (§9.1.2).
fn modify(state: &mut State, entry: &mut TableEntry) -> Result<(), UpdateError> {
    if entry.action.is_none() && !entry.is_default {
        let view = state.entry(&entry.key).ok_or_else(no_entry)?;
        let held = view.entry;
        if view.is_const {
            // Only the counter of a constant entry can be set, and that comes later.
            return Ok(());
        }
        entry.action.clone_from(&held.action);
    }
    state.modify(entry).map_err(refused)
}

fn no_entry() -> UpdateError {
    UpdateError::new(Code::NotFound, "there is no such entry")
}

fn view<'a>(state: &'a State, key: &EntryKey, is_default: bool) -> Option<EntryView<'a>> {
    match is_default {
        true => state.default_entry(key.table),
        false => state.entry(key),
    }
}

fn set_counter(state: &State, set: &SetCounter) {
    match set {
        SetCounter::Direct {
            key,
            is_default,
            value,
        } => {
            // An entry that a later update of the batch has deleted has no counter any more.
            let view = view(state, key, *is_default);
            if let Some(counter) = view.and_then(|view| view.counter) {
                counter.set(*value);
            }
        }
        SetCounter::Cell {
            counter,
            index,
            value,
        } => {
            // It was checked before the batch was accepted.
            let _ = state.set_counter(*counter, *index, *value);
        }
        SetCounter::EntryMeter { key, is_default } => state.clear_entry_meter(key, *is_default),
        SetCounter::Meter { meter, index } => state.clear_meter(*meter, *index),
    }
}

/// What a batch that is undone as a whole answers: its own error for what failed, `ABORTED` for the rest.
fn rolled_back(results: Vec<Result<(), UpdateError>>) -> Vec<Result<(), UpdateError>> {
    let aborted = |()| Err(UpdateError::new(Code::Aborted, "another update failed"));
    results
        .into_iter()
        .map(|result| result.and_then(aborted))
        .collect()
}

fn refused(error: WriteError) -> UpdateError {
    UpdateError::new(error.code(), error.to_string())
}
