//! What would become of a packet, step by step: the interpreter's own run over it, with notes taken.
//!
//! A trace walks over all switches of a process as a received packet does, by the same code, over patch links and
//! through every copy. No counter moves, nothing is sent, and nobody else's packets wait.

use std::collections::VecDeque;
use std::sync::Arc;

use weft_proto::vocab::{ActionId, CloneSessionId, DeviceId, PortNo, TableEntry, TableId};

use crate::datapath::Nanos;
use crate::drops::DropReason;
use crate::host::Endpoint;
use crate::ir;
use crate::observe::{Choice, Observer};
use crate::p4info;
use crate::packet::Packet;
use crate::patch::Wiring;
use crate::plane::Plane;
use crate::program::{HeaderField, Program};
use crate::state::State;

/// Most switches' visits that are noted; a storm has more.
pub const MAX_HOPS: usize = 1024;

/// A packet's whole way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Each visit of a switch, in the order in which they happen; the first is where the packet entered.
    pub hops: Vec<Hop>,
    /// There were more than [`MAX_HOPS`].
    pub truncated: bool,
}

/// One switch's work on the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The switch.
    pub device: DeviceId,
    /// Where it entered.
    pub in_port: PortNo,
    /// Which hop's copy it is, as two indices; `None` for the first.
    pub from: Option<(usize, usize)>,
    /// Headers that the parser found, in the order of the bytes.
    pub headers: Vec<String>,
    /// What ingress did.
    pub steps: Vec<Step>,
    /// The controller gets a copy.
    pub punted: bool,
    /// Why it ends here, apart from the copies.
    pub dropped: Option<DropReason>,
    /// What leaves, or would.
    pub copies: Vec<CopyOut>,
}

/// A copy, and what egress did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOut {
    /// The port.
    pub port: PortNo,
    /// The clone session that made it; `None`: it is the packet, or one of its replicas.
    pub session: Option<CloneSessionId>,
    /// What egress did.
    pub steps: Vec<Step>,
    /// Why it ends here.
    pub dropped: Option<DropReason>,
    /// The hop that it becomes; `None` where it leaves the process, or the trace is truncated.
    pub next: Option<usize>,
}

/// A table that was asked, or statements outside of tables that changed something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The table.
    pub table: Option<TableId>,
    /// An entry matched.
    pub hit: bool,
    /// The entry, or the table's default.
    pub entry: Option<TableEntry>,
    /// Among what the action was chosen, where the entry refers to its profile.
    pub choice: Option<Choice>,
    /// The action that ran, with its arguments in the order of declaration.
    pub action: Option<(ActionId, Vec<u128>)>,
    /// Header fields that changed.
    pub rewrites: Vec<Rewrite>,
    /// The verdict became this drop.
    pub dropped: Option<DropReason>,
}

/// A header field that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// `ipv4.ttl`, `mpls[0].label`.
    pub field: String,
    /// Its width.
    pub bits: u16,
    /// How people read it.
    pub format: ir::Format,
    /// What it was; `None` where the header was not there.
    pub before: Option<u128>,
    /// What it is; `None` where the header is gone.
    pub after: Option<u128>,
}

/// Walks a packet that would be received at a port.
pub fn walk(
    wiring: Arc<Wiring>,
    states: impl IntoIterator<Item = (DeviceId, State)>,
    at: Endpoint,
    packet: Packet,
    now: Nanos,
) -> Walk {
    let mut plane = Plane::observed(wiring, Notes::default());
    for (device, state) in states {
        plane.set_state(device, Some(state));
    }
    plane.inject(at, packet, now, &mut Vec::new());
    std::mem::take(&mut plane.scratch().observer.walk)
}

/// Takes notes.
#[derive(Debug, Default)]
struct Notes {
    walk: Walk,
    /// The copies that are on their way to other switches, in order; `None` for those that are not noted.
    coming: VecDeque<Option<(usize, usize)>>,
    /// Only the order of what is coming is followed.
    muted: bool,
    /// The copy that is spoken of; `None`: the packet as a whole.
    copy: Option<usize>,
    /// The last copy that left.
    left: Option<usize>,
    fields: Vec<HeaderField>,
    arena: Vec<u8>,
    valid: u128,
    verdict: Option<DropReason>,
    /// A table was asked, and its action has not run yet.
    open: bool,
    /// The clone session whose copies are made.
    session: Option<CloneSessionId>,
}

impl Notes {
    fn hop(&mut self) -> Option<&mut Hop> {
        if self.muted {
            return None;
        }
        self.walk.hops.last_mut()
    }

    /// The steps of the packet or the copy that is spoken of.
    fn steps(&mut self) -> Option<&mut Vec<Step>> {
        let copy = self.copy;
        let hop = self.hop()?;
        match copy {
            None => Some(&mut hop.steps),
            Some(copy) => Some(&mut hop.copies.get_mut(copy)?.steps),
        }
    }

    fn remember(&mut self, arena: &[u8], valid: u128) {
        self.arena.clear();
        self.arena.extend_from_slice(arena);
        self.valid = valid;
    }

    fn rewrites(&self, arena: &[u8], valid: u128) -> Vec<Rewrite> {
        let value = |field: &HeaderField, arena: &[u8], valid: u128| {
            (valid & 1 << field.header != 0).then(|| field.slot.read(arena))
        };
        let changes = self.fields.iter().filter_map(|field| {
            let before = value(field, &self.arena, self.valid);
            let after = value(field, arena, valid);
            (before != after).then(|| Rewrite {
                field: field.name.clone(),
                bits: field.slot.bits(),
                format: field.format,
                before,
                after,
            })
        });
        changes.collect()
    }
}

impl Observer for Notes {
    const COUNTS: bool = false;

    fn entered(&mut self, device: DeviceId, in_port: PortNo) {
        let from = self.coming.pop_front().flatten();
        self.copy = None;
        self.left = None;
        self.muted = self.walk.hops.len() >= MAX_HOPS;
        self.walk.truncated |= self.muted;
        if self.muted {
            return;
        }
        let index = self.walk.hops.len();
        let source = from.and_then(|(hop, copy)| self.walk.hops.get_mut(hop)?.copies.get_mut(copy));
        if let Some(copy) = source {
            copy.next.get_or_insert(index);
        }
        self.walk.hops.push(Hop {
            device,
            in_port,
            from,
            headers: Vec::new(),
            steps: Vec::new(),
            punted: false,
            dropped: None,
            copies: Vec::new(),
        });
    }

    fn parsed(&mut self, program: &Program, arena: &[u8], valid: u128) {
        if self.muted {
            return;
        }
        self.fields = program.header_fields();
        self.remember(arena, valid);
        self.verdict = None;
        self.open = false;
        let headers = program.header_names(valid);
        if let Some(hop) = self.hop() {
            hop.headers = headers;
        }
    }

    fn looked_up(
        &mut self,
        _program: &Program,
        table: usize,
        hit: bool,
        entry: Option<&TableEntry>,
    ) {
        let Ok(index) = u32::try_from(table) else {
            return;
        };
        let step = Step {
            table: Some(TableId(p4info::TABLE | (index + 1))),
            hit,
            entry: entry.cloned(),
            ..Step::default()
        };
        self.open = true;
        if let Some(steps) = self.steps() {
            steps.push(step);
        }
    }

    fn chose(&mut self, choice: Choice) {
        if let Some(step) = self.steps().and_then(|steps| steps.last_mut()) {
            step.choice = Some(choice);
        }
    }

    fn acts(&mut self, action: u16, args: &[u128]) {
        let id = ActionId(p4info::ACTION | (u32::from(action) + 1));
        if let Some(step) = self.steps().and_then(|steps| steps.last_mut()) {
            step.action = Some((id, args.to_vec()));
        }
    }

    fn ran(&mut self, arena: &[u8], valid: u128, dropped: Option<DropReason>) {
        if self.muted {
            return;
        }
        let rewrites = self.rewrites(arena, valid);
        let dropped = dropped.filter(|reason| self.verdict.replace(*reason) != Some(*reason));
        let open = std::mem::take(&mut self.open);
        if !rewrites.is_empty() {
            self.remember(arena, valid);
        }
        let Some(steps) = self.steps() else { return };
        if !open && (!rewrites.is_empty() || dropped.is_some()) {
            steps.push(Step::default());
        } else if !open {
            return;
        }
        if let Some(step) = steps.last_mut() {
            step.rewrites = rewrites;
            step.dropped = dropped;
        }
    }

    fn punted(&mut self) {
        if let Some(hop) = self.hop() {
            hop.punted = true;
        }
    }

    fn clones(&mut self, session: Option<CloneSessionId>) {
        self.session = session;
        // What follows is about the packet again.
        self.copy = None;
    }

    fn copied(&mut self, port: PortNo, arena: &[u8], valid: u128) {
        if self.muted {
            return;
        }
        self.remember(arena, valid);
        self.verdict = None;
        let session = self.session;
        let Some(hop) = self.hop() else { return };
        hop.copies.push(CopyOut {
            port,
            session,
            steps: Vec::new(),
            dropped: None,
            next: None,
        });
        self.copy = Some(self.walk.hops.last().map_or(0, |hop| hop.copies.len()) - 1);
    }

    fn dropped(&mut self, reason: DropReason) {
        let copy = self.copy;
        let Some(hop) = self.hop() else { return };
        let place = match copy.and_then(|copy| hop.copies.get_mut(copy)) {
            Some(copy) => &mut copy.dropped,
            None => &mut hop.dropped,
        };
        place.get_or_insert(reason);
    }

    fn leaves(&mut self, port: PortNo) {
        // Copies leave in the order in which they were made; one that became several frames is told of again.
        let first = self.left.map_or(0, |left| left + 1);
        let Some(hop) = self.hop() else { return };
        let mut rest = hop.copies.iter().enumerate().skip(first);
        let found = rest.find(|(_, copy)| copy.port == port && copy.dropped.is_none());
        if let Some((index, _)) = found {
            self.left = Some(index);
        }
        self.copy = self.left;
    }

    fn crosses(&mut self) {
        let from = self.copy.filter(|_| !self.muted);
        let from = from.and_then(|copy| Some((self.walk.hops.len().checked_sub(1)?, copy)));
        self.coming.push_back(from);
    }
}

#[cfg(test)]
mod tests;
