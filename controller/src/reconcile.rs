//! Bringing one switch from what it holds to what it must hold, as a plain state machine.
//!
//! [`Reconciler`] knows the desired state, what the switch reported or confirmed, and which keys may differ. The driver
//! feeds it with both and asks for the next batch; one batch is in flight at a time. The work for a change is
//! proportional to the change: only keys that were touched are compared.
//!
//! ```text
//!   desired ──┐                     ┌── written: the switch confirmed it, observed moves
//!             ├─ marks ── batch ──► │
//!   observed ─┘                     └── rejected: quarantined until something changes
//! ```
//!
//! Order: groups and meters, then entries added or changed in place, then entries deleted, then groups and meters
//! deleted; each batch is answered before the next, so nothing ever points at something that is not there.

mod answers;
mod election;
mod mailbox;
mod observe;
mod session;
mod task;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_proto::vocab::{
    EntryKey, MeterCell, MulticastGroup, MulticastGroupId, TableAction, TableEntry, TableId,
};

use crate::compile::{
    Change, Desired, Entry, MeterKey, Observed, Owner, OwnerTag, Plan, Subject, Update,
    default_entry, diff, table_entry,
};
use crate::resource::Program;
use crate::status::Rejection;

pub(crate) use election::Elections;
pub(crate) use mailbox::Mailbox;
pub(crate) use task::{Common, SwitchTask, TaskEvent};

/// Deletes beyond this number, and beyond half of what the switch holds, need an explanation.
const MASS_DELETE: usize = 100;
/// An entry that was refused so often is not tried again by itself.
const MAX_ATTEMPTS: u32 = 3;
/// So often is a switch read again in one session because it surprised us.
const MAX_DOUBTS: u32 = 3;

/// One switch's desired and observed state, and what is left to do.
#[derive(Debug, Default)]
pub(crate) struct Reconciler {
    /// The switch's name, part of the tags of its flows.
    switch: String,
    fabric_known: bool,
    programs: BTreeMap<String, Arc<Program>>,
    /// How many resources use a group.
    group_uses: BTreeMap<MulticastGroupId, usize>,
    desired: Desired,
    /// What the switch holds of ours; `None`: not read in this session.
    observed: Option<Observed>,
    /// Entries that others wrote, at keys that nobody here wants.
    foreign: BTreeMap<EntryKey, Entry>,
    foreign_groups: BTreeSet<MulticastGroupId>,
    marks: Marks,
    rejected: BTreeMap<EntryKey, Refused>,
    rejected_groups: BTreeMap<MulticastGroupId, Rejection>,
    rejected_meters: BTreeMap<MeterKey, Rejection>,
    /// Number of entries that each table holds, others' included.
    used: BTreeMap<TableId, u64>,
    /// Deletes that nothing explains; held back.
    held: BTreeSet<EntryKey>,
    held_groups: BTreeSet<MulticastGroupId>,
    /// The first comparison of this process is done: later deletes have a cause that was seen.
    settled: bool,
    /// What the switch said does not fit what it was thought to hold.
    doubtful: bool,
    /// How often that happened in this session.
    doubts: u32,
}

/// Keys that may differ. A key is in one set at most.
#[derive(Debug, Default)]
struct Marks {
    groups: BTreeSet<MulticastGroupId>,
    writes: BTreeSet<EntryKey>,
    defaults: BTreeSet<TableId>,
    deletes: BTreeSet<EntryKey>,
    group_deletes: BTreeSet<MulticastGroupId>,
    meters: BTreeSet<MeterKey>,
    meter_resets: BTreeSet<MeterKey>,
}

/// What batches are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batches {
    /// Each of one stage: the switch may do the updates of a batch in any order.
    Stages,
    /// All stages in order, as much as fits: packets meet all of a batch at once, or nothing of it.
    Whole,
}

#[derive(Debug)]
struct Refused {
    rejection: Rejection,
    /// Try again by itself after the delay for this attempt.
    waiting: bool,
}

/// What the switch said to one update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Committed.
    Done,
    /// Not tried, or undone, because of another update of the batch.
    Aborted,
    /// Refused.
    Refused { code: &'static str, detail: String },
    /// An insert of something that exists, or a change of something that does not.
    Surprised { code: &'static str, detail: String },
}

impl Reconciler {
    pub(crate) fn new(switch: &str) -> Self {
        Self {
            switch: switch.to_owned(),
            ..Self::default()
        }
    }

    /// Replaces what the fabric wants.
    pub(crate) fn set_fabric(&mut self, fabric: Desired) {
        let mut next = fabric;
        for (name, flow) in &self.programs {
            overlay(&mut next, &self.switch, name, flow);
        }
        if self.observed.is_some() {
            let changes = diff(&self.desired, &next);
            self.desired = next;
            self.mark_plan(&changes);
        } else {
            self.desired = next;
        }
        self.fabric_known = true;
    }

    /// Replaces what resources want. All old ones go first: one may take another's place.
    pub(crate) fn set_programs(&mut self, programs: BTreeMap<String, Option<Arc<Program>>>) {
        if programs.len() > 1 {
            for name in programs.keys() {
                self.set_program(name, None);
            }
        }
        for (name, program) in programs {
            self.set_program(&name, program);
        }
    }

    /// Replaces what one resource wants; `None` is one that is gone.
    pub(crate) fn set_program(&mut self, name: &str, flow: Option<Arc<Program>>) {
        if let Some(old) = self.programs.remove(name) {
            let tag = program_metadata(&self.switch, name);
            for entry in &old.entries {
                let ours = self
                    .desired
                    .entries
                    .get(&entry.key)
                    .is_some_and(|entry| entry.metadata == tag);
                if ours {
                    self.desired.entries.remove(&entry.key);
                    self.mark(&entry.key);
                }
            }
            for cell in &old.meters {
                self.desired.meters.remove(&MeterKey::from(cell));
                self.mark_meter(MeterKey::from(cell));
            }
            for group in &old.groups {
                let unused = self.group_uses.get_mut(&group.id).is_none_or(|uses| {
                    *uses -= 1;
                    *uses == 0
                });
                if unused {
                    self.group_uses.remove(&group.id);
                    let tag = program_metadata(&self.switch, "");
                    if self
                        .desired
                        .groups
                        .get(&group.id)
                        .is_some_and(|group| group.metadata == tag)
                    {
                        self.desired.groups.remove(&group.id);
                    }
                    self.mark_group(group.id);
                }
            }
        }
        if let Some(flow) = flow {
            overlay(&mut self.desired, &self.switch, name, &flow);
            for group in &flow.groups {
                *self.group_uses.entry(group.id).or_default() += 1;
                self.mark_group(group.id);
            }
            for cell in &flow.meters {
                self.mark_meter(MeterKey::from(cell));
            }
            for entry in &flow.entries {
                self.mark(&entry.key);
            }
            self.programs.insert(name.to_owned(), flow);
        }
    }

    /// A session began: nothing is known of the switch, and refused entries may be tried again.
    pub(crate) fn begin_session(&mut self) {
        self.doubts = 0;
        self.forget_observed();
    }

    fn forget_observed(&mut self) {
        self.observed = None;
        self.marks = Marks::default();
        self.rejected.clear();
        self.rejected_groups.clear();
        self.rejected_meters.clear();
        self.foreign.clear();
        self.foreign_groups.clear();
        self.doubtful = false;
    }

    /// Whether the switch must be read again.
    pub(crate) fn needs_read(&self) -> bool {
        self.observed.is_none() || self.doubtful
    }

    /// Whether deletes are held back because nothing explains them.
    pub(crate) fn deletes_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Somebody asks for a repair: everything is read and compared again, held deletes happen, and what was refused is
    /// tried again.
    pub(crate) fn handle_sync(&mut self) {
        self.held.clear();
        self.held_groups.clear();
        self.settled = true;
        self.doubts = 0;
        self.doubtful = true;
    }

    /// Whatever the first comparison would delete has a cause.
    pub(crate) fn explain_deletes(&mut self) {
        self.settled = true;
    }

    /// The next updates to send, at most `limit`; empty when nothing is left to do.
    pub(crate) fn next_batch(&mut self, limit: usize, shape: Batches) -> Vec<Update> {
        let is_stage = |batch: &[Update]| shape == Batches::Stages && !batch.is_empty();
        let (Some(observed), true) = (&self.observed, self.fabric_known) else {
            return Vec::new();
        };
        let desired = &self.desired;
        let mut batch = Vec::new();
        take(&mut self.marks.groups, limit, &mut batch, |id| {
            let group = desired.groups.get(id)?;
            let change = change(observed.groups.get(id), group)?;
            Some(Update {
                change,
                subject: Subject::Group(group.clone()),
            })
        });
        take(&mut self.marks.meters, limit, &mut batch, |key| {
            let config = desired.meters.get(key)?;
            (observed.meters.get(key) != Some(config)).then(|| configure(key.cell(Some(*config))))
        });
        if is_stage(&batch) {
            return batch;
        }
        take(&mut self.marks.writes, limit, &mut batch, |key| {
            let entry = desired.entries.get(key)?;
            let change = change(observed.entries.get(key), entry)?;
            Some(Update {
                change,
                subject: Subject::Entry(table_entry(key, entry)),
            })
        });
        take(&mut self.marks.defaults, limit, &mut batch, |table| {
            let (old, new) = (observed.defaults.get(table), desired.defaults.get(table));
            let subject = Subject::Entry(default_entry(*table, new));
            (old != new).then_some(Update {
                change: Change::Modify,
                subject,
            })
        });
        if is_stage(&batch) {
            return batch;
        }
        take(&mut self.marks.deletes, limit, &mut batch, |key| {
            let entry = observed.entries.get(key)?;
            Some(Update {
                change: Change::Delete,
                subject: Subject::Entry(table_entry(key, entry)),
            })
        });
        if is_stage(&batch) {
            return batch;
        }
        take(&mut self.marks.group_deletes, limit, &mut batch, |id| {
            let group = observed.groups.get(id)?;
            Some(Update {
                change: Change::Delete,
                subject: Subject::Group(group.clone()),
            })
        });
        take(&mut self.marks.meter_resets, limit, &mut batch, |key| {
            observed.meters.get(key)?;
            Some(configure(key.cell(None)))
        });
        batch
    }

    /// The resources that have one of these entries, each with its other entries that have an idle timeout.
    pub(crate) fn idle_candidates(
        &self,
        idle: &BTreeSet<EntryKey>,
    ) -> Vec<(String, Vec<TableEntry>)> {
        let is_idle = |entry: &TableEntry| idle.contains(&entry.key);
        let named = self.programs.iter();
        let named = named.filter(|(_, program)| program.entries.iter().any(is_idle));
        let others = |program: &Program| {
            let others = program.entries.iter().filter(|entry| !is_idle(entry));
            others
                .filter(|entry| entry.idle_timeout_ns > 0)
                .cloned()
                .collect()
        };
        named
            .map(|(tag, program)| (tag.clone(), others(program)))
            .collect()
    }

    /// Entries that the switch refused.
    pub(crate) fn rejections(&self) -> BTreeMap<EntryKey, Rejection> {
        self.rejected
            .iter()
            .map(|(key, refused)| (key.clone(), refused.rejection.clone()))
            .collect()
    }

    /// Groups that the switch refused.
    pub(crate) fn group_rejections(&self) -> &BTreeMap<MulticastGroupId, Rejection> {
        &self.rejected_groups
    }

    /// Meters that the switch refused.
    pub(crate) fn meter_rejections(&self) -> &BTreeMap<MeterKey, Rejection> {
        &self.rejected_meters
    }

    /// Number of entries and groups that others wrote.
    pub(crate) fn foreign_count(&self) -> usize {
        self.foreign.len() + self.foreign_groups.len()
    }

    /// Number of entries that are wanted.
    pub(crate) fn desired_count(&self) -> usize {
        self.desired.entries.len()
    }

    /// How many entries each table holds, others' included.
    pub(crate) fn table_use(&self) -> &BTreeMap<TableId, u64> {
        &self.used
    }

    /// Whether it is known what the fabric wants.
    pub(crate) fn has_fabric(&self) -> bool {
        self.fabric_known
    }

    /// The desired state: flows and fabric together.
    pub(crate) fn into_desired(self) -> Desired {
        self.desired
    }

    /// The same, to look at.
    #[cfg(test)]
    pub(crate) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// What the switch holds of ours.
    #[cfg(test)]
    pub(crate) fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    fn mark(&mut self, key: &EntryKey) {
        if self.observed.is_none() {
            return;
        }
        self.rejected.remove(key);
        self.held.remove(key);
        if self.desired.entries.contains_key(key) {
            // A foreign entry in this place is ours now: it is changed, not inserted.
            if let (Some(entry), Some(observed)) = (self.foreign.remove(key), &mut self.observed) {
                observed.entries.insert(key.clone(), entry);
            }
            self.marks.deletes.remove(key);
            self.marks.writes.insert(key.clone());
        } else {
            self.marks.writes.remove(key);
            self.marks.deletes.insert(key.clone());
        }
    }

    fn mark_group(&mut self, id: MulticastGroupId) {
        if self.observed.is_none() {
            return;
        }
        self.rejected_groups.remove(&id);
        self.held_groups.remove(&id);
        if self.desired.groups.contains_key(&id) {
            self.marks.group_deletes.remove(&id);
            self.marks.groups.insert(id);
        } else {
            self.marks.groups.remove(&id);
            self.marks.group_deletes.insert(id);
        }
    }

    fn mark_meter(&mut self, key: MeterKey) {
        if self.observed.is_none() {
            return;
        }
        self.rejected_meters.remove(&key);
        if self.desired.meters.contains_key(&key) {
            self.marks.meter_resets.remove(&key);
            self.marks.meters.insert(key);
        } else {
            self.marks.meters.remove(&key);
            self.marks.meter_resets.insert(key);
        }
    }

    fn mark_subject(&mut self, subject: &Subject) {
        match subject {
            Subject::Group(group) => self.mark_group(group.id),
            Subject::Meter(cell) => self.mark_meter(MeterKey::from(cell)),
            Subject::Entry(entry) if entry.is_default => {
                self.marks.defaults.insert(entry.key.table);
            }
            Subject::Entry(entry) => self.mark(&entry.key),
        }
    }

    fn mark_plan(&mut self, plan: &Plan) {
        for update in plan.updates() {
            self.mark_subject(&update.subject);
        }
    }
}

fn configure(cell: MeterCell) -> Update {
    Update {
        change: Change::Modify,
        subject: Subject::Meter(cell),
    }
}

/// Moves keys out of `marks` until `batch` has `limit` updates; keys that need none are dropped.
fn take<K: Ord>(
    marks: &mut BTreeSet<K>,
    limit: usize,
    batch: &mut Vec<Update>,
    mut update: impl FnMut(&K) -> Option<Update>,
) {
    while batch.len() < limit {
        let Some(key) = marks.pop_first() else { return };
        batch.extend(update(&key));
    }
}

fn change<T: PartialEq>(old: Option<&T>, new: &T) -> Option<Change> {
    match old {
        None => Some(Change::Insert),
        Some(old) if old != new => Some(Change::Modify),
        Some(_) => None,
    }
}

/// Adds a resource's entries, groups and meters; what is there already stays.
fn overlay(desired: &mut Desired, switch: &str, name: &str, flow: &Program) {
    let metadata = program_metadata(switch, name);
    for group in &flow.groups {
        let metadata = program_metadata(switch, "");
        desired
            .groups
            .entry(group.id)
            .or_insert_with(|| MulticastGroup {
                metadata,
                ..group.clone()
            });
    }
    for cell in &flow.meters {
        if let Some(config) = cell.config {
            desired.meters.entry(MeterKey::from(cell)).or_insert(config);
        }
    }
    for entry in &flow.entries {
        if let Some(action) = &entry.action {
            desired
                .entries
                .entry(entry.key.clone())
                .or_insert_with(|| Entry {
                    action: TableAction::clone(action),
                    metadata: metadata.clone(),
                    idle_timeout_ns: entry.idle_timeout_ns,
                });
        }
    }
}

/// The tag of a resource's entries. Equal groups are shared, so theirs has no name.
pub(crate) fn program_metadata(switch: &str, name: &str) -> Vec<u8> {
    OwnerTag::new(Owner::Flow, &format!("{switch}/{name}")).to_metadata()
}
