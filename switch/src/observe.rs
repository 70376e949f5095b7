//! Who watches a packet on its way: nobody, or a [`crate::trace`].
//!
//! The interpreter tells each step to an [`Observer`], a type parameter: forwarding runs with [`Quiet`], whose methods
//! are empty and vanish, and a trace runs the very same code with one that takes notes and moves no counter.

use weft_proto::vocab::{CloneSessionId, DeviceId, MemberId, PortNo, ProfileGroupId, TableEntry};

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
    /// The entry refers to its profile, and so it was chosen what it does.
    fn chose(&mut self, _choice: Choice) {}
    /// An entry's action, or the one that its group chose, is about to run.
    fn acts(&mut self, _action: u16, _args: &[u128]) {}
    /// A table's action, or statements outside of tables, have run; `dropped` is the verdict as it stands.
    fn ran(&mut self, _arena: &[u8], _valid: u128, _dropped: Option<DropReason>) {}
    /// The controller gets a copy.
    fn punted(&mut self) {}
    /// The copies that follow are those of a clone session; `None`: they are the packet's own again.
    fn clones(&mut self, _session: Option<CloneSessionId>) {}
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

/// Among what an entry's action was chosen. It is told to those who take notes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The group; `None` where the entry has a one-shot set, or refers to one member.
    pub group: Option<ProfileGroupId>,
    /// All members, in order.
    pub members: Vec<Candidate>,
    /// The index of the one that was chosen; `None` where none is alive.
    pub chosen: Option<usize>,
}

/// A member that may have been chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The profile's member; `None` in a one-shot set.
    pub member: Option<MemberId>,
    /// Its weight.
    pub weight: u32,
    /// The port that it is alive with.
    pub watch_port: Option<PortNo>,
    /// It may be chosen.
    pub alive: bool,
}
