//! Entries and default entries of tables (P4Runtime §9.1).

#![expect(
    clippy::cast_possible_truncation,
    reason = "action ids were checked to be of this program"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weft_proto::vocab::{ActionCall, EntryKey, MeterConfig, TableAction, TableEntry, TableId};

use crate::meter::EntryMeter;

use super::idle::timeout;
use super::{EntryView, Fingerprint, State, TableState, WriteError, check, fingerprint};
use crate::ir::SelectorMode;
use crate::p4info;
use crate::program::{Program, TableDef};
use crate::selector::Group;
use crate::table::{Act, Bound, Installed, PackedKey, Stats};

impl State {
    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert(&mut self, entry: &TableEntry) -> Result<(), WriteError> {
        self.insert_with(entry, Arc::new(Stats::new(self.now_ns)))
    }

    /// Adds an entry that another state holds, with what has been counted for it.
    pub(crate) fn insert_kept(
        &mut self,
        entry: &TableEntry,
        view: &EntryView<'_>,
    ) -> Result<(), WriteError> {
        self.insert_with(entry, view.stats.clone())
    }

    /// What has been counted for an entry of another state goes on where it is an entry here.
    pub(crate) fn keep_counts(&self, key: &EntryKey, view: &EntryView<'_>) {
        if let Some(kept) = self.entry(key) {
            kept.stats.continue_from(view.stats);
        }
    }

    /// The same for a default entry.
    pub(crate) fn keep_default_counts(&self, table: TableId, view: &EntryView<'_>) {
        if let Some(kept) = self.default_entry(table) {
            kept.stats.continue_from(view.stats);
        }
    }

    fn insert_with(&mut self, entry: &TableEntry, stats: Arc<Stats>) -> Result<(), WriteError> {
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
        let def_meter = def.meter.as_ref().map(|_| EntryMeter::default());
        let act = self.resolve(index, entry, None)?;
        let installed = Installed {
            entry: entry.clone(),
            key,
            act,
            is_const: false,
            since_ns: self.now_ns,
            meter: def_meter,
            stats,
        };
        self.wrote_timeout(entry);
        let table = Arc::make_mut(&mut self.tables[index]);
        table.index.put(Arc::new(installed));
        table.sum = table.sum.wrapping_add(fingerprint::entry(entry));
        table.timed += usize::from(timeout(entry).is_some());
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
        let act = self.resolve(index, entry, Some(&old.entry))?;
        let installed = Installed {
            entry: entry.clone(),
            key,
            act,
            is_const: false,
            since_ns: self.now_ns,
            meter: old.meter.clone(),
            stats: old.stats.clone(),
        };
        self.wrote_timeout(entry);
        let table = Arc::make_mut(&mut self.tables[index]);
        table.index.put(Arc::new(installed));
        table.sum = table
            .sum
            .wrapping_sub(fingerprint::entry(&old.entry))
            .wrapping_add(fingerprint::entry(entry));
        table.timed -= usize::from(timeout(&old.entry).is_some());
        table.timed += usize::from(timeout(entry).is_some());
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
        if let Some(selector) = self.program.tables[index].selector {
            self.exchange(selector, old.entry.action.as_ref(), None)?;
        }
        let table = Arc::make_mut(&mut self.tables[index]);
        table.index.remove(&entry.key, &key);
        table.sum = table.sum.wrapping_sub(fingerprint::entry(&old.entry));
        table.timed -= usize::from(timeout(&old.entry).is_some());
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

    /// A table's fingerprint.
    pub fn fingerprint(&self, table: TableId) -> Option<Fingerprint> {
        let index = self.program.table_index(table)?;
        let table = &self.tables[index];
        let selector = self.program.tables[index].selector;
        // What entries refer to is part of what they do.
        let profile = selector.map_or(0, |selector| self.profiles[selector].sum());
        Some(Fingerprint {
            entries: table.index.len() as u64,
            sum: table.sum.wrapping_add(profile),
        })
    }

    /// Configures the meter of an entry, constant ones included, or of a default entry; `None` makes every packet green.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn set_entry_meter(
        &mut self,
        key: &EntryKey,
        is_default: bool,
        config: Option<MeterConfig>,
    ) -> Result<(), WriteError> {
        let what = check::table_name(&self.program, key.table);
        super::array::check_config(&what, config)?;
        let missing = || WriteError::NotFound {
            what: format!("an entry of {what} with a meter"),
        };
        let index = self.program.table_index(key.table).ok_or_else(missing)?;
        let packed = self.program.tables[index].key.pack(key);
        let table = &self.tables[index];
        let found = match is_default {
            true => table.default.as_ref(),
            false => table.index.get(key, &packed),
        };
        let found = found.filter(|found| found.meter.is_some());
        let mut next = Installed::clone(found.ok_or_else(missing)?);
        next.meter = next.meter.map(|meter| meter.configured(config));
        let table = Arc::make_mut(&mut self.tables[index]);
        match is_default {
            true => table.default = Some(Arc::new(next)),
            false => {
                table.index.put(Arc::new(next));
            }
        }
        Ok(())
    }

    /// Sets the counters of an entry's meter to zero.
    pub fn clear_entry_meter(&self, key: &EntryKey, is_default: bool) {
        let Some(index) = self.program.table_index(key.table) else {
            return;
        };
        let packed = self.program.tables[index].key.pack(key);
        let table = &self.tables[index];
        let found = match is_default {
            true => table.default.as_ref(),
            false => table.index.get(key, &packed),
        };
        if let Some(meter) = found.and_then(|found| found.meter.as_ref()) {
            meter.clear();
        }
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
                act: resolve_call(&self.program, entry)?,
                is_const: false,
                since_ns: self.now_ns,
                meter: match &self.tables[index].default {
                    Some(old) if written => old.meter.clone(),
                    _ => def.meter.as_ref().map(|_| EntryMeter::default()),
                },
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

    /// An entry's action by position, with what it takes of the table's profile; what `old` took is given back.
    fn resolve(
        &mut self,
        index: usize,
        entry: &TableEntry,
        old: Option<&TableEntry>,
    ) -> Result<Act, WriteError> {
        let Some(selector) = self.program.tables[index].selector else {
            return resolve_call(&self.program, entry);
        };
        let old = old.and_then(|entry| entry.action.as_ref());
        let act = self.exchange(selector, old, entry.action.as_ref())?;
        act.ok_or_else(|| no_action(&self.program, entry))
    }

    fn view<'a>(&'a self, index: usize, found: &'a Installed) -> EntryView<'a> {
        let table = &self.program.tables[index];
        EntryView {
            entry: &found.entry,
            counter: table.counters.then_some(&found.stats.counter),
            last_hit_ns: found.stats.last_hit_ns.load(Ordering::Relaxed),
            is_const: found.is_const,
            meter: found.meter.as_ref().map(EntryMeter::view),
            stats: &found.stats,
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

pub(super) fn initial(table: &TableDef) -> TableState {
    let mut state = TableState::default();
    let install = |entry: &TableEntry, is_const| {
        Arc::new(Installed {
            entry: entry.clone(),
            key: table.key.pack(&entry.key),
            act: match &entry.action {
                Some(TableAction::Call(call)) => Act::Call(bind(call)),
                // Defaults and constant entries are lowered to calls only.
                _ => Act::Select(Group::new(SelectorMode::Hash, Vec::new())),
            },
            is_const,
            since_ns: 0,
            meter: table.meter.as_ref().map(|_| EntryMeter::default()),
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

/// An entry's one action by position; the entry has been checked.
fn resolve_call(program: &Program, entry: &TableEntry) -> Result<Act, WriteError> {
    match &entry.action {
        Some(TableAction::Call(call)) => Ok(Act::Call(bind(call))),
        _ => Err(no_action(program, entry)),
    }
}

fn no_action(program: &Program, entry: &TableEntry) -> WriteError {
    WriteError::Invalid {
        what: check::table_name(program, entry.key.table),
        problem: "an entry needs an action".into(),
    }
}

pub(super) fn bind(call: &ActionCall) -> Bound {
    Bound {
        action: (call.action.0 ^ p4info::ACTION) as u16 - 1,
        args: call.params.iter().map(|&(_, value)| value).collect(),
    }
}
