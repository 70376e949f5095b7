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

/// What a worker reads and writes. Shared by all workers; one of them reads it.
#[derive(Debug)]
pub enum PortIo {
    /// A kernel device.
    Tap(TapPort),
    /// A pair of queues.
    Memory(MemoryPort),
}
