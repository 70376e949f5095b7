//! What a switch must hold against what it holds now, entry by entry.
//!
//! The reconcile task believes what switches confirmed; an audit believes nothing: it compares a fresh compile with a
//! fresh read, so it also finds what another P4Runtime client did behind the controller's back.

use std::collections::{BTreeMap, BTreeSet};

use weft_proto::schema::Schema;
use weft_proto::vocab::{TableAction, TableEntry};

use crate::compile::{
    Desired, MeterKey, Observed, Owner, OwnerTag, Subject, default_entry, table_entry,
};
use crate::resource::Place;
use crate::southbound::SwitchState;
use crate::store::Revision;

/// What a switch must hold, and who wants it.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) revision: Revision,
    pub(crate) state: Desired,
    /// What was declared, by metadata.
    pub(crate) places: BTreeMap<Vec<u8>, Place>,
    /// The metadata of those who want meters.
    pub(crate) meters: BTreeMap<MeterKey, Vec<u8>>,
}

/// One place on a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry, group or meter, as it is wanted, or as it is held where nobody wants it.
    pub subject: Subject,
    /// What the switch holds instead, where that differs.
    pub held: Option<Subject>,
    /// Who it belongs to; `None`: not ours.
    pub owner: Option<OwnerTag>,
    /// What was declared that it was compiled from.
    pub place: Option<Place>,
}

/// The difference between what a switch must hold and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchDiff {
    /// The revision whose compile was compared.
    pub revision: Revision,
    /// Wanted and not there.
    pub missing: Vec<Finding>,
    /// There with other content.
    pub modified: Vec<Finding>,
    /// There with our mark, and wanted by nobody.
    pub extra: Vec<Finding>,
    /// As it must be.
    pub proper: Vec<Finding>,
    /// Written by others, in places that nobody here wants; left alone.
    pub foreign: Vec<Finding>,
    /// Entries and groups that do not fit the pipeline.
    pub undecodable: usize,
}

impl SwitchDiff {
    /// Whether the switch holds what it must, whatever others put beside it.
    pub fn is_proper(&self) -> bool {
        self.missing.is_empty() && self.modified.is_empty() && self.extra.is_empty()
    }
}

/// Compares.
pub(crate) fn compare(schema: &Schema, wanted: &Wanted, state: SwitchState) -> SwitchDiff {
    let SwitchState {
        entries,
        groups,
        meters,
        undecodable,
    } = state;
    let mut held = Observed::default();
    for entry in entries {
        if !entry.is_default || is_changed_default(schema, wanted, &entry) {
            // A switch has one entry for each key.
            let _ = held.insert(entry);
        }
    }
    for group in groups {
        held.groups.insert(group.id, group);
    }
    held.meters.extend(meters);
    let mut diff = SwitchDiff {
        revision: wanted.revision,
        undecodable,
        ..SwitchDiff::default()
    };
    let state = &wanted.state;
    let mut sort = Sorter {
        places: &wanted.places,
        diff: &mut diff,
    };
    sort.all(&state.entries, &held.entries, |key, entry| {
        let metadata = entry.metadata.clone();
        (Subject::Entry(table_entry(key, entry)), metadata)
    });
    sort.all(&state.defaults, &held.defaults, |table, entry| {
        let subject = Subject::Entry(default_entry(*table, Some(entry)));
        (subject, entry.metadata.clone())
    });
    sort.all(&state.groups, &held.groups, |_, group| {
        (Subject::Group(group.clone()), group.metadata.clone())
    });
    // A meter carries no mark; who wants it is known where somebody does, and all others are ours to reset.
    sort.all(&state.meters, &held.meters, |key, config| {
        let wanted = wanted.meters.get(key).cloned();
        let unwanted = || OwnerTag::new(Owner::Flow, "").to_metadata();
        let metadata = wanted.unwrap_or_else(unwanted);
        (Subject::Meter(key.cell(Some(*config))), metadata)
    });
    diff
}

/// A default entry is worth a word when somebody set it, or wants it set.
fn is_changed_default(schema: &Schema, wanted: &Wanted, entry: &TableEntry) -> bool {
    let table = entry.key.table;
    if wanted.state.defaults.contains_key(&table) || !entry.metadata.is_empty() {
        return true;
    }
    let initial = schema.table(table).and_then(|table| {
        let call = table.initial_default.clone()?;
        Some(TableAction::Call(call))
    });
    initial.is_some() && entry.action != initial
}

struct Sorter<'a> {
    places: &'a BTreeMap<Vec<u8>, Place>,
    diff: &'a mut SwitchDiff,
}

impl Sorter<'_> {
    fn all<K: Ord, V: PartialEq>(
        &mut self,
        wanted: &BTreeMap<K, V>,
        held: &BTreeMap<K, V>,
        subject: impl Fn(&K, &V) -> (Subject, Vec<u8>),
    ) {
        let keys: BTreeSet<&K> = wanted.keys().chain(held.keys()).collect();
        for key in keys {
            let (want, have) = (wanted.get(key), held.get(key));
            let Some(shown) = want.or(have) else { continue };
            let (shown, metadata) = subject(key, shown);
            let mut finding = Finding {
                subject: shown,
                held: None,
                owner: OwnerTag::from_metadata(&metadata),
                place: self.places.get(&metadata).cloned(),
            };
            let list = match (want, have) {
                (Some(_), None) => &mut self.diff.missing,
                (Some(want), Some(have)) if want == have => &mut self.diff.proper,
                (Some(_), Some(have)) => {
                    finding.held = Some(subject(key, have).0);
                    &mut self.diff.modified
                }
                (None, _) if finding.owner.is_some() => &mut self.diff.extra,
                (None, _) => &mut self.diff.foreign,
            };
            list.push(finding);
        }
    }
}
