//! The difference between two forwarding states, as stages of updates.
//!
//! What is pointed at comes before what points at it: groups and meters are written first, then entries are added and
//! changed in place, then entries are deleted, then groups and meters. An entry whose key stays is modified, never deleted and inserted, so
//! no packet meets a gap.

use std::collections::BTreeMap;

use weft_proto::vocab::{MeterCell, MulticastGroup, TableEntry};

use super::state::{Desired, MeterKey, default_entry, table_entry};

/// What an update does to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It was not there.
    Insert,
    /// It is there with the same key. Default entries and meters are only ever modified.
    Modify,
    /// It goes.
    Delete,
}

/// What an update is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A table entry; when deleted or reset, its last known content or no action.
    Entry(TableEntry),
    /// A multicast group; when deleted, its last known content.
    Group(MulticastGroup),
    /// A meter's cell; without configuration it is reset.
    Meter(MeterCell),
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What to do.
    pub change: Change,
    /// To what.
    pub subject: Subject,
}

/// Writes in order: a stage starts when the switch has answered the one before. No stage is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The stages.
    pub stages: Vec<Vec<Update>>,
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Number of updates in all stages.
    pub fn count(&self) -> usize {
        self.stages.iter().map(Vec::len).sum()
    }

    /// All updates, in order.
    pub fn updates(&self) -> impl Iterator<Item = &Update> {
        self.stages.iter().flatten()
    }
}

/// What turns `observed` into `desired`. Entries that must survive unseen (other owners') are left out of `observed`.
pub fn diff(observed: &Desired, desired: &Desired) -> Plan {
    let (mut group_writes, mut group_deletes) = (Vec::new(), Vec::new());
    compare(&observed.groups, &desired.groups, |change, _, group| {
        let subject = Subject::Group(group.clone());
        let stage = match change {
            Change::Delete => &mut group_deletes,
            Change::Insert | Change::Modify => &mut group_writes,
        };
        stage.push(Update { change, subject });
    });
    compare(&observed.meters, &desired.meters, |change, key, config| {
        let (stage, config) = match change {
            Change::Delete => (&mut group_deletes, None),
            Change::Insert | Change::Modify => (&mut group_writes, Some(*config)),
        };
        stage.push(Update {
            change: Change::Modify,
            subject: Subject::Meter(key.cell(config)),
        });
    });
    let (mut entry_writes, mut entry_deletes) = (Vec::new(), Vec::new());
    compare(&observed.entries, &desired.entries, |change, key, entry| {
        let subject = Subject::Entry(table_entry(key, entry));
        let stage = match change {
            Change::Delete => &mut entry_deletes,
            Change::Insert | Change::Modify => &mut entry_writes,
        };
        stage.push(Update { change, subject });
    });
    compare(
        &observed.defaults,
        &desired.defaults,
        |change, table, default| {
            let (stage, default) = match change {
                Change::Delete => (&mut entry_deletes, None),
                Change::Insert | Change::Modify => (&mut entry_writes, Some(default)),
            };
            stage.push(Update {
                change: Change::Modify,
                subject: Subject::Entry(default_entry(*table, default)),
            });
        },
    );
    let mut stages = vec![group_writes, entry_writes, entry_deletes, group_deletes];
    stages.retain(|stage| !stage.is_empty());
    Plan { stages }
}

/// Applies a plan to a state, as a switch would.
pub fn apply(state: &mut Desired, plan: &Plan) {
    for Update { change, subject } in plan.updates() {
        match (subject, change) {
            (Subject::Group(group), Change::Delete) => {
                state.groups.remove(&group.id);
            }
            (Subject::Group(group), Change::Insert | Change::Modify) => {
                state.groups.insert(group.id, group.clone());
            }
            (Subject::Meter(cell), _) => {
                let key = MeterKey::from(cell);
                match cell.config {
                    Some(config) => state.meters.insert(key, config),
                    None => state.meters.remove(&key),
                };
            }
            (Subject::Entry(entry), Change::Delete) => {
                state.entries.remove(&entry.key);
            }
            (Subject::Entry(entry), Change::Insert | Change::Modify) => {
                if entry.is_default {
                    state.defaults.remove(&entry.key.table);
                } else {
                    state.entries.remove(&entry.key);
                }
                state
                    .insert(entry.clone())
                    .expect("the place was emptied just before");
            }
        }
    }
}

/// Walks two ordered maps side by side and reports what differs.
fn compare<K: Ord, V: PartialEq>(
    observed: &BTreeMap<K, V>,
    desired: &BTreeMap<K, V>,
    mut report: impl FnMut(Change, &K, &V),
) {
    let (mut old, mut new) = (observed.iter().peekable(), desired.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some((key, value)), other) if other.is_none_or(|(next, _)| key < next) => {
                report(Change::Delete, key, value);
                old.next();
            }
            (other, Some((key, value))) if other.is_none_or(|(next, _)| key < next) => {
                report(Change::Insert, key, value);
                new.next();
            }
            (Some((_, before)), Some((key, after))) => {
                if before != after {
                    report(Change::Modify, key, after);
                }
                old.next();
                new.next();
            }
            (Some(_), None) | (None, Some(_)) => unreachable!("the guards took these"),
        }
    }
}

#[cfg(test)]
mod tests;
