//! Who watches a packet on its way: nobody, or a [`crate::trace`].
//!
//! The interpreter tells each step to an [`Observer`], a type parameter: forwarding runs with [`Quiet`], whose methods
//! are empty and vanish, and a trace runs the very same code with one that takes notes and moves no counter.

use weft_proto::vocab::{DeviceId, PortNo, TableEntry};

use crate::drops::DropReason;
use crate::program::Program;

/// Is told what happens to packets, in the order in which it happens.
///
/// `arena` holds the headers' fields, and `valid` the set of headers that are there.
pub trait Observer {
    /// Whether packets count: entries' and ports' counters, and the time of an entry's last use.
    const COUNTS: bool;

    /// A packet enters a switch.
    fn entered(&mut self, _device: DeviceId, _in_port: PortNo) {}
    /// The parser has taken it apart.
    fn parsed(&mut self, _program: &Program, _arena: &[u8], _valid: u128) {}
    /// A table was asked; `entry` is what it gave, the default entry on a miss.
    fn looked_up(
        &mut self,
        _program: &Program,
        _table: usize,
        _hit: bool,
        _entry: Option<&TableEntry>,
    ) {
    }
    /// An entry's action, or the one that its group chose, is about to run.
    fn acts(&mut self, _action: u16, _args: &[u128]) {}
    /// A table's action, or statements outside of tables, have run; `dropped` is the verdict as it stands.
    fn ran(&mut self, _arena: &[u8], _valid: u128, _dropped: Option<DropReason>) {}
    /// The controller gets a copy.
    fn punted(&mut self) {}
    /// Egress begins over a copy.
    fn copied(&mut self, _port: PortNo, _arena: &[u8], _valid: u128) {}
    /// What was told of last, the packet or a copy, ends here.
    fn dropped(&mut self, _reason: DropReason) {}
    /// A copy leaves by a port.
    fn leaves(&mut self, _port: PortNo) {}
    /// That copy is on its way to another switch.
    fn crosses(&mut self) {}
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {
    const COUNTS: bool = true;
}
