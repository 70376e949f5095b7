//! Forwarding state: the entries, defaults and groups that one program's tables hold.
//!
//! A state is a value. A writer clones it, changes the clone and publishes it; tables that did not change are shared,
//! and counters belong to entries, so they go on over clones and over MODIFY.

#![expect(
    clippy::cast_possible_truncation,
    reason = "action ids were checked to be of this program"
)]

mod check;
mod fingerprint;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_proto::vocab::{
    ActionCall, CounterValue, EntryKey, MulticastGroup, MulticastGroupId, TableAction, TableEntry,
    TableId,
};

use crate::ir::SelectorMode;
use crate::p4info;
use crate::program::{Program, TableDef};
use crate::selector::{Group, Member};
use crate::table::{Act, Bound, Index, Installed, PackedKey};

/// Why a write was refused; [`Self::code`] is P4Runtime's canonical code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// INSERT of what is there.
    #[error("{what} exists already")]
    AlreadyExists {
        /// The object.
        what: String,
    },
    /// MODIFY or DELETE of what is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// The object.
        what: String,
    },
    /// The table is full.
    #[error("{what} is full: it holds {size} entries")]
    Full {
        /// The table.
        what: String,
        /// Its size.
        size: usize,
    },
    /// The program does not allow a change.
    #[error("{what} is constant")]
    Constant {
        /// The object.
        what: String,
    },
    /// The request makes no sense for this program.
    #[error("{what}: {problem}")]
    Invalid {
        /// The object.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// A value does not fit its field.
    #[error("{what}: value {value:#x} is wider than {bits} bits")]
    TooWide {
        /// The field.
        what: String,
        /// The value.
        value: u128,
        /// The field's width.
        bits: u16,
    },
}

impl WriteError {
    /// The canonical code (P4Runtime §9.1, §12.3).
    pub fn code(&self) -> tonic::Code {
        match self {
            Self::AlreadyExists { .. } => tonic::Code::AlreadyExists,
            Self::NotFound { .. } => tonic::Code::NotFound,
            Self::Full { .. } => tonic::Code::ResourceExhausted,
            Self::Constant { .. } => tonic::Code::PermissionDenied,
            Self::Invalid { .. } => tonic::Code::InvalidArgument,
            Self::TooWide { .. } => tonic::Code::OutOfRange,
        }
    }
}

/// Packets and bytes that hit one entry; shared by all clones of the state.
#[derive(Debug, Default)]
pub struct Counter {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    /// Adds one packet of `packets` wire segments.
    pub fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn value(&self) -> CounterValue {
        CounterValue {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Sets it, as a controller may.
    pub fn set(&self, value: CounterValue) {
        self.packets.store(value.packets, Ordering::Relaxed);
        self.bytes.store(value.bytes, Ordering::Relaxed);
    }
}

/// An entry as a reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// What was written.
    pub entry: &'a TableEntry,
    /// Its counter, where the table has counters.
    pub counter: Option<&'a Counter>,
    /// When it was last hit, where the table has an idle timeout; 0 for never.
    pub last_hit_ns: u64,
    /// The program gives it, and it cannot be changed.
    pub is_const: bool,
}

/// Number of entries, and an order-independent sum over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Entries, the default not counted.
    pub entries: u64,
    /// Sum over key, action and metadata of each entry and of a default that was written.
    pub sum: u128,
}

/// Tables' entries and multicast groups.
#[derive(Clone, Debug)]
pub struct State {
    program: Arc<Program>,
    tables: Vec<Arc<TableState>>,
    groups: Arc<BTreeMap<MulticastGroupId, MulticastGroup>>,
    /// Members in use, by selector.
    members: Vec<usize>,
}

/// One table's entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableState {
    pub(crate) index: Index,
    /// What a miss runs.
    pub(crate) default: Option<Arc<Installed>>,
    /// The default was written and is not the program's.
    default_written: bool,
    sum: u128,
}

impl State {
    /// The state that the program starts with: constant entries and default actions.
    pub fn new(program: Arc<Program>) -> Self {
        let tables = program
            .tables
            .iter()
            .map(|table| Arc::new(initial(table)))
            .collect();
        let members = vec![0; program.selectors.len()];
        Self {
            program,
            tables,
            groups: Arc::default(),
            members,
        }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert(&mut self, entry: &TableEntry) -> Result<(), WriteError> {
        let index = check::entry(&self.program, entry)?;
        if entry.is_default {
            return Err(WriteError::Invalid {
                what: self.what(index, entry),
                problem: "a default entry can be modified only".into(),
            });
        }
        let def = &self.program.tables[index];
        let key = def.key.pack(&entry.key);
        let table = &self.tables[index];
        if table.index.get(&entry.key, &key).is_some() {
            return Err(WriteError::AlreadyExists {
                what: self.what(index, entry),
            });
        }
        if table.index.len() >= def.size {
            let what = format!("table {}", def.name);
            return Err(WriteError::Full {
                what,
                size: def.size,
            });
        }
        let act = self.resolve(index, entry, 0)?;
        let installed = Installed {
            entry: entry.clone(),
            key,
            act,
            is_const: false,
            stats: Arc::default(),
        };
        let table = Arc::make_mut(&mut self.tables[index]);
        table.index.put(Arc::new(installed));
        table.sum = table.sum.wrapping_add(fingerprint::entry(entry));
        Ok(())
    }

    /// Replaces an entry's action and metadata, or the default action (`None` resets it to the program's).
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify(&mut self, entry: &TableEntry) -> Result<(), WriteError> {
        let index = check::entry(&self.program, entry)?;
        if entry.is_default {
            return self.modify_default(index, entry);
        }
        let (key, old) = self.find(index, entry)?;
        let act = self.resolve(index, entry, members(&old.entry))?;
        let installed = Installed {
            entry: entry.clone(),
            key,
            act,
            is_const: false,
            stats: old.stats.clone(),
        };
        let table = Arc::make_mut(&mut self.tables[index]);
        table.index.put(Arc::new(installed));
        table.sum = table
            .sum
            .wrapping_sub(fingerprint::entry(&old.entry))
            .wrapping_add(fingerprint::entry(entry));
        Ok(())
    }

    /// Removes the entry with this key; the rest of `entry` is not looked at.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete(&mut self, entry: &TableEntry) -> Result<(), WriteError> {
        let index = check::key(&self.program, entry)?;
        if entry.is_default {
            return Err(WriteError::Invalid {
                what: self.what(index, entry),
                problem: "a default entry can be modified only".into(),
            });
        }
        let (key, old) = self.find(index, entry)?;
        let table = Arc::make_mut(&mut self.tables[index]);
        table.index.remove(&entry.key, &key);
        table.sum = table.sum.wrapping_sub(fingerprint::entry(&old.entry));
        if let Some(selector) = self.program.tables[index].selector {
            self.members[selector] -= members(&old.entry);
        }
        Ok(())
    }

    /// Adds a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert_group(&mut self, group: &MulticastGroup) -> Result<(), WriteError> {
        check::group(group)?;
        if self.groups.contains_key(&group.id) {
            return Err(WriteError::AlreadyExists {
                what: check::group_name(group.id),
            });
        }
        Arc::make_mut(&mut self.groups).insert(group.id, group.clone());
        Ok(())
    }

    /// Replaces a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify_group(&mut self, group: &MulticastGroup) -> Result<(), WriteError> {
        check::group(group)?;
        if !self.groups.contains_key(&group.id) {
            return Err(WriteError::NotFound {
                what: check::group_name(group.id),
            });
        }
        Arc::make_mut(&mut self.groups).insert(group.id, group.clone());
        Ok(())
    }

    /// Removes a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_group(&mut self, id: MulticastGroupId) -> Result<(), WriteError> {
        if !self.groups.contains_key(&id) {
            return Err(WriteError::NotFound {
                what: check::group_name(id),
            });
        }
        Arc::make_mut(&mut self.groups).remove(&id);
        Ok(())
    }

    /// A table's entries in order of their keys, constant ones included, the default not. Empty for an unknown table.
    pub fn entries(&self, table: TableId) -> Vec<EntryView<'_>> {
        let Some(index) = self.program.table_index(table) else {
            return Vec::new();
        };
        let entries = self.tables[index].index.iter();
        let mut views: Vec<_> = entries.map(|found| self.view(index, found)).collect();
        views.sort_by(|a, b| a.entry.key.cmp(&b.entry.key));
        views
    }

    /// One entry.
    pub fn entry(&self, key: &EntryKey) -> Option<EntryView<'_>> {
        let index = self.program.table_index(key.table)?;
        let filter = TableEntry {
            key: key.clone(),
            action: None,
            metadata: Vec::new(),
            is_default: false,
            idle_timeout_ns: 0,
        };
        check::key(&self.program, &filter).ok()?;
        let packed = self.program.tables[index].key.pack(key);
        let found = self.tables[index].index.get(key, &packed)?;
        Some(self.view(index, found))
    }

    /// A table's default entry: the program's, or what replaced it; `None` where a miss does nothing.
    pub fn default_entry(&self, table: TableId) -> Option<EntryView<'_>> {
        let index = self.program.table_index(table)?;
        let found = self.tables[index].default.as_ref()?;
        Some(self.view(index, found))
    }

    /// All multicast groups in order of their ids.
    pub fn groups(&self) -> impl Iterator<Item = &MulticastGroup> {
        self.groups.values()
    }

    /// One multicast group.
    pub fn group(&self, id: MulticastGroupId) -> Option<&MulticastGroup> {
        self.groups.get(&id)
    }

    /// A table's fingerprint.
    pub fn fingerprint(&self, table: TableId) -> Option<Fingerprint> {
        let table = &self.tables[self.program.table_index(table)?];
        Some(Fingerprint {
            entries: table.index.len() as u64,
            sum: table.sum,
        })
    }

    pub(crate) fn table(&self, index: usize) -> &TableState {
        &self.tables[index]
    }

    fn modify_default(&mut self, index: usize, entry: &TableEntry) -> Result<(), WriteError> {
        let def = &self.program.tables[index];
        if def.const_default {
            return Err(WriteError::Constant {
                what: self.what(index, entry),
            });
        }
        let written = entry.action.is_some();
        let action = if written {
            Some(entry)
        } else {
            def.default.as_ref()
        };
        let default = match action {
            Some(entry) => Some(Arc::new(Installed {
                entry: entry.clone(),
                key: def.key.pack(&EntryKey::default()),
                act: resolve_action(&self.program, entry)?,
                is_const: false,
                stats: self.tables[index]
                    .default
                    .as_ref()
                    .map_or_else(Arc::default, |old| old.stats.clone()),
            })),
            None => None,
        };
        let table = Arc::make_mut(&mut self.tables[index]);
        if let Some(old) = table.default.as_ref().filter(|_| table.default_written) {
            table.sum = table.sum.wrapping_sub(fingerprint::entry(&old.entry));
        }
        if written {
            table.sum = table.sum.wrapping_add(fingerprint::entry(entry));
        }
        table.default = default;
        table.default_written = written;
        Ok(())
    }

    /// The entry that is installed under a key that has been checked, if it may be changed.
    fn find(
        &self,
        index: usize,
        entry: &TableEntry,
    ) -> Result<(PackedKey, Arc<Installed>), WriteError> {
        let key = self.program.tables[index].key.pack(&entry.key);
        let Some(found) = self.tables[index].index.get(&entry.key, &key) else {
            return Err(WriteError::NotFound {
                what: self.what(index, entry),
            });
        };
        if found.is_const {
            return Err(WriteError::Constant {
                what: self.what(index, entry),
            });
        }
        Ok((key, found.clone()))
    }

    /// Resolves an entry's action and takes its selector members, `given` of which are given back.
    fn resolve(
        &mut self,
        index: usize,
        entry: &TableEntry,
        given: usize,
    ) -> Result<Act, WriteError> {
        let act = resolve_action(&self.program, entry)?;
        if let Some(selector) = self.program.tables[index].selector {
            let def = &self.program.selectors[selector];
            let (wanted, used) = (members(entry), self.members[selector] - given);
            let what = || format!("selector {} (a group)", def.name);
            if def.max_group_size > 0 && wanted > def.max_group_size {
                return Err(WriteError::Full {
                    what: what(),
                    size: def.max_group_size,
                });
            }
            if def.size > 0 && used + wanted > def.size {
                let what = format!("selector {}", def.name);
                return Err(WriteError::Full {
                    what,
                    size: def.size,
                });
            }
            self.members[selector] = used + wanted;
        }
        Ok(act)
    }

    fn view<'a>(&'a self, index: usize, found: &'a Installed) -> EntryView<'a> {
        let table = &self.program.tables[index];
        EntryView {
            entry: &found.entry,
            counter: table.counters.then_some(&found.stats.counter),
            last_hit_ns: found.stats.last_hit_ns.load(Ordering::Relaxed),
            is_const: found.is_const,
        }
    }

    fn what(&self, index: usize, entry: &TableEntry) -> String {
        let name = &self.program.tables[index].name;
        if entry.is_default {
            format!("the default entry of table {name}")
        } else {
            format!("an entry of table {name} with this match and priority")
        }
    }
}

fn initial(table: &TableDef) -> TableState {
    let mut state = TableState::default();
    let install = |entry: &TableEntry, is_const| {
        Arc::new(Installed {
            entry: entry.clone(),
            key: table.key.pack(&entry.key),
            act: match &entry.action {
                Some(TableAction::Call(call)) => Act::Call(bind(call)),
                _ => Act::Select(Group::new(SelectorMode::Hash, Vec::new())),
            },
            is_const,
            stats: Arc::default(),
        })
    };
    state.default = table
        .default
        .as_ref()
        .map(|entry| install(entry, table.const_default));
    for entry in &table.const_entries {
        state.index.put(install(entry, true));
        state.sum = state.sum.wrapping_add(fingerprint::entry(entry));
    }
    state
}

/// Members that an entry's one-shot group has.
fn members(entry: &TableEntry) -> usize {
    match &entry.action {
        Some(TableAction::OneShot(members)) => members.len(),
        _ => 0,
    }
}

/// An entry's action by position; the entry has been checked.
fn resolve_action(program: &Program, entry: &TableEntry) -> Result<Act, WriteError> {
    match &entry.action {
        Some(TableAction::Call(call)) => Ok(Act::Call(bind(call))),
        Some(TableAction::OneShot(members)) => {
            let members = members.iter().map(|member| Member {
                bound: bind(&member.call),
                weight: member.weight,
                watch: member.watch_port,
            });
            let table = program.table_index(entry.key.table);
            let selector = table.and_then(|index| program.tables[index].selector);
            let mode =
                selector.map_or_else(SelectorMode::default, |index| program.selectors[index].mode);
            Ok(Act::Select(Group::new(mode, members.collect())))
        }
        None => Err(WriteError::Invalid {
            what: check::table_name(program, entry.key.table),
            problem: "an entry needs an action".into(),
        }),
    }
}

fn bind(call: &ActionCall) -> Bound {
    Bound {
        action: (call.action.0 ^ p4info::ACTION) as u16 - 1,
        args: call.params.iter().map(|&(_, value)| value).collect(),
    }
}

#[cfg(test)]
mod tests;
