//! Ports: where packets enter and leave the process.
//!
//! A worker owns the receiving side of a port and reads it; any worker may send by it. A *tap* is a kernel device,
//! a *memory* port is a pair of queues for tests. Links between switches of one process are no ports in this sense:
//! packets cross them inside [`crate::plane`].

pub mod memory;
pub mod sys;
pub mod tap;

pub use memory::MemoryPort;
pub use tap::{TapConfig, TapPort};

/// What workers read and write. Shared by all workers; one of them reads it.
#[derive(Debug)]
pub struct PortIo {
    id: u64,
    kind: PortKind,
}

/// The kinds of ports.
#[derive(Debug)]
pub enum PortKind {
    /// A kernel device.
    Tap(TapPort),
    /// A pair of queues.
    Memory(MemoryPort),
}

impl PortIo {
    /// A port with an id, 1 and up, that no other port of the process ever had.
    pub(crate) fn new(id: u64, kind: PortKind) -> Self {
        Self { id, kind }
    }

    /// Unique in the process, never used again.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The device or the queues.
    pub(crate) fn kind(&self) -> &PortKind {
        &self.kind
    }
}
