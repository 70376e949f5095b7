//! Forwarding state: what one program's tables, action profiles and replication engine hold.
//!
//! A state is a value. A writer clones it, changes the clone and publishes it; tables that did not change are shared,
//! and counters belong to entries, so they go on over clones and over MODIFY.

mod array;
mod check;
mod error;
mod fingerprint;
mod idle;
mod profiles;
mod replication;
mod slab;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_proto::vocab::{
    CloneSession, CloneSessionId, CounterValue, MeterConfig, MeterCounters, MulticastGroup,
    MulticastGroupId, TableEntry,
};

use crate::drops::{DropNames, DropReason};
use crate::program::Program;
use crate::table::{Index, Installed, Stats};

pub use self::array::MeterView;
use self::array::{CounterCells, MeterCells};
pub use self::error::WriteError;
pub use self::idle::Expired;
pub(crate) use self::profiles::Profile;

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
    /// When it was last hit, where the table has an idle timeout; before that, when it was inserted.
    pub last_hit_ns: u64,
    /// The program gives it, and it cannot be changed.
    pub is_const: bool,
    /// Its meter's configuration and counters, where the table has meters.
    pub meter: Option<(Option<MeterConfig>, MeterCounters)>,
    stats: &'a Arc<Stats>,
}

/// Number of entries, and an order-independent sum over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Entries, the default not counted.
    pub entries: u64,
    /// Sum over key, action and metadata of each entry and of a default that was written, and over the members and
    /// groups of the table's profile.
    pub sum: u128,
}

/// Tables' entries, members and groups of action profiles, multicast groups and clone sessions.
#[derive(Clone, Debug)]
pub struct State {
    program: Arc<Program>,
    tables: Vec<Arc<TableState>>,
    /// Members and groups, by action profile.
    profiles: Vec<Arc<Profile>>,
    groups: Arc<BTreeMap<MulticastGroupId, MulticastGroup>>,
    sessions: Arc<BTreeMap<CloneSessionId, CloneSession>>,
    /// The counter of each drop reason of the program.
    drop_slots: Arc<[u16]>,
    meters: Vec<MeterCells>,
    counters: Vec<CounterCells>,
    /// The time of writes.
    now_ns: u64,
    /// When what was written at that time can expire first.
    soonest_ns: u64,
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
    /// Entries that have a timeout.
    timed: usize,
}

impl State {
    /// The state that the program starts with: constant entries and default actions.
    pub fn new(program: Arc<Program>) -> Self {
        let tables = program
            .tables
            .iter()
            .map(|table| Arc::new(tables::initial(table)))
            .collect();
        let drop_slots = (0..).take(program.drop_reasons().len()).collect();
        let meters = program.meters.iter().map(|def| MeterCells::new(def.size));
        let counters = program.counters.iter();
        let counters = counters.map(|def| CounterCells::new(def.size));
        let profiles = program.selectors.iter().map(|_| Arc::default()).collect();
        Self {
            meters: meters.collect(),
            counters: counters.collect(),
            program,
            tables,
            profiles,
            groups: Arc::default(),
            sessions: Arc::default(),
            drop_slots,
            now_ns: 0,
            soonest_ns: u64::MAX,
        }
    }

    /// Counts drops so that reasons which other pipelines of the same switch had keep their counters.
    pub(crate) fn share_drop_counters(&mut self, names: &mut DropNames) {
        self.drop_slots = names.slots(self.program.drop_reasons());
    }

    /// The counter of a drop reason.
    pub(crate) fn drop_slot(&self, reason: DropReason) -> u16 {
        let slot = self.drop_slots.get(usize::from(reason.0));
        slot.copied().unwrap_or(reason.0)
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    pub(crate) fn table(&self, index: usize) -> &TableState {
        &self.tables[index]
    }

    pub(crate) fn profile(&self, index: usize) -> &Profile {
        &self.profiles[index]
    }
}

#[cfg(test)]
mod tests;
