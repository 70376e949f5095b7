//! Forwarding state: the entries, defaults and groups that one program's tables hold.
//!
//! A state is a value. A writer clones it, changes the clone and publishes it; tables that did not change are shared,
//! and counters belong to entries, so they go on over clones and over MODIFY.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_proto::vocab::{
    CounterValue, EntryKey, MulticastGroup, MulticastGroupId, TableEntry, TableId,
};

use crate::program::Program;

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
}

impl State {
    /// The state that the program starts with: constant entries and default actions.
    pub fn new(program: Arc<Program>) -> Self {
        Self { program }
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
        Err(unknown_table(entry.key.table))
    }

    /// Replaces an entry's action and metadata, or the default action (`None` resets it to the program's).
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify(&mut self, entry: &TableEntry) -> Result<(), WriteError> {
        Err(unknown_table(entry.key.table))
    }

    /// Removes the entry with this key.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete(&mut self, entry: &TableEntry) -> Result<(), WriteError> {
        Err(unknown_table(entry.key.table))
    }

    /// Adds a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn insert_group(&mut self, group: &MulticastGroup) -> Result<(), WriteError> {
        Err(WriteError::NotFound {
            what: format!("multicast group {}", group.id),
        })
    }

    /// Replaces a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn modify_group(&mut self, group: &MulticastGroup) -> Result<(), WriteError> {
        Err(WriteError::NotFound {
            what: format!("multicast group {}", group.id),
        })
    }

    /// Removes a multicast group.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is changed then.
    pub fn delete_group(&mut self, id: MulticastGroupId) -> Result<(), WriteError> {
        Err(WriteError::NotFound {
            what: format!("multicast group {id}"),
        })
    }

    /// A table's entries in order of their keys, constant ones included, the default not.
    pub fn entries(&self, _table: TableId) -> Vec<EntryView<'_>> {
        Vec::new()
    }

    /// One entry.
    pub fn entry(&self, _key: &EntryKey) -> Option<EntryView<'_>> {
        None
    }

    /// A table's default entry: the program's, or what replaced it; `None` where a miss does nothing.
    pub fn default_entry(&self, _table: TableId) -> Option<EntryView<'_>> {
        None
    }

    /// All multicast groups in order of their ids.
    pub fn groups(&self) -> impl Iterator<Item = &MulticastGroup> {
        std::iter::empty()
    }

    /// One multicast group.
    pub fn group(&self, _id: MulticastGroupId) -> Option<&MulticastGroup> {
        None
    }

    /// A table's fingerprint.
    pub fn fingerprint(&self, _table: TableId) -> Option<Fingerprint> {
        None
    }
}

fn unknown_table(table: TableId) -> WriteError {
    WriteError::Invalid {
        what: format!("table {:#010x}", table.0),
        problem: "the pipeline has no such table".into(),
    }
}
