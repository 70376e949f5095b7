//! What a write would change: compiled, compared with what is declared, not stored yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::Value;
use weft_proto::vocab::EntryKey;

use crate::compile::fnv1a;
use crate::handle::{ChangeKind, Diff, ResourceChange, WriteOutcome};
use crate::resource::{Declared, Place, Program, Resource, Resources};

/// A document to declare, or a resource to take back.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) place: Place,
    /// Where it is in what was sent.
    pub(super) pointer: String,
    /// `None`: it goes.
    pub(super) spec: Option<Value>,
    /// The resource that makes it.
    pub(super) set: Option<Place>,
}

impl Edit {
    pub(super) fn new(place: Place, spec: Option<Value>) -> Self {
        Self {
            place,
            pointer: String::new(),
            spec,
            set: None,
        }
    }
}

/// What becomes of one resource.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) resource: Option<Resource>,
    pub(super) known: Option<Arc<Resource>>,
    /// The resource that makes it.
    pub(super) set: Option<Place>,
    /// One of its members changes.
    has_changed_members: bool,
    /// It says what it said, and becomes something else, because of what it refers to.
    is_recompiled: bool,
}

impl Change {
    /// It says what it said, and becomes something else.
    pub(super) fn is_recompiled(&self) -> bool {
        self.is_recompiled
    }

    pub(super) fn kind(&self) -> ChangeKind {
        match (&self.known, &self.resource) {
            (_, None) => ChangeKind::Remove,
            (None, Some(_)) => ChangeKind::Add,
            (Some(old), Some(new)) => {
                let is_same = old.owner == new.owner && old.set == new.set && old.spec == new.spec;
                if is_same && !self.has_changed_members {
                    ChangeKind::Unchanged
                } else {
                    ChangeKind::Change
                }
            }
        }
    }
}

/// Changes that belong together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    changes: BTreeMap<Place, Change>,
    /// Who has a key, by switch.
    keys: BTreeMap<(String, EntryKey), Place>,
}

impl Draft {
    pub(super) fn put(
        &mut self,
        place: Place,
        resource: Resource,
        known: Option<Arc<Resource>>,
        set: Option<Place>,
    ) {
        let change = Change {
            resource: Some(resource),
            known,
            set,
            has_changed_members: false,
            is_recompiled: false,
        };
        self.changes.insert(place, change);
    }

    pub(super) fn remove(&mut self, place: Place, known: Arc<Resource>, set: Option<Place>) {
        let change = Change {
            resource: None,
            known: Some(known),
            set,
            has_changed_members: false,
            is_recompiled: false,
        };
        self.changes.insert(place, change);
    }

    /// Takes in what a resource becomes now that what it refers to has changed.
    pub(super) fn recompile(&mut self, place: Place, resource: Resource, known: Arc<Resource>) {
        self.put(place.clone(), resource, Some(known), None);
        if let Some(change) = self.changes.get_mut(&place) {
            change.is_recompiled = true;
        }
    }

    /// Takes the keys of a program; says so when another resource of the draft has one of them.
    pub(super) fn claim(&mut self, place: &Place, program: &Program) -> Option<String> {
        let switch = place.switch()?;
        for entry in &program.entries {
            let key = (switch.to_owned(), entry.key.clone());
            let other = self.keys.insert(key, place.clone());
            if let Some(other) = other.filter(|other| other != place) {
                return Some(format!("{other} has the same match and priority"));
            }
        }
        None
    }

    /// A resource changes when one of its members does.
    pub(super) fn settle_sets(&mut self) {
        let changed = (self.changes.values())
            .filter(|change| change.kind() != ChangeKind::Unchanged)
            .filter_map(|change| change.set.clone());
        let changed: Vec<Place> = changed.collect();
        for set in changed {
            if let Some(change) = self.changes.get_mut(&set) {
                change.has_changed_members = true;
            }
        }
    }

    pub(super) fn has(&self, place: &Place) -> bool {
        self.changes.contains_key(place)
    }

    pub(super) fn resource(&self, place: &Place) -> Option<&Resource> {
        self.changes.get(place)?.resource.as_ref()
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = (&Place, &Change)> {
        self.changes.iter()
    }

    pub(super) fn outcome(&self, place: &Place) -> WriteOutcome {
        match self.changes.get(place).map(Change::kind) {
            Some(ChangeKind::Add) => WriteOutcome::Created,
            None | Some(ChangeKind::Unchanged) => WriteOutcome::Unchanged,
            Some(ChangeKind::Change | ChangeKind::Remove) => WriteOutcome::Updated,
        }
    }

    /// What the draft does to one resource: numbers of its members where it makes others, else of what switches hold.
    pub(super) fn diff(&self, place: &Place) -> (Diff, Vec<ResourceChange>) {
        if place.kind.has_members() {
            let members = |change: &Change| change.set.as_ref() == Some(place);
            return self.summary(|_, change| members(change));
        }
        let Some(change) = self.changes.get(place) else {
            return Default::default();
        };
        let none = Program::default();
        let before = change.known.as_ref().map_or(&none, |old| &old.program);
        let after = change.resource.as_ref().map_or(&none, |new| &new.program);
        (program_diff(before, after), Vec::new())
    }

    /// Numbers of resources, and those that are not as they were.
    pub(super) fn summary(
        &self,
        mut counts: impl FnMut(&Place, &Change) -> bool,
    ) -> (Diff, Vec<ResourceChange>) {
        let (mut diff, mut changes) = (Diff::default(), Vec::new());
        for (place, change) in self.changes.iter().filter(|(p, c)| counts(p, c)) {
            let kind = change.kind();
            diff.count(kind);
            if kind != ChangeKind::Unchanged {
                let place = place.clone();
                changes.push(ResourceChange { place, kind });
            }
        }
        (diff, changes)
    }
}

/// What is declared, with what a draft makes of it.
pub(super) struct Drafted<'a> {
    pub(super) resources: &'a Resources,
    pub(super) draft: &'a Draft,
}

impl Declared for Drafted<'_> {
    fn get(&self, place: &Place) -> Option<&Resource> {
        match self.draft.changes.get(place) {
            Some(change) => change.resource.as_ref(),
            None => self.resources.get(place).map(|resource| &**resource),
        }
    }

    fn names(&self, place: &Place) -> Vec<String> {
        let drafted = self.draft.changes.keys();
        let beside =
            |other: &&Place| other.kind == place.kind && other.parents().eq(place.parents());
        let drafted = drafted.filter(beside).map(Place::name);
        let names: BTreeSet<&str> = self.resources.beside(place).chain(drafted).collect();
        let is_there = |name: &&str| {
            let names: Vec<&str> = place
                .parents()
                .map(|(_, name)| name)
                .chain([*name])
                .collect();
            self.get(&Place::new(place.kind, &names)).is_some()
        };
        names
            .into_iter()
            .filter(is_there)
            .map(str::to_owned)
            .collect()
    }
}

impl Drafted<'_> {
    /// A number that nothing of this kind has on its switch: what the name hashes to, or the next that is free.
    pub(super) fn number(&self, place: &Place, numbers: &RangeInclusive<u32>) -> Option<u32> {
        let taken: BTreeSet<u32> = (self.names(place).iter())
            .filter_map(|name| {
                let names: Vec<&str> = place
                    .parents()
                    .map(|(_, name)| name)
                    .chain([&**name])
                    .collect();
                self.get(&Place::new(place.kind, &names))?.number
            })
            .collect();
        let (first, last) = (u64::from(*numbers.start()), u64::from(*numbers.end()));
        let count = last - first + 1;
        let start = fnv1a(place.name().as_bytes()) % count;
        let free = (0..count).map(|step| first + (start + step) % count);
        let mut free = free.filter_map(|number| u32::try_from(number).ok());
        free.find(|number| !taken.contains(number))
    }
}

/// What a switch adds, changes and removes when one program follows another.
fn program_diff(before: &Program, after: &Program) -> Diff {
    let mut diff = Diff::default();
    let entries = |program: &Program| -> BTreeMap<_, _> {
        let entries = program.entries.iter();
        entries
            .map(|entry| (entry.key.clone(), entry.clone()))
            .collect()
    };
    count(&mut diff, &entries(before), &entries(after));
    // A resource that is nothing but a group; those of flows come and go with their entries.
    if before.entries.is_empty() && after.entries.is_empty() {
        let groups = |program: &Program| -> BTreeMap<_, _> {
            let groups = program.groups.iter();
            groups.map(|group| (group.id, group.clone())).collect()
        };
        count(&mut diff, &groups(before), &groups(after));
    }
    diff
}

fn count<K: Ord, V: PartialEq>(diff: &mut Diff, before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) {
    for (key, value) in after {
        diff.count(match before.get(key) {
            None => ChangeKind::Add,
            Some(old) if old == value => ChangeKind::Unchanged,
            Some(_) => ChangeKind::Change,
        });
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    diff.remove += gone.count();
}
