//! What the switch holds: which of it is ours, and whether deletes need an explanation.

use std::collections::BTreeSet;

use weft_proto::vocab::TableEntry;

use super::{MASS_DELETE, Reconciler};
use crate::compile::{Entry, Observed, OwnerTag, diff};
use crate::southbound::SwitchState;

impl Reconciler {
    /// Takes in everything that the switch holds.
    pub(crate) fn handle_observed(
        &mut self,
        SwitchState {
            entries,
            groups,
            meters,
            ..
        }: SwitchState,
    ) {
        self.forget_observed();
        let mut observed = Observed::default();
        for entry in entries {
            let ours = OwnerTag::from_metadata(&entry.metadata).is_some();
            if entry.is_default {
                // A default entry without tag is the program's own, unless we want another.
                if ours || self.desired.defaults.contains_key(&entry.key.table) {
                    let _ = observed.insert(entry);
                }
            } else if ours || self.desired.entries.contains_key(&entry.key) {
                let _ = observed.insert(entry);
            } else if let TableEntry {
                key,
                action: Some(action),
                metadata,
                idle_timeout_ns,
                ..
            } = entry
            {
                self.foreign.insert(
                    key,
                    Entry {
                        action,
                        metadata,
                        idle_timeout_ns,
                    },
                );
            }
        }
        for group in groups {
            if OwnerTag::from_metadata(&group.metadata).is_some()
                || self.desired.groups.contains_key(&group.id)
            {
                observed.groups.insert(group.id, group);
            } else {
                self.foreign_groups.insert(group.id);
            }
        }
        // Meters carry no mark: those that were read are all ours.
        for (key, config) in meters {
            observed.meters.insert(key, config);
        }
        self.used.clear();
        for key in observed.entries.keys().chain(self.foreign.keys()) {
            *self.used.entry(key.table).or_default() += 1;
        }
        let plan = diff(&observed, &self.desired);
        let total = observed.entries.len();
        self.observed = Some(observed);
        let held = std::mem::take(&mut self.held);
        let held_groups = std::mem::take(&mut self.held_groups);
        self.mark_plan(&plan);
        let deletes = self.marks.deletes.len();
        let unexplained = !self.settled && deletes > MASS_DELETE && deletes * 2 > total;
        hold(&mut self.marks.deletes, &mut self.held, |key| {
            unexplained || held.contains(key)
        });
        hold(&mut self.marks.group_deletes, &mut self.held_groups, |id| {
            unexplained || held_groups.contains(id)
        });
        self.settled = true;
    }

    /// The switch's state was just cleared: it holds nothing.
    pub(crate) fn handle_cleared(&mut self) {
        self.handle_observed(SwitchState::default());
    }
}

/// Moves keys from `marks` to `held`.
fn hold<K: Ord>(marks: &mut BTreeSet<K>, held: &mut BTreeSet<K>, which: impl Fn(&K) -> bool) {
    let (moved, kept) = std::mem::take(marks)
        .into_iter()
        .partition(|key| which(key));
    *marks = kept;
    held.extend::<BTreeSet<K>>(moved);
}
