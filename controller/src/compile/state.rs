//! The forwarding state of one switch as a value.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use weft_proto::vocab::{
    ActionCall, EntryKey, MeterCell, MeterConfig, MeterId, MulticastGroup, MulticastGroupId,
    TableAction, TableEntry, TableId,
};

/// What an entry does, apart from its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// What matching packets get.
    pub action: TableAction,
    /// Whose it is; see [`super::OwnerTag`].
    pub metadata: Vec<u8>,
    /// 0 is never, else nanoseconds without a hit after which the controller is told.
    pub idle_timeout_ns: i64,
}

/// A table's default entry where it is not the program's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefaultEntry {
    /// What a miss gets.
    pub action: ActionCall,
    /// Whose it is.
    pub metadata: Vec<u8>,
}

/// Where a meter's configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterKey {
    /// The array of meters.
    pub meter: MeterId,
    /// The cell.
    pub index: u32,
}

/// All entries that one switch must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Table entries.
    pub entries: BTreeMap<EntryKey, Entry>,
    /// Default entries that differ from the program's.
    pub defaults: BTreeMap<TableId, DefaultEntry>,
    /// Multicast groups.
    pub groups: BTreeMap<MulticastGroupId, MulticastGroup>,
    /// Configured meters.
    pub meters: BTreeMap<MeterKey, MeterConfig>,
}

/// All entries that one switch reported, in the same shape.
pub type Observed = Desired;

/// Two parts of the desired state want different things in one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Equal match and priority in one table.
    #[error("table {} has another entry with this match and priority {}", .0.table, .0.priority)]
    Entry(Box<EntryKey>),
    /// Two default entries of one table.
    #[error("table {0} has another default entry")]
    Default(TableId),
    /// Two groups with one id.
    #[error("another multicast group has id {0}")]
    Group(MulticastGroupId),
    /// Two configurations of one meter.
    #[error("meter {} has another configuration at {}", .0.meter, .0.index)]
    Meter(MeterKey),
}

impl Desired {
    /// Adds a table entry; an equal one may be there.
    pub fn insert(&mut self, entry: TableEntry) -> Result<(), Conflict> {
        let TableEntry {
            key,
            action,
            metadata,
            is_default,
            idle_timeout_ns,
        } = entry;
        match (is_default, action) {
            (true, Some(TableAction::Call(action))) => {
                let table = key.table;
                let value = DefaultEntry { action, metadata };
                set(&mut self.defaults, table, value).map_err(Conflict::Default)
            }
            (true, _) | (false, None) => Ok(()),
            (false, Some(action)) => {
                let value = Entry {
                    action,
                    metadata,
                    idle_timeout_ns,
                };
                set(&mut self.entries, key, value).map_err(|key| Conflict::Entry(Box::new(key)))
            }
        }
    }

    /// Adds a multicast group; an equal one may be there.
    pub fn insert_group(&mut self, group: MulticastGroup) -> Result<(), Conflict> {
        set(&mut self.groups, group.id, group).map_err(Conflict::Group)
    }

    /// Adds all of `other`. Where they differ, what is there already stays; returns each such place.
    #[must_use = "a conflict leaves something out"]
    pub fn merge(&mut self, other: Self) -> Vec<Conflict> {
        let Self {
            entries,
            defaults,
            groups,
            meters,
        } = other;
        let mut conflicts = Vec::new();
        for (key, value) in entries {
            let refused = set(&mut self.entries, key, value).err();
            conflicts.extend(refused.map(|key| Conflict::Entry(Box::new(key))));
        }
        for (table, value) in defaults {
            let refused = set(&mut self.defaults, table, value).err();
            conflicts.extend(refused.map(Conflict::Default));
        }
        for (id, group) in groups {
            let refused = set(&mut self.groups, id, group).err();
            conflicts.extend(refused.map(Conflict::Group));
        }
        for (key, value) in meters {
            let refused = set(&mut self.meters, key, value).err();
            conflicts.extend(refused.map(Conflict::Meter));
        }
        conflicts
    }

    /// Number of entries, default entries, groups and meters.
    pub fn count(&self) -> usize {
        self.entries.len() + self.defaults.len() + self.groups.len() + self.meters.len()
    }
}

/// Sets a key that is free or holds an equal value; gives the key back otherwise.
fn set<K: Ord + Clone, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> Result<(), K> {
    match map.entry(key) {
        Slot::Vacant(slot) => {
            slot.insert(value);
            Ok(())
        }
        Slot::Occupied(slot) if *slot.get() == value => Ok(()),
        Slot::Occupied(slot) => Err(slot.key().clone()),
    }
}

impl MeterKey {
    /// The cell with a configuration; `None` resets it.
    pub(crate) fn cell(self, config: Option<MeterConfig>) -> MeterCell {
        let Self { meter, index } = self;
        MeterCell {
            meter,
            index,
            config,
        }
    }
}

impl From<&MeterCell> for MeterKey {
    fn from(cell: &MeterCell) -> Self {
        Self {
            meter: cell.meter,
            index: cell.index,
        }
    }
}

/// Writes an entry back as the table entry it was.
pub(crate) fn table_entry(key: &EntryKey, entry: &Entry) -> TableEntry {
    TableEntry {
        key: key.clone(),
        action: Some(entry.action.clone()),
        metadata: entry.metadata.clone(),
        is_default: false,
        idle_timeout_ns: entry.idle_timeout_ns,
    }
}

/// A default entry; `None` resets it to the program's.
pub(crate) fn default_entry(table: TableId, default: Option<&DefaultEntry>) -> TableEntry {
    TableEntry {
        key: EntryKey {
            table,
            ..EntryKey::default()
        },
        action: default.map(|default| TableAction::Call(default.action.clone())),
        metadata: default.map_or_else(Vec::new, |default| default.metadata.clone()),
        is_default: true,
        idle_timeout_ns: 0,
    }
}
